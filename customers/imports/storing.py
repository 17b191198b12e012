"""Values of a file onto customers, in sets: those who are known are updated, the rest created."""

from collections.abc import Mapping
from typing import NamedTuple

from customers import changes, exact, fields
from customers.imports import sql


class Stored(NamedTuple):
    """CustomerIds of who was created, and of who else changed."""

    created: set[str]
    updated: set[str]


def store(values: Mapping[str, Mapping[str, str]], *, source: str) -> Stored:
    """Give customers, by CustomerId, values as JSON; "null" clears.

    Known customers are locked before others are created, as identity resolution does it. Who
    turns out to have been created meanwhile is updated. Call it inside a transaction.
    """
    owners = sql.select_owners([*values])
    updated = _update(values, owners, source)
    missing = sorted(values.keys() - owners.keys())
    if not missing:
        return Stored(set(), updated)
    claimed = sql.claim_customer_ids(missing)
    _create({claimed[each]: (each, values[each]) for each in missing if each in claimed}, source)
    raced = [each for each in missing if each not in claimed]
    if raced:
        updated |= _update(values, sql.select_owners(raced), source)
    return Stored({*claimed}, updated)


def _update(
    values: Mapping[str, Mapping[str, str]], owners: Mapping[str, int], source: str
) -> set[str]:
    by_id: dict[int, dict[str, str]] = {}
    for external_id, customer_id in owners.items():
        by_id.setdefault(customer_id, {}).update(values[external_id])
    written = fields.write(by_id, source=source)
    if written:
        sql.copy_changes((customer_id, map(changes.field, names)) for customer_id, names in written)
        changes.wake()
    changed = {customer_id for customer_id, _ in written}
    return {external_id for external_id, customer_id in owners.items() if customer_id in changed}


def _create(customers: Mapping[int, tuple[str, Mapping[str, str]]], source: str) -> None:
    """Create customers by id, with their values, what these were before (nothing), and one fact.

    Nobody else can see these customers yet: their rows are copied in without a look.
    """
    given = [
        (customer_id, external_id, [pair for pair in values.items() if pair[1] != "null"])
        for customer_id, (external_id, values) in customers.items()
    ]
    name = _Names()
    sql.copy_customers(
        (customer_id, external_id, "{" + ",".join([name[n] + v for n, v in pairs]) + "}")
        for customer_id, external_id, pairs in given
    )
    sql.copy_field_changes(
        (customer_id, source, "{" + ",".join([f"{name[n]}[null,{v}]" for n, v in pairs]) + "}")
        for customer_id, _, pairs in given
        if pairs
    )
    sql.copy_changes((customer_id, (changes.NEW_WITH_FIELDS,)) for customer_id, _, _ in given)
    changes.wake()


class _Names(dict[str, str]):
    """Names of fields as JSON, with the colon that follows them."""

    def __missing__(self, name: str) -> str:
        self[name] = json = exact.dumps(name) + ":"
        return json

"""Values of a file onto customers, in sets: those who are known are updated, the rest created."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from customers import changes, exact, fields, identity, tombstones
from customers.imports import sql


class Origin(NamedTuple):
    """Where values come from, for people and by the import's id."""

    source: str
    import_id: int


class Stored(NamedTuple):
    """Ids of who was created, and of who else changed; CustomerIds of who is kept out."""

    created: list[int]
    updated: list[int]
    erased: set[str]


def store(values: Mapping[str, Mapping[str, str]], origin: Origin) -> Stored:
    """Give customers, by CustomerId, values as JSON; "null" clears.

    Known customers are locked before others are created, as identity resolution does it. Who
    turns out to have been created meanwhile is updated; who was erased is left out. Call it inside
    a transaction.
    """
    keys = tombstones.erased([(identity.CUSTOMER_ID, each) for each in values])
    erased = {external_id for _, external_id in keys}
    values = {each: given for each, given in values.items() if each not in erased}
    owners = sql.select_owners([*values])
    updated = _update(values, _unlike(values, owners), origin)
    missing = sorted(values.keys() - owners.keys())
    if not missing:
        return Stored([], updated, erased)
    claimed = sql.claim_customer_ids(missing)
    _create({claimed[each]: (each, values[each]) for each in missing if each in claimed}, origin)
    raced = [each for each in missing if each not in claimed]
    if raced:
        updated += _update(values, sql.select_owners(raced), origin)
    return Stored([*claimed.values()], updated, erased)


def _unlike(values: Mapping[str, Mapping[str, str]], owners: Mapping[str, int]) -> dict[str, int]:
    """Return those of the owners who have not exactly these values."""
    known = [*owners.items()]
    rows = [
        (customer_id, _template(tuple(values[each])).fields(values[each]))
        for each, customer_id in known
    ]
    return dict(known[place - 1] for place in sql.select_unlike(rows)) if rows else {}


def _update(
    values: Mapping[str, Mapping[str, str]], owners: Mapping[str, int], origin: Origin
) -> list[int]:
    by_id: dict[int, dict[str, str]] = {}
    for external_id, customer_id in owners.items():
        by_id.setdefault(customer_id, {}).update(values[external_id])
    written = fields.write(by_id, source=origin.source, import_id=origin.import_id)
    if written:
        sql.copy_changes((customer_id, map(changes.field, names)) for customer_id, names in written)
        changes.wake()
    return [customer_id for customer_id, _ in written]


def _create(customers: Mapping[int, tuple[str, Mapping[str, str]]], origin: Origin) -> None:
    """Create customers by id, with their values, what these were before (nothing), and one fact.

    Nobody else can see these customers yet: their rows are copied in without a look.
    """
    given = []
    for customer_id, (external_id, values) in customers.items():
        if "null" in values.values():
            values = {name: value for name, value in values.items() if value != "null"}
        given.append((customer_id, external_id, values, _template(tuple(values))))
    sql.copy_customers(
        (customer_id, external_id, template.fields(values))
        for customer_id, external_id, values, template in given
    )
    logged = (
        (customer_id, template.changes(values))
        for customer_id, _, values, template in given
        if values
    )
    sql.copy_field_changes(logged, *origin)
    sql.copy_changes((customer_id, (changes.NEW_WITH_FIELDS,)) for customer_id in customers)
    changes.wake()


class _Template(NamedTuple):
    """What puts values as JSON, by the names of their fields, into the JSON of a customer.

    `fields` spells it as PostgreSQL does: shorter names first, a space behind commas and colons.
    """

    fields: Callable[[Mapping[str, str]], str]
    changes: Callable[[Mapping[str, str]], str]


@lru_cache(maxsize=5_000)
def _template(names: tuple[str, ...]) -> _Template:
    if not names:
        return _Template(lambda values: "{}", lambda values: "{}")
    ordered = sorted(names, key=lambda name: (len(name.encode()), name.encode()))
    keys = [exact.dumps(name).replace("%", "%%") for name in ordered]
    pick: Callable[[Mapping[str, str]], Any] = itemgetter(*ordered)
    fields_text = "{" + ", ".join(f"{key}: %s" for key in keys) + "}"
    changes_text = "{" + ", ".join(f"{key}: [null, %s]" for key in keys) + "}"
    return _Template(
        lambda values: fields_text % pick(values), lambda values: changes_text % pick(values)
    )

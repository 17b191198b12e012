"""Values of a file onto customers, in sets: those who are known are updated, the rest created."""

from collections.abc import Mapping
from typing import NamedTuple

from customers import changes, fields, identity, tombstones
from customers.imports import shapes, sql
from customers.imports.shapes import Given


class Origin(NamedTuple):
    """Where values come from, for people and by the import's id."""

    source: str
    import_id: int


class Stored(NamedTuple):
    """Ids of who was created, and of who else changed; CustomerIds of who is kept out."""

    created: list[int]
    updated: list[int]
    erased: set[str]


def store(values: Mapping[str, Given], origin: Origin) -> Stored:
    """Give customers, by CustomerId, values; "null" clears.

    Known customers are locked before others are created, as identity resolution does it. Who
    turns out to have been created meanwhile is updated; who was erased is left out. Call it inside
    a transaction.
    """
    keys = tombstones.erased([(identity.CUSTOMER_ID, each) for each in values])
    erased = {external_id for _, external_id in keys}
    if erased:
        values = {each: said for each, said in values.items() if each not in erased}
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


def _unlike(values: Mapping[str, Given], owners: Mapping[str, int]) -> dict[str, int]:
    """Return those of the owners who have not exactly these values."""
    known = [*owners.items()]
    rows = [
        (customer_id, shape.fields(cells))
        for (_, customer_id), (shape, cells) in zip(
            known, map(values.__getitem__, owners), strict=True
        )
    ]
    return dict(known[place - 1] for place in sql.select_unlike(rows)) if rows else {}


def _update(values: Mapping[str, Given], owners: Mapping[str, int], origin: Origin) -> list[int]:
    by_id: dict[int, dict[str, str]] = {}
    for external_id, customer_id in owners.items():
        shape, cells = values[external_id]
        by_id.setdefault(customer_id, {}).update(shape.values(cells))
    written = fields.write(by_id, source=origin.source, import_id=origin.import_id)
    if written:
        sql.copy_changes((customer_id, map(changes.field, names)) for customer_id, names in written)
        changes.wake()
    return [customer_id for customer_id, _ in written]


def _create(customers: Mapping[int, tuple[str, Given]], origin: Origin) -> None:
    """Create customers by id, with their values, what these were before (nothing), and one fact.

    Nobody else can see these customers yet: their rows are copied in without a look.
    """
    given = [
        (customer_id, external_id, *shapes.without_cleared(said))
        for customer_id, (external_id, said) in customers.items()
    ]
    sql.copy_customers(
        (customer_id, external_id, shape.fields(cells))
        for customer_id, external_id, shape, cells in given
    )
    logged = (
        (customer_id, shape.changes(cells)) for customer_id, _, shape, cells in given if cells
    )
    sql.copy_field_changes(logged, *origin)
    sql.copy_changes((customer_id, (changes.NEW_WITH_FIELDS,)) for customer_id in customers)
    changes.wake()

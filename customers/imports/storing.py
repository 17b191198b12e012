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
    """Give customers values, by CustomerId, which are staged in this order; "null" clears.

    Known customers are locked before others are created, as identity resolution does it. Who
    turns out to have been created meanwhile is updated; who was erased is left out. Call it inside
    a transaction.
    """
    keys = tombstones.erased([(identity.CUSTOMER_ID, each) for each in values])
    erased = {external_id for _, external_id in keys}
    external_ids = [*values]
    owners: dict[str, int] = {}
    missing = []
    for place, customer_id in sql.select_differing():
        if external_ids[place] in erased:
            continue
        if customer_id is None:
            missing.append(place)
        else:
            owners[external_ids[place]] = customer_id
    updated = _update(values, owners, origin)
    if not missing:
        return Stored([], updated, erased)
    created = sql.create_staged(missing)
    _note_created({own: values[external_ids[place]] for place, own in created.items()}, origin)
    raced = [external_ids[place] for place in missing if place not in created]
    if raced:
        updated += _update(values, sql.select_owners(raced), origin)
    return Stored([*created.values()], updated, erased)


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


def _note_created(customers: Mapping[int, Given], origin: Origin) -> None:
    """Note by id who was created with which values: what these were before (nothing), and one fact.

    Nobody else can see these customers yet.
    """
    given = ((own, *shapes.without_cleared(said)) for own, said in customers.items())
    logged = ((own, shape.changes(cells)) for own, shape, cells in given if cells)
    sql.copy_field_changes(logged, *origin)
    sql.copy_changes((own, (changes.NEW_WITH_FIELDS,)) for own in customers)
    changes.wake()

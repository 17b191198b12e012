"""The catalogue of event names, and of traits that are no customer fields yet."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from customers import exact, fields
from events import payload
from events.models import EventName, EventProperty
from events.sql import vocabulary

MAX_DISCOVERED: Final = 1_000  # names; more come from an attack or a mistake, and help nobody

SAMPLED: Final = 50  # events of a name that tell what properties it has


def ids(names: Collection[str]) -> dict[str, int]:
    """Return the small id of each event name, adding the names that are new."""
    known = _ids(names)
    if len(known) < len(names):
        vocabulary.insert_names(sorted(set(names) - known.keys()))
        known = _ids(names)
    return known


def _ids(names: Collection[str]) -> dict[str, int]:
    return dict(EventName.objects.filter(name__in=names).values_list("name", "id"))


def properties(name_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """Return {name, types, example} of the properties that events of each name have had.

    Of names whose events came before the catalogue learnt, those that some of them have.
    """
    found: dict[int, list[dict[str, Any]]] = {}
    rows = EventProperty.objects.filter(name__in=name_ids).order_by("path")
    for row in rows:
        known = {"name": row.path, "types": row.types, "example": exact.loads(row.example)}
        found.setdefault(row.name_id, []).append(known)
    unlearnt = [name_id for name_id in name_ids if name_id not in found]
    for name_id, name, types, example in vocabulary.sample_properties(unlearnt, SAMPLED):
        known = {"name": name, "types": types, "example": exact.loads(example or "null")}
        found.setdefault(name_id, []).append(known)
    return found


def has_plan() -> bool:
    """Tell whether any event is expected: then those that are not stand out."""
    return EventName.objects.filter(is_expected=True).exists()


def discover(examples: Mapping[str, tuple[int, Any]]) -> None:
    """Remember traits that are no fields, by name with (source id, example)."""
    rows = [
        (name, source_id, str(fields.guess_type(example)), payload.write(example).decode()[:200])
        for name, (source_id, example) in sorted(examples.items())
    ]
    vocabulary.insert_discovered(rows, MAX_DISCOVERED)

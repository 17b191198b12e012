"""What a rule can speak of, for the builder: names to choose from, and values that really occur.

All of it is read from a bounded number of rows, so that it costs the same with ten million.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from django.conf import settings
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform

from customers.models import ConsentPurpose, Customer, CustomerField
from events.models import Event, EventName, Source
from segments import parsing
from segments.models import Segment

MAX_EVENTS = 1_000
SAMPLED_CUSTOMERS = 5_000
SAMPLED_EVENTS = 500
MAX_PROPERTIES = 60
MAX_VALUES = 40
MAX_DEPTH = 3  # of a property within others
MAX_LENGTH = 60  # of a value that is worth suggesting

Names: TypeAlias = list[dict[str, str]]


def choices(editing: str | None = None) -> dict[str, Any]:
    """Return the names that the builder offers; a segment is not offered for its own rule."""
    return {
        "events": list(EventName.objects.values_list("name", flat=True)[:MAX_EVENTS]),
        "fields": _fields(),
        "segments": _named(Segment.objects.exclude(key=editing).values("key", "name")),
        "sources": _named(Source.objects.values("key", "name")),
        "purposes": [{"key": one.key, "name": str(one)} for one in ConsentPurpose.objects.all()],
        "currency": settings.CURRENCY,
    }


def _fields() -> list[dict[str, Any]]:
    """The customer fields as people call them, then what every customer has."""
    own = [
        {"name": field.name, "label": str(field), "type": field.type, "own": True}
        for field in sorted(CustomerField.objects.all(), key=_first_what_groups_people)
    ]
    seen = (("@first_seen", "First seen"), ("@last_seen", "Last seen"))
    built_in = [
        {"name": name, "label": label, "type": parsing.BUILT_INS[name], "own": False}
        for name, label in seen
    ]
    return own + built_in


def _first_what_groups_people(field: CustomerField) -> tuple[bool, str]:
    return field.is_personal, str(field).lower()


def _named(rows: Any) -> Names:
    return [{"key": row["key"], "name": row["name"]} for row in rows]


def values(field_name: str) -> list[str]:
    """Return frequent values of a text field among the newest customers, the commonest first.

    Nothing for fields that hold personal data: they would be read out to whoever types.
    """
    field = CustomerField.objects.filter(name=field_name).first()
    if field is None or field.is_personal or field.type != "string":
        return []
    newest = Customer.objects.current().order_by("-pk")
    read = newest.values_list(KeyTextTransform(field.name, "fields"), flat=True)
    return _commonest(Counter(value for value in read[:SAMPLED_CUSTOMERS] if value))


def properties(event_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the properties that these events have: {name, type, values}, the commonest first."""
    chosen = Q()
    for name in event_names:
        chosen |= Q(name__startswith=name[:-1]) if name.endswith("*") else Q(name=name)
    ids = list(EventName.objects.filter(chosen).values_list("pk", flat=True)) if chosen else []
    found: dict[str, Counter[tuple[str, Any]]] = defaultdict(Counter)
    rows = Event.objects.filter(name__in=ids).values_list("properties", flat=True)
    for held in rows[:SAMPLED_EVENTS]:
        for path, value in _leaves(held):
            found[path][_type_of(value), value] += 1
    frequent = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        {"name": path, "type": _type(seen), "values": _texts(seen)}
        for path, seen in frequent[:MAX_PROPERTIES]
    ]


def _leaves(held: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Walk through properties to single values; of a list only the first item."""
    inner: Mapping[str, Any] = {}
    if isinstance(held, dict):
        inner = held
    elif isinstance(held, list) and held:
        inner = {"0": held[0]}
    elif isinstance(held, str | int | Decimal):
        yield path, held
    if depth < MAX_DEPTH:
        for name, value in inner.items():
            if name and "." not in name and not name.startswith("@"):
                yield from _leaves(value, f"{path}.{name}" if path else name, depth + 1)


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _type(seen: Counter[tuple[str, Any]]) -> str:
    """The type that all values have, else string."""
    kinds = {kind for kind, _ in seen}
    return kinds.pop() if len(kinds) == 1 else "string"


def _texts(seen: Counter[tuple[str, Any]]) -> list[str]:
    """The values that are texts, but for what looks like an e-mail address."""
    texts = {value: n for (kind, value), n in seen.items() if kind == "string" and "@" not in value}
    return _commonest(Counter(texts))


def _commonest(counted: Counter[str]) -> list[str]:
    short = Counter({v: n for v, n in counted.items() if v.strip() and len(v) <= MAX_LENGTH})
    return [value for value, _ in short.most_common(MAX_VALUES)]

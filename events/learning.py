"""The catalogue learns as events arrive: which properties they have, of what types, and when."""

import time
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import transaction

from events import payload
from events.sql import vocabulary

MAX_PROPERTIES: Final = 200  # of one event type; more come from keys that are data
MAX_EXAMPLE: Final = 200  # characters
_LEVELS: Final = 3  # of objects within objects, under dotted paths
_AGAIN_AFTER: Final = 3600.0  # seconds in which what is known is not written again
_MOST_KNOWN: Final = 50_000
_NAMED_AFTER: Final = 60.0

_known: dict[tuple[int, str, str], float] = {}  # of this process; it may forget
_named: dict[int, float] = {}


def note(events: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
    """Remember what these events, as (name id, properties), are like. Call it in a transaction.

    What this process has seen within the hour costs a look-up for each property and nothing more.
    """
    now = time.monotonic()
    names: set[int] = set()
    found: dict[tuple[int, str, str], str] = {}
    for name_id, properties in events:
        if now - _named.get(name_id, -_NAMED_AFTER) >= _NAMED_AFTER:
            names.add(name_id)
        for path, kind, value in _flat(properties):
            key = (name_id, path, kind)
            if key not in found and now - _known.get(key, -_AGAIN_AFTER) >= _AGAIN_AFTER:
                found[key] = _example(value)
    if names:
        vocabulary.note_names_seen(sorted(names))
    if found:
        vocabulary.learn_properties([(*key, found[key]) for key in sorted(found)], MAX_PROPERTIES)
    if names or found:
        transaction.on_commit(partial(_remember, now, names, [*found]))


def forget() -> None:
    """Begin anew, as after the tables were emptied."""
    _known.clear()
    _named.clear()


def _remember(now: float, names: Iterable[int], keys: Iterable[tuple[int, str, str]]) -> None:
    if len(_known) > _MOST_KNOWN:
        _known.clear()
    _known.update(dict.fromkeys(keys, now))
    _named.update(dict.fromkeys(names, now))


def _flat(
    properties: Mapping[str, Any], prefix: str = "", levels: int = _LEVELS
) -> Iterator[tuple[str, str, Any]]:
    for key, value in properties.items():
        if value is None:
            continue
        kind = _kind(value)
        if kind == "object" and levels > 1:
            yield from _flat(value, f"{prefix}{key}.", levels - 1)
        else:
            yield (prefix + key)[:MAX_EXAMPLE], kind, value


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | Decimal):
        return "number"
    return "object" if isinstance(value, dict) else "array"


def _example(value: Any) -> str:
    if isinstance(value, dict | list):
        return "null"
    text = payload.write(value).decode()
    return text if len(text) <= MAX_EXAMPLE else payload.write(value[: MAX_EXAMPLE // 2]).decode()

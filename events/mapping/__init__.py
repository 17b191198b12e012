"""What a source calls things → what we call them: names, paths, numbers, dates and values.

A source's mapping is

    {"presets": ["ga4", …],                      # all of them unless said
     "events": {"bought": "Order Completed"},    # name → name
     "properties": {"basket.sum": "total", "customer_no": ".userId"},   # path → path
     "numbers": {"total": "1.234,50"}, "dates": {".timestamp": "dd.mm.yyyy"},   # path → style
     "values": {"status": {"01": "paid"}}}       # path → {value → value}

Paths begin in the properties (the traits of an identify), with a dot at the event. First properties
are moved; numbers, dates and values then name the paths that they have afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from customers import exact, identity
from customers.fields import FieldValueError
from customers.imports.options import DATES, NUMBERS, date_reader, number_reader
from events.mapping import paths
from events.mapping.presets import EVERY, GA4, PRESETS, SIGNS

MAX_ENTRIES: Final = 500  # of each part
PARTS: Final = ("presets", "events", "properties", "numbers", "dates", "values")
_IDS: Final = (["userId"], ["anonymousId"], ["previousId"])
NEVER_MOVED: Final = (".messageId", ".type", ".properties", ".traits", ".context")


class MappingError(ValueError):
    """A mapping that cannot be followed. The message is for people."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True)
class Mapper:
    """A mapping, ready to be applied."""

    presets: tuple[str, ...]
    events: Mapping[str, str]
    properties: Mapping[str, str]
    readers: Mapping[str, Callable[[Any], Any]]

    def apply(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the event as we call things; what a reader cannot read stays as it is."""
        home = "traits" if event.get("type") in ("identify", "group") else "properties"
        mapped = self._renamed({**event})
        for source, target in self.properties.items():
            _move(mapped, paths.absolute(source, home), paths.absolute(target, home))
        for path, read in self.readers.items():
            keys = paths.absolute(path, home)
            value = paths.get(mapped, keys)
            if value is not paths.ABSENT:
                paths.put(mapped, keys, read(value))
        return mapped

    def _renamed(self, event: dict[str, Any]) -> dict[str, Any]:
        name = event.get("event")
        if not isinstance(name, str):
            return event
        if name in self.events:
            event["event"] = self.events[name]
            return event
        for key in self.presets:
            if name in PRESETS[key].events and (key != GA4 or _is_of_ga4(event)):
                return _follow_preset(event, key)
        return event


def _is_of_ga4(event: Mapping[str, Any]) -> bool:
    properties = event.get("properties")
    return isinstance(properties, dict) and any(sign in properties for sign in SIGNS)


def _follow_preset(event: dict[str, Any], key: str) -> dict[str, Any]:
    preset = PRESETS[key]
    event["event"] = preset.events[event["event"]]
    for source, target in preset.properties.items():
        _move(event, ["properties", source], ["properties", target])
    products = paths.get(event, ["properties", "products"])
    if preset.products and isinstance(products, list):
        renamed = [_renamed_keys(one, preset.products) for one in products]
        paths.put(event, ["properties", "products"], renamed)
    return event


def _renamed_keys(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, dict):
        return value
    return {names.get(key, key): inner for key, inner in value.items()}


def _move(event: dict[str, Any], source: list[str], target: list[str]) -> None:
    value = paths.get(event, source)
    if value is not paths.ABSENT and _is_free(target, paths.get(event, target)):
        paths.remove(event, source)
        paths.put(event, target, value)


def _is_free(target: list[str], present: Any) -> bool:
    """Tell whether a value may be moved to where `present` is: nothing, or the id of nobody."""
    if present in (paths.ABSENT, None, ""):
        return True
    is_text = isinstance(present, str)
    return target in _IDS and is_text and identity.normalise(target[0], present) is None


def of(mapping: Mapping[str, Any]) -> Mapper:
    """Return what applies a source's mapping, which was checked when it was stored."""
    return _mapper(exact.dumps(mapping))


@lru_cache(maxsize=200)
def _mapper(text: str) -> Mapper:
    mapping = exact.loads(text)
    readers: dict[str, Callable[[Any], Any]] = {}
    for path, style in mapping.get("numbers", {}).items():
        readers[path] = _number(style)
    for path, style in mapping.get("dates", {}).items():
        readers[path] = _date(style)
    for path, values in mapping.get("values", {}).items():
        readers[path] = _value(values, readers.get(path))
    return Mapper(
        tuple(mapping.get("presets", EVERY)),
        mapping.get("events", {}),
        mapping.get("properties", {}),
        readers,
    )


def _number(style: str) -> Callable[[Any], Any]:
    read = number_reader(style)

    def to_number(value: Any) -> Any:
        try:
            return Decimal(read(value.strip())) if isinstance(value, str) else value
        except (FieldValueError, InvalidOperation):
            return value

    return to_number


def _date(style: str) -> Callable[[Any], Any]:
    read = date_reader(style)

    def to_date(value: Any) -> Any:
        try:
            return read(value.strip()) if isinstance(value, str) else value
        except FieldValueError:
            return value

    return to_date


def _value(values: Mapping[str, Any], before: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def to_value(value: Any) -> Any:
        value = before(value) if before else value
        return values.get(str(value), value) if isinstance(value, str | int | Decimal) else value

    return to_value


def check(mapping: Any) -> dict[str, Any]:
    """Return a mapping as it may be stored. Raises `MappingError`."""
    if not isinstance(mapping, dict):
        raise MappingError("", "A mapping is an object.")
    for part, given in mapping.items():
        if part not in PARTS:
            raise MappingError(part, f"There is no part “{part}”: {', '.join(PARTS)}.")
        if part == "presets":
            _check_presets(given)
        else:
            _check_part(part, given)
    return mapping


def _check_presets(given: Any) -> None:
    if not (isinstance(given, list) and all(one in EVERY for one in given)):
        raise MappingError("presets", f"Presets are a list of {', '.join(EVERY)}.")


def _check_part(part: str, given: Any) -> None:
    if not isinstance(given, dict) or len(given) > MAX_ENTRIES:
        raise MappingError(part, f"“{part}” is an object of at most {MAX_ENTRIES} members.")
    for left, right in given.items():
        if not 0 < len(left) <= paths.MAX_PATH:
            raise MappingError(part, f"“{left[:60]}” is empty or too long.")
        if part == "properties" and {left, right} & {*NEVER_MOVED}:
            raise MappingError(part, f"{', '.join(NEVER_MOVED)} stay where they are.")
        _CHECKS[part](part, left, right)


def _check_text(part: str, left: str, right: Any) -> None:
    if not (isinstance(right, str) and 0 < len(right.strip()) <= paths.MAX_PATH):
        raise MappingError(part, f"“{left}” must become a text of 1 to {paths.MAX_PATH} letters.")


def _check_style(part: str, left: str, right: Any) -> None:
    styles = NUMBERS if part == "numbers" else DATES
    if right not in styles:
        raise MappingError(part, f"“{left}” must be written as one of {', '.join(styles)}.")


def _check_values(part: str, left: str, right: Any) -> None:
    is_good = isinstance(right, dict) and all(
        isinstance(value, str | int | float | Decimal | bool) for value in right.values()
    )
    if not is_good:
        raise MappingError(part, f"The values of “{left}” are an object of value and new value.")


_CHECKS: Final = {
    "events": _check_text,
    "properties": _check_text,
    "numbers": _check_style,
    "dates": _check_style,
    "values": _check_values,
}

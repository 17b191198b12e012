"""What a rule compares with: operators and their values, windows and spans of time."""

import unicodedata
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal

from django.utils.dateparse import parse_date, parse_datetime

from customers.fields import SPACES
from segments import rules, shapes
from segments.shapes import JSON, Node, RuleError

MAX_VALUES = 1_000  # of a list
MIN_YEAR, MAX_YEAR = 1000, 9000  # so that no arithmetic leaves the calendar
MAX_WINDOW = timedelta(days=3653)  # ten years
UNITS = {
    "minutes": timedelta(minutes=1),
    "hours": timedelta(hours=1),
    "days": timedelta(days=1),
    "weeks": timedelta(weeks=1),
}
CALENDARS = ("today", "this_week", "this_month", "this_year")
MEASURES = ("count", "sum", "average", "min", "max", "distinct", "first", "last")
ANY_OPS = ("exists", "missing")
STRING_OPS = (
    *("is", "is_not", "one_of", "none_of"),
    *("contains", "not_contains", "starts_with", "ends_with"),
)
COMPARISONS = ("at_least", "at_most", "more_than", "less_than")
NUMBER_OPS = ("is", "is_not", *COMPARISONS, "between", "one_of")
DATETIME_OPS = (
    *("before", "after", "between", "in_last", "not_in_last", "in_next"),
    "anniversary_in_next",
)
SPANS = {"in_last": "last", "not_in_last": "last"} | dict.fromkeys(DATETIME_OPS[5:], "next")
OPS: dict[str, tuple[str, ...]] = {
    "string": STRING_OPS,
    "number": NUMBER_OPS,
    "datetime": DATETIME_OPS,
    "boolean": ("is",),
}


def read_test(node: Node, types: tuple[str, ...], path: str, zone: tzinfo) -> rules.Test:
    """Read op and value. Where several types are possible, op and value decide between them."""
    if "op" not in node:
        raise RuleError(path, 'An "op" is missing.')
    op, at = node["op"], shapes.join(path, "op")
    possible = [*ANY_OPS, *dict.fromkeys(name for kind in types for name in OPS[kind])]
    if op not in possible:
        shapes.refuse(at, op, possible)
    if op in ANY_OPS:
        if "value" in node:
            raise RuleError(shapes.join(path, "value"), f"The operator {op} takes no value.")
        return rules.Test(op, types[0])  # type: ignore[arg-type]
    if "value" not in node:
        raise RuleError(path, f'The operator {op} needs a "value".')
    value, at = node["value"], shapes.join(path, "value")
    kinds = [kind for kind in types if op in OPS[kind]]
    kind = kinds[0] if len(kinds) == 1 else _type_of(value, kinds)
    return rules.Test(op, kind, _value(op, kind, value, at, zone))  # type: ignore[arg-type]


def _type_of(value: JSON, kinds: list[str]) -> str:
    """The type that a value speaks of, where the operator leaves it open."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool):
        spoken = "boolean"
    elif isinstance(value, int | float | Decimal):
        spoken = "number"
    else:
        spoken = "string" if "string" in kinds else "datetime"
    return spoken if spoken in kinds else kinds[0]


def _value(op: str, kind: str, value: JSON, path: str, zone: tzinfo) -> rules.Value:
    if op in ("one_of", "none_of"):
        items = shapes.a_list(value, path, "a list of values")
        if len(items) > MAX_VALUES:
            raise RuleError(path, f"A list may have at most {MAX_VALUES} values.")
        return tuple(_scalar(kind, v, shapes.join(path, n), zone) for n, v in enumerate(items))
    if op == "between":
        return _range(kind, value, path, zone)
    if op in SPANS:
        span = _named_span(value, SPANS[op], path)
        if op == "anniversary_in_next" and value["unit"] not in ("days", "weeks"):
            raise RuleError(
                shapes.join(path, "unit"), "Anniversaries are looked for in days or weeks."
            )
        return span
    return _scalar(kind, value, path, zone)


def _range(kind: str, value: JSON, path: str, zone: tzinfo) -> rules.Value:
    if not isinstance(value, list) or len(value) != 2:
        raise RuleError(path, "This must be a list of two values, [low, high].")
    low, high = (_scalar(kind, v, shapes.join(path, n), zone) for n, v in enumerate(value))
    if low > high:  # type: ignore[operator]
        raise RuleError(path, "The low end must not be above the high end.")
    return (low, high)


def _scalar(kind: str, value: JSON, path: str, zone: tzinfo) -> rules.Value:
    match kind:
        case "boolean":
            if not isinstance(value, bool):
                raise RuleError(path, "This must be true or false.")
            return value
        case "number":
            return _number(value, path)
        case "datetime":
            return _instant(value, path, zone)
    if not isinstance(value, str):
        raise RuleError(path, "This must be a text.")
    return normalise(shapes.no_nul(value, path))


def normalise(text: str) -> str:
    """Texts compare in this form; letter case is left to the database."""
    return unicodedata.normalize("NFC", text).strip(SPACES)


def _number(value: JSON, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise RuleError(path, "This must be a number.")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 100:
        raise RuleError(path, "This number is out of range.")
    return number


def _instant(value: JSON, path: str, zone: tzinfo) -> datetime:
    text = shapes.a_text(value, path, "a date or time like 2026-01-31 or 2026-01-31T18:00:00Z")
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)):
            moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001
        if moment is None or not MIN_YEAR <= moment.year <= MAX_YEAR:
            raise ValueError
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        message = "This must be a date or time like 2026-01-31 or 2026-01-31T18:00:00Z."
        raise RuleError(path, message) from None


# Windows and spans


def read_window(node: JSON, path: str, zone: tzinfo) -> rules.Window:
    if node is None:
        return None
    node = shapes.an_object(node, path, 'a window like {"last": 90, "unit": "days"}')
    if "last" in node:
        return _sliding(node, path)
    if "calendar" in node:
        shapes.only(node, {"calendar"}, path)
        if node["calendar"] not in CALENDARS:
            shapes.refuse(shapes.join(path, "calendar"), node["calendar"], CALENDARS)
        return rules.Period(node["calendar"])
    if node.get("from") is None and node.get("to") is None:
        shapes.only(node, {"from", "to"}, path)
        raise RuleError(path, "A window has last and unit, or from and to, or calendar.")
    shapes.only(node, {"from", "to"}, path)
    start, end = (
        _instant(node[name], shapes.join(path, name), zone) if node.get(name) is not None else None
        for name in ("from", "to")
    )
    if start and end and start >= end:
        raise RuleError(path, "A window must begin before it ends.")
    if start and end and end - start > MAX_WINDOW:
        raise RuleError(path, "A window may be at most 10 years long.")
    return rules.Fixed(start, end)


def _sliding(node: Node, path: str) -> rules.Sliding:
    shapes.only(node, {"last", "unit", "except_last"}, path)
    last = read_span(node, "last", path)
    if "except_last" not in node:
        return rules.Sliding(last)
    except_last = read_span(node, "except_last", path)
    if except_last >= last:
        raise RuleError(shapes.join(path, "except_last"), "This must be less than last.")
    return rules.Sliding(last, except_last)


def _named_span(value: JSON, name: str, path: str) -> timedelta:
    node = shapes.an_object(value, path, f'a span like {{"{name}": 7, "unit": "days"}}')
    shapes.only(node, {name, "unit"}, path)
    return read_span(node, name, path)


WHOLE = "This must be a whole number, 1 or more."


def read_span(node: Node, name: str, path: str) -> timedelta:
    """A length of time, `name` giving the number and `unit` the unit."""
    if name not in node:
        raise RuleError(path, f'A "{name}" is missing.')
    number = node[name]
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise RuleError(shapes.join(path, name), WHOLE)
    if number < 1 or (number < MAX_WINDOW / UNITS["minutes"] and number % 1):
        raise RuleError(shapes.join(path, name), WHOLE)
    if "unit" not in node:
        raise RuleError(path, f'A "unit" is missing: {shapes.listed(UNITS)}.')
    if node["unit"] not in [*UNITS]:
        shapes.refuse(shapes.join(path, "unit"), node["unit"], UNITS)
    unit = UNITS[node["unit"]]
    if number > MAX_WINDOW // unit:
        raise RuleError(shapes.join(path, name), "This may be at most 10 years.")
    return int(number) * unit

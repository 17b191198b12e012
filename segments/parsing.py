"""Reading a rule: JSON in, a checked tree out, or an error that says where and what would be right.

The language is described in docs/rules.md.
"""

import difflib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, NoReturn, TypeAlias

from django.utils.dateparse import parse_date, parse_datetime

from customers import consent
from customers.fields import SPACES
from segments import rules

MAX_LEVELS = 10  # of groups, those in segments that a rule names included
MAX_CONDITIONS = 100
MAX_STEPS = 20  # of a sequence
MAX_FILTERS = 20  # of an event
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
BUILT_INS = {"@first_seen": "datetime", "@last_seen": "datetime", "@identified": "boolean"}

JSON: TypeAlias = Any
Node: TypeAlias = dict[str, Any]


class RuleError(ValueError):
    """A rule that cannot be taken: `path` leads to the fault, as in all.0.where.1.op."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


@dataclass(frozen=True)
class Known:
    """What a rule may speak of. `segments` reads another segment: its tree or, by hand, its id."""

    types: Mapping[str, str]  # customer field -> type
    sources: frozenset[str]
    segment: Callable[[str, str], "rules.Member | rules.Within"]
    zone: tzinfo


def parse(rule: JSON, known: Known) -> rules.Rule:
    """Read a rule. Raises `RuleError` on anything that is not fully understood."""
    tree = _rule(rule, "", 1, known)
    if sum(1 for _ in rules.conditions(tree)) > MAX_CONDITIONS:
        raise RuleError("", f"A rule may have at most {MAX_CONDITIONS} conditions.")
    if rules.levels(tree) > MAX_LEVELS:
        message = f"With the segments it names, a rule may be at most {MAX_LEVELS} levels deep."
        raise RuleError("", message)
    return tree


def _rule(node: JSON, path: str, level: int, known: Known) -> rules.Rule:
    node = _object(node, path, "a rule")
    kinds = [kind for kind in KINDS if kind in node]
    if len(kinds) != 1:
        raise RuleError(path, f"A rule has exactly one of {_names(KINDS)}.")
    if level > MAX_LEVELS and kinds[0] in ("all", "any", "not"):
        raise RuleError(path, f"Groups may be at most {MAX_LEVELS} levels deep.")
    return KINDS[kinds[0]](node, path, level, known)


def _all(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    return rules.All(_group(node, "all", path, level, known))


def _any(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    return rules.Any(_group(node, "any", path, level, known))


def _group(node: Node, kind: str, path: str, level: int, known: Known) -> tuple[rules.Rule, ...]:
    _only(node, {kind}, path)
    at = _join(path, kind)
    inner = _list(node[kind], at, "at least one rule")
    return tuple(_rule(rule, _join(at, n), level + 1, known) for n, rule in enumerate(inner))


def _not(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    _only(node, {"not"}, path)
    return rules.Not(_rule(node["not"], _join(path, "not"), level + 1, known))


def _member(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    _only(node, {"segment"}, path)
    at = _join(path, "segment")
    key = _string(node["segment"], at, "the key of a segment")
    return replace(known.segment(key, at), path=path)


def _field(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    _only(node, {"field", "op", "value"}, path)
    at = _join(path, "field")
    name = _string(node["field"], at, "the name of a customer field")
    kind = known.types.get(name) or BUILT_INS.get(name)
    if kind is None and (purpose := _purpose(name)):
        name, kind = consent.PREFIX + purpose, "boolean"
    if kind is None:
        raise RuleError(at, f"There is no customer field {name!r}.{_nearest(name, known.types)}")
    return rules.Field(name, _test(node, (kind,), path, known), path)


def _purpose(name: str) -> str | None:
    """The purpose whose decision this built-in is."""
    if not name.startswith(consent.PREFIX):
        return None
    return consent.normalise(name.removeprefix(consent.PREFIX))


def _event(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    _only(node, {"event", "where", "within", "measure", "property", "op", "value"}, path)
    measure = node.get("measure", "count")
    if measure not in MEASURES:
        _refuse(_join(path, "measure"), measure, MEASURES)
    where = _where(node, path, known)
    return rules.Event(
        names=_event_names(node, path),
        where=where,
        window=_window(node.get("within"), _join(path, "within"), known),
        measure=measure,
        property=_measured(node, measure, path),
        test=_measure_test(node, measure, path, known),
        path=path,
    )


def _measured(node: Node, measure: str, path: str) -> str | None:
    """The property that is measured."""
    if measure == "count":
        if "property" in node:
            raise RuleError(_join(path, "property"), "To count events, leave the property out.")
        return None
    if "property" not in node:
        raise RuleError(path, f'The measure {measure} needs a "property", such as "amount".')
    prop = _property(node["property"], _join(path, "property"))
    if prop == rules.TIME and measure in ("sum", "average", "min", "max"):
        raise RuleError(
            _join(path, "property"), f"A time has no {measure}; use the measure first or last."
        )
    return prop


def _measure_test(node: Node, measure: str, path: str, known: Known) -> rules.Test:
    if "op" not in node:
        if measure != "count" or "value" in node:
            raise RuleError(path, f'The measure {measure} needs an "op", such as "at_least".')
        return rules.Test("at_least", "number", Decimal(1))
    if measure not in ("first", "last"):
        return _test(node, ("number",), path, known)
    prop = node.get("property")
    if prop == rules.TIME:
        return _test(node, ("datetime",), path, known)
    if prop == rules.AMOUNT:
        return _test(node, ("number",), path, known)
    return _test(node, ("string", "number", "datetime", "boolean"), path, known)


def _sequence(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    _only(node, {"sequence", "within"}, path)
    at = _join(path, "sequence")
    steps = _list(node["sequence"], at, "at least one step")
    if len(steps) > MAX_STEPS:
        raise RuleError(at, f"A sequence may have at most {MAX_STEPS} steps.")
    return rules.Sequence(
        steps=tuple(_step(step, _join(at, n), n == 0, known) for n, step in enumerate(steps)),
        window=_window(node.get("within"), _join(path, "within"), known),
        path=path,
    )


def _step(node: JSON, path: str, is_first: bool, known: Known) -> rules.Step:  # noqa: FBT001
    node = _object(node, path, "a step")
    _only(node, {"event", "where", "after"}, path)
    if "event" not in node:
        raise RuleError(path, 'A step needs an "event".')
    after = None
    if "after" in node:
        at = _join(path, "after")
        if is_first:
            raise RuleError(at, "The first step has none before it.")
        gap = _object(node["after"], at, 'a gap like {"at_most": 2, "unit": "hours"}')
        _only(gap, {"at_most", "unit"}, at)
        after = _span(gap, "at_most", at)
    return rules.Step(_event_names(node, path), _where(node, path, known), after)


def _event_names(node: Node, path: str) -> tuple[str, ...]:
    at = _join(path, "event")
    given = node["event"]
    if isinstance(given, list):
        names = _list(given, at, "at least one event name")
        return tuple(_string(name, _join(at, n), "an event name") for n, name in enumerate(names))
    return (_string(given, at, "an event name or a list of them"),)


def _where(node: Node, path: str, known: Known) -> tuple[rules.Filter, ...]:
    if "where" not in node:
        return ()
    at = _join(path, "where")
    given = node["where"]
    if not isinstance(given, list):
        raise RuleError(at, "This must be a list of filters.")
    if len(given) > MAX_FILTERS:
        raise RuleError(at, f"There may be at most {MAX_FILTERS} filters.")
    return tuple(_filter(item, _join(at, n), known) for n, item in enumerate(given))


def _filter(node: JSON, path: str, known: Known) -> rules.Filter:
    node = _object(node, path, "a filter")
    if "channel" in node:
        _only(node, {"channel"}, path)
        if node["channel"] not in ("online", "offline"):
            _refuse(_join(path, "channel"), node["channel"], ("online", "offline"))
        return rules.ChannelFilter(node["channel"])
    if "source" in node:
        _only(node, {"source"}, path)
        at = _join(path, "source")
        source = _string(node["source"], at, "the key of a source")
        if source not in known.sources:
            raise RuleError(at, f"There is no source {source!r}.{_nearest(source, known.sources)}")
        return rules.SourceFilter(source)
    if "property" not in node:
        raise RuleError(path, "A filter has one of property, channel, source.")
    _only(node, {"property", "op", "value"}, path)
    prop = _property(node["property"], _join(path, "property"))
    kinds = {rules.AMOUNT: ("number",), rules.CURRENCY: ("string",), rules.TIME: ("datetime",)}
    possible = kinds.get(prop, ("string", "number", "datetime", "boolean"))
    return rules.PropertyFilter(prop, _test(node, possible, path, known))


def _property(given: JSON, path: str) -> str:
    prop = _string(given, path, 'a path into the properties, like "products.0.sku"')
    if prop.startswith("@") and prop != rules.TIME:
        raise RuleError(path, f'There is no {prop!r}; "@time" is the instant of the event.')
    if not all(prop.split(".")):
        raise RuleError(path, "A path must not have empty parts.")
    return prop


# Tests: an operator and its value


def _test(node: Node, types: tuple[str, ...], path: str, known: Known) -> rules.Test:
    """Read op and value. Where several types are possible, op and value decide between them."""
    if "op" not in node:
        raise RuleError(path, 'An "op" is missing.')
    op, at = node["op"], _join(path, "op")
    possible = [*ANY_OPS, *dict.fromkeys(name for kind in types for name in OPS[kind])]
    if op not in possible:
        _refuse(at, op, possible)
    if op in ANY_OPS:
        if "value" in node:
            raise RuleError(_join(path, "value"), f"The operator {op} takes no value.")
        return rules.Test(op, types[0])  # type: ignore[arg-type]
    if "value" not in node:
        raise RuleError(path, f'The operator {op} needs a "value".')
    value, at = node["value"], _join(path, "value")
    kinds = [kind for kind in types if op in OPS[kind]]
    kind = kinds[0] if len(kinds) == 1 else _type_of(value, kinds)
    return rules.Test(op, kind, _value(op, kind, value, at, known))  # type: ignore[arg-type]


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


def _value(op: str, kind: str, value: JSON, path: str, known: Known) -> rules.Value:
    if op in ("one_of", "none_of"):
        items = _list(value, path, "a list of values")
        if len(items) > MAX_VALUES:
            raise RuleError(path, f"A list may have at most {MAX_VALUES} values.")
        return tuple(_scalar(kind, v, _join(path, n), known) for n, v in enumerate(items))
    if op == "between":
        return _range(kind, value, path, known)
    if op in SPANS:
        span = _named_span(value, SPANS[op], path)
        if op == "anniversary_in_next" and value["unit"] not in ("days", "weeks"):
            raise RuleError(_join(path, "unit"), "Anniversaries are looked for in days or weeks.")
        return span
    return _scalar(kind, value, path, known)


def _range(kind: str, value: JSON, path: str, known: Known) -> rules.Value:
    if not isinstance(value, list) or len(value) != 2:
        raise RuleError(path, "This must be a list of two values, [low, high].")
    low, high = (_scalar(kind, v, _join(path, n), known) for n, v in enumerate(value))
    if low > high:  # type: ignore[operator]
        raise RuleError(path, "The low end must not be above the high end.")
    return (low, high)


def _scalar(kind: str, value: JSON, path: str, known: Known) -> rules.Value:
    match kind:
        case "boolean":
            if not isinstance(value, bool):
                raise RuleError(path, "This must be true or false.")
            return value
        case "number":
            return _number(value, path)
        case "datetime":
            return _instant(value, path, known.zone)
    if not isinstance(value, str):
        raise RuleError(path, "This must be a text.")
    return normalise(_no_nul(value, path))


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
    text = _string(value, path, "a date or time like 2026-01-31 or 2026-01-31T18:00:00Z")
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


def _window(node: JSON, path: str, known: Known) -> rules.Window:
    if node is None:
        return None
    node = _object(node, path, 'a window like {"last": 90, "unit": "days"}')
    if "last" in node:
        return _sliding(node, path)
    if "calendar" in node:
        _only(node, {"calendar"}, path)
        if node["calendar"] not in CALENDARS:
            _refuse(_join(path, "calendar"), node["calendar"], CALENDARS)
        return rules.Period(node["calendar"])
    if node.get("from") is None and node.get("to") is None:
        _only(node, {"from", "to"}, path)
        raise RuleError(path, "A window has last and unit, or from and to, or calendar.")
    _only(node, {"from", "to"}, path)
    start, end = (
        _instant(node[name], _join(path, name), known.zone) if node.get(name) is not None else None
        for name in ("from", "to")
    )
    if start and end and start >= end:
        raise RuleError(path, "A window must begin before it ends.")
    if start and end and end - start > MAX_WINDOW:
        raise RuleError(path, "A window may be at most 10 years long.")
    return rules.Fixed(start, end)


def _sliding(node: Node, path: str) -> rules.Sliding:
    _only(node, {"last", "unit", "except_last"}, path)
    last = _span(node, "last", path)
    if "except_last" not in node:
        return rules.Sliding(last)
    except_last = _span(node, "except_last", path)
    if except_last >= last:
        raise RuleError(_join(path, "except_last"), "This must be less than last.")
    return rules.Sliding(last, except_last)


def _named_span(value: JSON, name: str, path: str) -> timedelta:
    node = _object(value, path, f'a span like {{"{name}": 7, "unit": "days"}}')
    _only(node, {name, "unit"}, path)
    return _span(node, name, path)


WHOLE = "This must be a whole number, 1 or more."


def _span(node: Node, name: str, path: str) -> timedelta:
    """A length of time, `name` giving the number and `unit` the unit."""
    if name not in node:
        raise RuleError(path, f'A "{name}" is missing.')
    number = node[name]
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise RuleError(_join(path, name), WHOLE)
    if number < 1 or (number < MAX_WINDOW / UNITS["minutes"] and number % 1):
        raise RuleError(_join(path, name), WHOLE)
    if "unit" not in node:
        raise RuleError(path, f'A "unit" is missing: {_names(UNITS)}.')
    if node["unit"] not in [*UNITS]:
        _refuse(_join(path, "unit"), node["unit"], UNITS)
    unit = UNITS[node["unit"]]
    if number > MAX_WINDOW // unit:
        raise RuleError(_join(path, name), "This may be at most 10 years.")
    return int(number) * unit


# Shapes


def _object(node: JSON, path: str, wanted: str) -> Node:
    if not isinstance(node, dict):
        raise RuleError(path, f"This must be {wanted}, a JSON object.")
    return node


def _list(value: JSON, path: str, wanted: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RuleError(path, f"This must be a list with {wanted}.")
    return value


def _string(value: JSON, path: str, wanted: str) -> str:
    if not isinstance(value, str) or not value:
        raise RuleError(path, f"This must be {wanted}.")
    return _no_nul(value, path)


def _no_nul(value: str, path: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RuleError(path, "This text has a character that cannot be stored.")
    return value


def _only(node: Node, allowed: set[str], path: str) -> None:
    if unknown := sorted(set(map(str, node)) - allowed):
        at = _join(path, unknown[0])
        raise RuleError(at, f"There is no {unknown[0]!r} here, only {_names(sorted(allowed))}.")


def _refuse(path: str, given: JSON, possible: Any) -> NoReturn:
    shown = repr(given)
    if len(shown) > MAX_SHOWN:
        shown = shown[:MAX_SHOWN] + "…"
    raise RuleError(path, f"{shown} is not one of {_names(possible)}.")


MAX_SHOWN = 60  # letters of a wrong value that an error repeats


def _nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _names(names: Any) -> str:
    return ", ".join(names)


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)


KINDS: dict[str, Callable[[Node, str, int, Known], rules.Rule]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "field": _field,
    "event": _event,
    "sequence": _sequence,
    "segment": _member,
}

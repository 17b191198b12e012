"""The tree of a segment's rule: what a rule is, once it has been read and checked.

`parsing` makes trees, `compiler` turns them into SQL, `sentences` into English. Equal trees mean
equal conditions, wherever they stand: `path` says where and does not count for equality.
"""

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, TypeAlias

Value: TypeAlias = "str | Decimal | bool | datetime | timedelta | tuple[Value, ...] | None"
ValueType: TypeAlias = Literal["string", "number", "datetime", "boolean"]
Calendar: TypeAlias = Literal["today", "this_week", "this_month", "this_year"]

AMOUNT, CURRENCY, TIME = "amount", "currency", "@time"  # paths that are columns
NONE_IS_TRUE = frozenset({"missing", "is_not", "none_of", "not_contains", "not_in_last"})


@dataclass(frozen=True)
class Test:
    """A comparison. `value` is typed; a span of time for in_last, in_next and the like."""

    op: str
    type: ValueType
    value: Value = None


@dataclass(frozen=True)
class Sliding:
    """The half-open interval (now - last, now - except_last]."""

    last: timedelta
    except_last: timedelta = timedelta(0)


@dataclass(frozen=True)
class Fixed:
    """From `start` (included) to `end` (excluded)."""

    start: datetime | None
    end: datetime | None


@dataclass(frozen=True)
class Period:
    """The current day, week, month or year of the workspace's time zone."""

    calendar: Calendar


Window: TypeAlias = "Sliding | Fixed | Period | None"


@dataclass(frozen=True)
class PropertyFilter:
    property: str
    test: Test


@dataclass(frozen=True)
class ChannelFilter:
    channel: str


@dataclass(frozen=True)
class SourceFilter:
    source: str


Filter: TypeAlias = PropertyFilter | ChannelFilter | SourceFilter


@dataclass(frozen=True)
class Field:
    """A customer field, or a built-in beginning with @, passes a test."""

    name: str
    test: Test
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Event:
    """A measure over the events with these names, filters and window passes a test."""

    names: tuple[str, ...]
    where: tuple[Filter, ...]
    window: Window
    measure: str
    property: str | None
    test: Test
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Step:
    names: tuple[str, ...]
    where: tuple[Filter, ...]
    at_most_after: timedelta | None


@dataclass(frozen=True)
class Sequence:
    """Distinct events, one for each step, in the order of time."""

    steps: tuple[Step, ...]
    window: Window
    path: str = field(default="", compare=False)


@dataclass(frozen=True)
class Member:
    """Is in a segment kept by hand."""

    segment_id: int
    key: str
    path: str = field(default="", compare=False)
    name: str = field(default="", compare=False)  # what people call it


@dataclass(frozen=True)
class Within:
    """Is in another segment by its rule, which stands here in full, with its audience."""

    key: str
    audience: str
    rule: "Rule"
    path: str = field(default="", compare=False)
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class All:
    rules: "tuple[Rule, ...]"


@dataclass(frozen=True)
class Any:
    rules: "tuple[Rule, ...]"


@dataclass(frozen=True)
class Not:
    rule: "Rule"


Condition: TypeAlias = Field | Event | Sequence | Member | Within
Rule: TypeAlias = "All | Any | Not | Condition"


def conditions(rule: Rule) -> Iterator[Condition]:
    """The conditions of a rule in the order they stand; those of used segments are not opened."""
    match rule:
        case All(rules) | Any(rules):
            for inner in rules:
                yield from conditions(inner)
        case Not(inner):
            yield from conditions(inner)
        case _:
            yield rule


def levels(rule: Rule) -> int:
    """How deep groups stand in one another, those of used segments included."""
    match rule:
        case All(rules) | Any(rules):
            return 1 + max(map(levels, rules))
        case Not(inner) | Within(_, _, inner):
            return 1 + levels(inner)
    return 0


def facts(rule: Rule, audience: str = "everyone") -> set[str]:
    """The facts about a customer on which the rule depends; a trailing * stands for a prefix."""
    found = {"new"} if holds_for_blank(rule) and audience != "identified" else set()
    if audience != "everyone":
        found.add("field:@identified")
    for condition in conditions(rule):
        match condition:
            case Field(name):
                found |= {"field:" + name} if name not in ("@first_seen", "@last_seen") else _SEEN
            case Event(names):
                found |= {f"event:{name}" for name in names}
            case Sequence(steps):
                found |= {f"event:{name}" for step in steps for name in step.names}
            case Member(segment_id):
                found.add(f"segment:{segment_id}")
            case Within(_, inner_audience, inner):
                found |= facts(inner, inner_audience) - {"new"}
    return found


_SEEN = {"event:*", "field:@seen"}


def holds_for_blank(rule: Rule) -> bool:
    """Whether the rule holds for an anonymous customer of whom nothing else is known."""
    match rule:
        case All(rules):
            return all(map(holds_for_blank, rules))
        case Any(rules):
            return any(map(holds_for_blank, rules))
        case Not(inner):
            return not holds_for_blank(inner)
        case Field("@identified", test):
            return test.op == "exists" or (test.op == "is" and test.value is False)
        case Field(_, test):
            return test.op in NONE_IS_TRUE
        case Event():
            return _zero_passes(rule)
        case Within(_, audience, inner):
            return audience != "identified" and holds_for_blank(inner)
    return False


def needs_events(rule: Rule) -> bool:
    """Whether the rule holds for nobody without events of the names in it, at any instant.

    False where that cannot be seen at once.
    """
    match rule:
        case All(rules):
            return any(map(needs_events, rules))
        case Any(rules):
            return all(map(needs_events, rules))
        case Event():
            return not _zero_passes(rule)
        case Sequence():
            return True
        case Within(_, _, inner):
            return needs_events(inner)
    return False


def is_of_events(rule: Rule) -> bool:
    """Whether nothing but measures of events decides."""
    return all(isinstance(condition, Event) for condition in conditions(rule))


def _zero_passes(condition: Event) -> bool:
    """Whether no event at all satisfies the condition."""
    op, value = condition.test.op, condition.test.value
    if condition.measure not in ("count", "sum", "distinct"):
        return op == "missing"
    return _ZERO[op](value)


_ZERO: dict[str, Callable[[typing.Any], bool]] = {
    "exists": lambda _: True,
    "missing": lambda _: False,
    "is": lambda v: v == 0,
    "is_not": lambda v: v != 0,
    "at_least": lambda v: v <= 0,
    "at_most": lambda v: v >= 0,
    "more_than": lambda v: v < 0,
    "less_than": lambda v: v > 0,
    "between": lambda v: v[0] <= 0 <= v[1],
    "one_of": lambda v: 0 in v,
}

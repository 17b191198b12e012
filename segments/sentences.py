"""A rule as an English sentence, for people who click segments together."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from segments import rules

WHO = {
    "everyone": "Customers and visitors who",
    "identified": "Customers who",
    "anonymous": "Anonymous visitors who",
}
CALENDAR = {
    "today": "today",
    "this_week": "this week",
    "this_month": "this month",
    "this_year": "this year",
}
BUILT_INS = {"@first_seen": "first seen", "@last_seen": "last seen"}


def sentence(rule: rules.Rule, audience: str = "everyone") -> str:
    """The whole rule: “Customers who …”."""
    return f"{WHO[audience]} {clause(rule)}"


def clause(rule: rules.Rule, *, nested: bool = False) -> str:
    """What a rule says of the customers who …, beginning with a verb."""
    match rule:
        case rules.All(inner):
            return _group(inner, " and ", nested=nested)
        case rules.Any(inner):
            return _group(inner, " or ", nested=nested)
        case rules.Not(inner):
            return f"do not fulfil: {clause(inner, nested=True)}"
        case rules.Field():
            return _field(rule)
        case rules.Event():
            return _event(rule)
        case rules.Sequence(steps, window):
            done = ", then ".join(_step(step) for step in steps)
            return f"did {done}{_window(window)}"
        case rules.Member(_, key) | rules.Within(key):
            return f"are in the segment “{key}”"


def _group(inner: Sequence[rules.Rule], joint: str, *, nested: bool) -> str:
    text = joint.join(clause(one, nested=True) for one in inner)
    return f"({text})" if nested and len(inner) > 1 else text


def _field(rule: rules.Field) -> str:
    if rule.name == "@identified" and rule.test.op == "is":
        return "have a CustomerId" if rule.test.value else "have no CustomerId"
    if rule.name.startswith("@consent."):
        purpose = rule.name.removeprefix("@consent.")
        agreed = rule.test.op == "exists" or rule.test.value is True
        return f"{'consented' if agreed else 'did not consent'} to {purpose}"
    if rule.name in BUILT_INS:
        return f"were {BUILT_INS[rule.name]} {_test(rule.test)}".replace(" is ", " ")
    if rule.test.op in ("exists", "missing"):
        return f"have {'a' if rule.test.op == 'exists' else 'no'} “{rule.name}”"
    return f"have “{rule.name}” {_test(rule.test)}"


def _event(rule: rules.Event) -> str:
    events = " or ".join(f"“{name}”" for name in rule.names)
    end = _where(rule.where) + _window(rule.window)
    if rule.measure == "count":
        return f"{_count(rule.test, events)}{end}"
    thing = _thing(rule)
    if rule.test.op in ("exists", "missing"):
        return f"have {'a' if rule.test.op == 'exists' else 'no'} {thing} of {events}{end}"
    return f"have {_article(thing)} {thing} of {events} that {_test(rule.test)}{end}"


def _count(test: rules.Test, events: str) -> str:
    """Did it, did it not, or how many times."""
    match test.op, test.value:
        case ("at_least", Decimal() as n) | ("is_not", Decimal() as n) if n == (
            test.op == "at_least"
        ):
            return f"did {events}"
        case ("more_than", Decimal() as n) if n == 0:
            return f"did {events}"
        case ("at_most" | "is", Decimal() as n) if n == 0:
            return f"did not do {events}"
        case ("less_than", Decimal() as n) if n == 1:
            return f"did not do {events}"
    words = _test(test).removeprefix("is ")
    return f"did {events} {words} {'time' if test.value == 1 else 'times'}"


def _thing(rule: rules.Event) -> str:
    prop = rule.property or ""
    if prop == rules.TIME:
        return f"{rule.measure} time"
    name = "amount" if prop == rules.AMOUNT else f"“{prop}”"
    words = {
        "sum": f"total {name}",
        "average": f"average {name}",
        "min": f"smallest {name}",
        "max": f"largest {name}",
        "distinct": f"number of different {name}",
        "first": f"first {name}",
        "last": f"last {name}",
    }
    return words[rule.measure]


def _article(thing: str) -> str:
    return "an" if thing.startswith("average") else "a"


def _step(step: rules.Step) -> str:
    names = " or ".join(f"“{name}”" for name in step.names)
    gap = f" at most {_span(step.at_most_after)} later" if step.at_most_after else ""
    return f"{names}{_where(step.where)}{gap}"


def _where(where: Sequence[rules.Filter]) -> str:
    return " where " + " and ".join(map(_filter, where)) if where else ""


def _filter(one: rules.Filter) -> str:
    match one:
        case rules.ChannelFilter(channel):
            return f"the channel is {channel}"
        case rules.SourceFilter(source):
            return f"the source is {source}"
        case rules.PropertyFilter(prop, test):
            if test.op in ("exists", "missing"):
                return f"{prop} {'is set' if test.op == 'exists' else 'is not set'}"
            return f"{prop} {_test(test)}"


def _window(window: rules.Window) -> str:
    match window:
        case rules.Sliding(last, except_last) if except_last:
            return f" between {_span(last)} and {_span(except_last)} ago"
        case rules.Sliding(last):
            return f" in the last {_span(last)}"
        case rules.Period(calendar):
            return f" {CALENDAR[calendar]}"
        case rules.Fixed(start, end):
            since = f" from {_value(start)}" if start else ""
            return since + (f" until before {_value(end)}" if end else "")
    return ""


def _test(test: rules.Test) -> str:
    return WORDS[test.op](test.value)


def _one_of(values: Any) -> str:
    return " or ".join(map(_value, values))


WORDS: dict[str, Callable[[Any], str]] = {
    "exists": lambda _: "is set",
    "missing": lambda _: "is not set",
    "is": lambda v: f"is {_value(v)}",
    "is_not": lambda v: f"is not {_value(v)}",
    "one_of": lambda v: f"is {_one_of(v)}",
    "none_of": lambda v: f"is neither {' nor '.join(map(_value, v))}",
    "contains": lambda v: f"contains {_value(v)}",
    "not_contains": lambda v: f"does not contain {_value(v)}",
    "starts_with": lambda v: f"starts with {_value(v)}",
    "ends_with": lambda v: f"ends with {_value(v)}",
    "at_least": lambda v: f"is at least {_value(v)}",
    "at_most": lambda v: f"is at most {_value(v)}",
    "more_than": lambda v: f"is more than {_value(v)}",
    "less_than": lambda v: f"is less than {_value(v)}",
    "between": lambda v: f"is between {_value(v[0])} and {_value(v[1])}",
    "before": lambda v: f"is before {_value(v)}",
    "after": lambda v: f"is after {_value(v)}",
    "in_last": lambda v: f"is in the last {_span(v)}",
    "not_in_last": lambda v: f"is not in the last {_span(v)}",
    "in_next": lambda v: f"is in the next {_span(v)}",
    "anniversary_in_next": lambda v: f"has its anniversary in the next {_span(v)}",
}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:,f}".replace(",", "'")
    if isinstance(value, datetime):
        at_midnight = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return f"{value:%d.%m.%Y}" if at_midnight else f"{value:%d.%m.%Y %H:%M %Z}".strip()
    return f"“{value}”"


def _span(span: timedelta | None) -> str:
    """A length of time in its largest whole unit."""
    minutes = int((span or timedelta(0)).total_seconds()) // 60
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes % size == 0:
            number = minutes // size
            return f"{number} {unit}" if number == 1 else f"{number:,} {unit}s".replace(",", "'")
    return ""

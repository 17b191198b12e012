"""A rule as an English sentence, for people who click segments together."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings

from segments import rules

WHO = {
    "everyone": "Customers and visitors",
    "identified": "Customers",
    "anonymous": "Anonymous visitors",
}
CALENDAR = {
    "today": "today",
    "this_week": "this week",
    "this_month": "this month",
    "this_year": "this year",
}
BUILT_INS = {"@first_seen": "first visit", "@last_seen": "last visit"}


class Saying(NamedTuple):
    """What is said of customers: of themselves (“did …”), or of something they have (“is …”)."""

    predicate: str
    noun: str = ""

    def relative(self) -> str:
        """As it follows “customers …”."""
        return f"whose {self.noun} {self.predicate}" if self.noun else f"who {self.predicate}"

    def statement(self) -> str:
        return f"their {self.noun} {self.predicate}" if self.noun else f"they {self.predicate}"


def sentence(rule: rules.Rule, audience: str = "everyone") -> str:
    """The whole rule: “Customers who …”."""
    return f"{WHO[audience]} {_relative(rule)}"


def clause(rule: rules.Rule) -> str:
    """A rule as a statement about certain customers: “they …” or “their … is …”."""
    if saying := _saying(rule):
        return saying.statement()
    if isinstance(rule, rules.Not):
        return f"they are not among those {_relative(rule.rule)}"
    return f"they are among those {_relative(rule)}"


def _relative(rule: rules.Rule, *, nested: bool = False) -> str:
    """A rule as what follows “customers …”; parentheses around a group that stands in another."""
    if saying := _saying(rule):
        return saying.relative()
    match rule:
        case rules.All([first, *others]):
            text = _relative(first, nested=True) + "".join(map(_also, others))
            return f"({text})" if nested and others else text
        case rules.Any(inner):
            text = " or ".join(_relative(one, nested=True) for one in inner)
            return f"({text})" if nested and len(inner) > 1 else text
        case rules.Not(inner):
            return f"who are not among those {_relative(inner, nested=True)}"
    return ""


def _also(rule: rules.Rule) -> str:
    """One more thing that must be true."""
    if isinstance(rule, rules.Not) and not _saying(rule):
        return f", except those {_relative(rule.rule, nested=True)}"
    return f" and {_relative(rule, nested=True)}"


def _saying(rule: rules.Rule) -> Saying | None:
    """What a condition says, or the opposite of one; None for what is not said so simply."""
    match rule:
        case rules.Field():
            return _field(rule)
        case rules.Event():
            return _event(rule)
        case rules.Sequence(steps, window):
            done = ", then ".join(_step(step) for step in steps)
            return Saying(f"did {done}{_window(window)}")
        case rules.Member() | rules.Within():
            return Saying(f"are in the segment “{rule.name or rule.key}”")
        case rules.Not(rules.Member() | rules.Within() as used):
            return Saying(f"are not in the segment “{used.name or used.key}”")
        case rules.Not(rules.Event() as event) if _count_word(event) == "did":
            return Saying(_did(event).replace("did ", "did not do ", 1))
    return None


def _field(rule: rules.Field) -> Saying:
    op, test = rule.test.op, _test(rule.test)
    if rule.name == "@identified":
        has = op == "exists" or (op == "is" and rule.test.value is True)
        return Saying("have a CustomerId" if has else "have no CustomerId")
    if rule.name.startswith("@consent."):
        purpose = rule.name.removeprefix("@consent.")
        if op in ("exists", "missing"):
            return Saying(f"{'once' if op == 'exists' else 'never'} decided about {purpose}")
        return Saying(f"{'agree' if rule.test.value is True else 'do not agree'} to {purpose}")
    if op in ("exists", "missing"):
        noun = BUILT_INS.get(rule.name, f"“{rule.name}”")
        return Saying("is known" if op == "exists" else "is not known", noun)
    return Saying(test, BUILT_INS.get(rule.name, f"“{rule.name}”"))


def _event(rule: rules.Event) -> Saying:
    if rule.measure == "count":
        return Saying(_did(rule))
    words = _test(rule.test, _currency(rule))
    if rule.property == rules.TIME and rule.measure != "distinct":
        words = words.replace("is ", "was ", 1)
    return Saying(words, _thing(rule))


def _did(rule: rules.Event) -> str:
    """Did it, did it not, or how many times."""
    done = _names(rule.names)
    end = _where(rule.where) + _window(rule.window)
    if word := _count_word(rule):
        return f"{word} {done}{end}"
    words = _test(rule.test).removeprefix("is ")
    return f"did {done} {words} {'time' if rule.test.value == 1 else 'times'}{end}"


def _count_word(rule: rules.Event) -> str:
    """The word for an event that is only asked to have been or not."""
    if rule.measure != "count" or not isinstance(rule.test.value, Decimal):
        return ""
    return COUNT_WORDS.get((rule.test.op, rule.test.value), "")


COUNT_WORDS: dict[tuple[str, Decimal | int], str] = {
    ("at_least", 1): "did",
    ("more_than", 0): "did",
    ("is_not", 0): "did",
    ("at_most", 0): "did not do",
    ("is", 0): "did not do",
    ("less_than", 1): "did not do",
}


def _thing(rule: rules.Event) -> str:
    """What is measured, of which events."""
    end = f"{_names(rule.names)}{_where(_spoken(rule))}{_window(rule.window)}"
    if rule.property == rules.TIME:
        words = "number of different times of" if rule.measure == "distinct" else rule.measure
        return f"{words} {end}"
    name = "amount" if rule.property == rules.AMOUNT else f"“{rule.property}”"
    return f"{THINGS[rule.measure]} {name} of {end}"


THINGS = {
    "sum": "total",
    "average": "average",
    "min": "smallest",
    "max": "largest",
    "distinct": "number of different",
    "first": "first",
    "last": "last",
}


def _currency(rule: rules.Event) -> str:
    """The currency that an amount is measured in, as far as the rule decides that."""
    if rule.property != rules.AMOUNT or rule.measure == "distinct":
        return ""
    for one in rule.where:
        if isinstance(one, rules.PropertyFilter) and one.property == rules.CURRENCY:
            return str(one.test.value).upper() if one.test.op == "is" else ""
    return str(settings.CURRENCY) if rule.measure in ("sum", "average") else ""


def _spoken(rule: rules.Event) -> Sequence[rules.Filter]:
    """The filters, without a currency that stands at the amount."""
    if not _currency(rule):
        return rule.where
    return [
        one
        for one in rule.where
        if not (isinstance(one, rules.PropertyFilter) and one.property == rules.CURRENCY)
    ]


def _names(names: Sequence[str]) -> str:
    return " or ".join(f"“{name}”" for name in names)


def _step(step: rules.Step) -> str:
    gap = f" at most {_span(step.at_most_after)} later" if step.at_most_after else ""
    return f"{_names(step.names)}{_where(step.where)}{gap}"


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
            return f" in the last {_one(last)}"
        case rules.Period(calendar):
            return f" {CALENDAR[calendar]}"
        case rules.Fixed(start, end):
            since = f" from {_value(start)}" if start else ""
            return since + (f" until before {_value(end)}" if end else "")
    return ""


def _test(test: rules.Test, currency: str = "") -> str:
    """The comparison: “is at least 5”. A `currency` stands before each amount."""
    if not currency or test.value is None:
        return WORDS[test.op](test.value)
    if isinstance(test.value, tuple):
        return WORDS[test.op]([_Money(currency, each) for each in test.value])
    return WORDS[test.op](_Money(currency, test.value))


class _Money(NamedTuple):
    currency: str
    amount: Any


def _one_of(values: Any) -> str:
    return " or ".join(map(_value, values))


WORDS: dict[str, Callable[[Any], str]] = {
    "exists": lambda _: "is known",
    "missing": lambda _: "is not known",
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
    "in_last": lambda v: f"is in the last {_one(v)}",
    "not_in_last": lambda v: f"is not in the last {_one(v)}",
    "in_next": lambda v: f"is in the next {_one(v)}",
    "anniversary_in_next": lambda v: f"has its anniversary in the next {_one(v)}",
}


def _value(value: Any) -> str:
    if isinstance(value, _Money):
        return f"{value.currency} {_value(value.amount)}"
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


def _one(span: timedelta) -> str:
    """As it follows “in the last”: day, not 1 day."""
    return _span(span).removeprefix("1 ")

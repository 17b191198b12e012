"""Which customers a list shows: conditions on single fields, for rows and as a segment's rule.

One grammar serves the addresses of the admin and of the API: `field.NAME=VALUE` (is; an empty
value means that there is none) and `field.NAME[OP]=VALUE`. What it finds is what the rule finds.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.fields.array import ArrayContains  # type: ignore[attr-defined]
from django.db.models import Case, F, Func, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Collate, Lower
from django.db.models.lookups import (
    Contains,
    EndsWith,
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    In,
    IsNull,
    LessThan,
    LessThanOrEqual,
    StartsWith,
)

from customers import fields, spelling
from customers.exact import NumericField
from customers.models import Customer, CustomerField, FieldType

Expression: TypeAlias = Any  # of Django's; it has no name for them

PREFIX: Final = "field."
MAX_DAYS: Final = 3_650
MAX_LISTED: Final = 200  # values of one_of
PART: Final = 3  # characters of the parts by which texts are found
PARTS_OPS: Final = ("contains", "ends_with")
BUILT_INS: Final = {
    name: CustomerField(name=name, type=FieldType.DATETIME, label=label)
    for name, label in (("@first_seen", "First seen"), ("@last_seen", "Last seen"))
}
COLUMNS: Final = {"@first_seen": "first_seen_at", "@last_seen": "last_seen_at"}
_EITHER = ("exists", "missing")
OPS: Final[Mapping[str, tuple[str, ...]]] = {
    FieldType.STRING: (
        *("is", "is_not", "one_of", "none_of", "contains", "not_contains"),
        *("starts_with", "ends_with", *_EITHER),
    ),
    FieldType.NUMBER: (
        *("is", "is_not", "one_of", "at_least", "at_most", "more_than", "less_than", *_EITHER),
    ),
    FieldType.DATETIME: ("from", "to", "before", "after", "in_last", "not_in_last", *_EITHER),
    FieldType.BOOLEAN: ("is", *_EITHER),
}
_ALL_OPS = {op for ops in OPS.values() for op in ops}
_PARAMETER = re.compile(r"field\.(?P<name>.+?)(?:\[(?P<op>[a-z_]+)\])?", re.DOTALL)
_NEGATED = {"is_not": "is", "none_of": "one_of", "not_contains": "contains"}


class Filter(NamedTuple):
    """One condition. `value` is typed: a tuple for one_of, an instant or days for datetimes."""

    field: CustomerField
    op: str
    value: Any
    parameter: str  # as it stands in the address


class FilterError(ValueError):
    """A parameter that cannot be read; the message is for people."""

    def __init__(self, parameter: str, code: str, message: str) -> None:
        super().__init__(message)
        self.parameter, self.code = parameter, code


# Reading


def read(
    given: Iterable[tuple[str, Any]], known: Mapping[str, CustomerField]
) -> tuple[list[Filter], list[FilterError]]:
    """Return the filters among the parameters of an address, and what is wrong with others."""
    found, problems = [], []
    for parameter, raw in given:
        if parameter.startswith(PREFIX):
            try:
                found.append(_read(parameter, str(raw), known))
            except FilterError as error:
                problems.append(error)
    return found, problems


def _read(parameter: str, raw: str, known: Mapping[str, CustomerField]) -> Filter:
    name, op = _split(parameter, known)
    field = known.get(name) or BUILT_INS.get(name)
    if field is None:
        text = f"There is no customer field called “{name[:60]}”." + spelling.suggestion(
            name, known
        )
        raise FilterError(parameter, "unknown_field", text)
    if op is None:
        op = "is" if raw.strip() else "missing"
        raw = raw if op == "is" else "true"
        if op == "is" and field.type == FieldType.DATETIME:
            op = "at"
    elif op not in OPS[field.type]:
        text = f"A {field.get_type_display()} can be compared by {', '.join(OPS[field.type])}."
        raise FilterError(parameter, "unknown_op", text)
    try:
        return _typed(field, op, raw, parameter)
    except fields.FieldValueError as error:
        raise FilterError(parameter, error.code, str(error)) from error


def _split(parameter: str, known: Mapping[str, CustomerField]) -> tuple[str, str | None]:
    """Tell the name from the operator; a name may itself end in brackets."""
    whole = parameter.removeprefix(PREFIX)
    match = _PARAMETER.fullmatch(parameter)
    if whole in known or match is None or match["op"] not in _ALL_OPS:
        return whole, None
    return match["name"], match["op"]


def _typed(field: CustomerField, op: str, raw: str, parameter: str) -> Filter:
    if op in _EITHER:
        is_true = fields.parse_value(CustomerField(type=FieldType.BOOLEAN), raw)
        op = op if is_true is not False else _EITHER[op == "exists"]
        return Filter(field, op, None, parameter)
    if op in ("in_last", "not_in_last"):
        return Filter(field, op, _days(raw), parameter)
    if op in ("one_of", "none_of"):
        parts = (fields.parse_value(field, part) for part in raw.split(","))
        values = tuple(value for value in parts if value is not None)
        if not values or len(values) > MAX_LISTED:
            raise fields.FieldValueError("invalid", f"List 1 to {MAX_LISTED} values, by commas.")
        return Filter(field, op, values, parameter)
    value = fields.parse_value(field, raw)
    if value is None:
        raise fields.FieldValueError("required", "A value to compare with is missing.")
    if field.type == FieldType.DATETIME:
        return Filter(
            field, op, _instant(str(value), ends_day=op == "to" and _is_day(raw)), parameter
        )
    return Filter(field, op, value, parameter)


def _days(raw: str) -> int:
    text = raw.strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_DAYS):
        message = f"Write a whole number of days from 1 to {MAX_DAYS:,}."
        raise fields.FieldValueError("invalid", message)
    return int(text)


def _is_day(raw: str) -> bool:
    return len(raw.strip()) == len("2026-01-31")


def _instant(iso: str, *, ends_day: bool) -> datetime:
    """The instant of a value as fields store it; `ends_day`: the last one of the day it begins."""
    instant = datetime.fromisoformat(iso)
    return instant + timedelta(days=1) - timedelta(microseconds=1) if ends_day else instant


# As conditions on rows


def apply(found: "QuerySet[Customer]", wanted: Iterable[Filter], now: datetime) -> Any:
    """Keep the customers that pass every filter at this instant."""
    for one in wanted:
        found = found.filter(_condition(one, now))
    return found


def has_parts(one: Filter) -> bool:
    """Say whether the index of the parts of texts can tell who may pass a filter."""
    if one.op not in PARTS_OPS or not one.field.finds_parts or one.field.indexed_at is None:
        return False
    return len(one.value) >= PART


def narrow(found: "QuerySet[Customer]", one: Filter) -> Any:
    """Keep only those customers whose texts have all the parts of what is looked for."""
    texts = ArrayField(TextField())
    parts = parts_of(one.field)
    has_all = ArrayContains(parts, Value(_parts(stored(one.field, one.value)), texts))
    is_long = ArrayContains(parts, Value([""], texts))
    return found.filter(Q(has_all) | Q(is_long))


def parts_of(field: CustomerField) -> Func:
    """All parts of the text of a field; a text too long for that has the part "" as well."""
    return Func(value_of(field), function="customers_parts", output_field=ArrayField(TextField()))


def _parts(text: str) -> list[str]:
    return sorted({text[at : at + PART] for at in range(len(text) - PART + 1)})


def value_of(field: CustomerField) -> Expression:
    """The expression for a field's value that filters, sorting and indexes share."""
    if field.name in COLUMNS:
        return F(COLUMNS[field.name])
    if field.type == FieldType.NUMBER:
        json = _member(field.name, "->")
        is_number = Exact(
            Func(json, function="jsonb_typeof", output_field=TextField()), Value("number")
        )
        return Case(When(is_number, then=Cast(json, NumericField())))
    text = _member(field.name, "->>")
    if field.type == FieldType.STRING:
        return Lower(text)
    if field.type == FieldType.DATETIME:  # without its Z, the text of an earlier one is smaller
        bare = Func(text, Value("Z"), function="rtrim", output_field=TextField())
        return Collate(bare, "C")
    return text


def _member(name: str, operator: str) -> Func:
    return Func(
        F("fields"),
        Value(name),
        template="(%(expressions)s)",
        arg_joiner=f" {operator} ",
        output_field=TextField(),
    )


def stored(field: CustomerField, value: Any) -> Any:
    """Write a typed value as the expression of `value_of` gives it: texts without their case."""
    if field.name in COLUMNS:
        return value
    if isinstance(value, datetime):
        iso = value.astimezone(UTC).replace(tzinfo=None).isoformat()
        return iso.rstrip("0") if value.microsecond else iso
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.lower() if isinstance(value, str) else value


def _condition(one: Filter, now: datetime) -> Q:
    value = value_of(one.field)
    if one.op in _EITHER:
        return Q(IsNull(value, one.op == "missing"))
    if one.op in _NEGATED:
        return Q(IsNull(value, True)) | ~Q(_compares(one._replace(op=_NEGATED[one.op]), value))
    if one.op in ("in_last", "not_in_last"):
        since, until = (stored(one.field, at) for at in (now - timedelta(days=one.value), now))
        if one.op == "in_last":
            return Q(GreaterThan(value, since)) & Q(LessThanOrEqual(value, until))
        outside = Q(LessThanOrEqual(value, since)) | Q(GreaterThan(value, until))
        return Q(IsNull(value, True)) | outside
    return Q(_compares(one, value))


def _compares(one: Filter, value: Expression) -> Expression:
    lookup = _LOOKUPS[one.op]
    if one.op == "one_of":
        return lookup(value, [stored(one.field, each) for each in one.value])
    return lookup(value, stored(one.field, one.value))


_LOOKUPS: Mapping[str, Any] = {
    "is": Exact,
    "at": Exact,
    "one_of": In,
    "contains": Contains,
    "starts_with": StartsWith,
    "ends_with": EndsWith,
    "at_least": GreaterThanOrEqual,
    "at_most": LessThanOrEqual,
    "more_than": GreaterThan,
    "less_than": LessThan,
    "from": GreaterThanOrEqual,
    "to": LessThanOrEqual,
    "before": LessThan,
    "after": GreaterThan,
}


# As a rule


def rules(wanted: Sequence[Filter]) -> list[dict[str, Any]]:
    """Return rules, all of which hold for whom the filters find."""
    return [rule for one in wanted for rule in _rules(one)]


def _rules(one: Filter) -> Iterator[dict[str, Any]]:
    field = {"field": one.field.name}
    if one.op in _EITHER:
        yield {**field, "op": one.op}
    elif one.op in ("in_last", "not_in_last"):
        yield {**field, "op": one.op, "value": {"last": one.value, "unit": "days"}}
    elif one.op in ("at", "from", "to"):
        iso = one.value.isoformat()
        if one.op != "to":
            yield {**field, "op": "exists"}
            yield {"not": {**field, "op": "before", "value": iso}}
        if one.op != "from":
            later = one.value + timedelta(microseconds=1)
            yield {**field, "op": "before", "value": later.isoformat()}
    else:
        value = [*one.value] if isinstance(one.value, tuple) else one.value
        yield {**field, "op": one.op, "value": _plain(value)}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


# In words

_WORDS: Mapping[str, str] = {
    "is": "is",
    "is_not": "is not",
    "one_of": "is one of",
    "none_of": "is none of",
    "contains": "contains",
    "not_contains": "does not contain",
    "starts_with": "begins with",
    "ends_with": "ends with",
    "at_least": "is at least",
    "at_most": "is at most",
    "more_than": "is more than",
    "less_than": "is less than",
    "at": "is",
    "from": "from",
    "to": "until",
    "before": "before",
    "after": "after",
}


def sentence(one: Filter, show: Any) -> str:
    """Say a filter in a few words; `show(field, value)` writes a value for people."""
    name = str(one.field)
    if one.op in _EITHER:
        return f"{name} {'has a value' if one.op == 'exists' else 'has no value'}"
    if one.op in ("in_last", "not_in_last"):
        days = f"the last {one.value} days" if one.value != 1 else "the last day"
        return f"{name} {'not ' if one.op == 'not_in_last' else ''}in {days}"
    if isinstance(one.value, tuple):
        text = ", ".join(_said(one.field, each, show) for each in one.value)
    else:
        text = _said(one.field, one.value, show)
    return f"{name} {_WORDS[one.op]} {text}"


def _said(field: CustomerField, value: Any, show: Any) -> str:
    if isinstance(value, datetime):
        return str(show(field, stored_text(value)))
    text = str(show(field, value))
    return f"“{text}”" if isinstance(value, str) else text


def stored_text(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def value_for_page(value: Any) -> str:
    """Write a typed value so that it can be read back from an address."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)

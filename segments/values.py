"""The values that rules compare, as SQL: reading them, testing them, and when a test turns."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from customers.fields import SPACES
from segments import rules
from segments.compiled import Compiled
from segments.instants import NOW, after, before

# Longer numbers are no measurements; the limit also keeps casts from overflowing.
# Not \d, which in some locales is any digit of Unicode.
NUMBER = "^-?[0-9]{1,255}([.][0-9]{1,255})?$"
_TWO = "[0-9]{2}"
WITH_OFFSET = f"(Z|[+-]{_TWO}(:?{_TWO})?)$"
INSTANT = (
    f"^[0-9]{{4}}-{_TWO}-{_TWO}"
    f"([T ]{_TWO}:{_TWO}(:{_TWO}([.][0-9]{{1,9}})?)?[ ]?(Z|[+-]{_TWO}(:?{_TWO})?)?)?$"
)
SIGNS = {
    "is": "=",
    "at_least": ">=",
    "at_most": "<=",
    "more_than": ">",
    "less_than": "<",
    "before": "<",
    "after": ">",
}


class Values:
    """Writes SQL for values and their tests; what it binds becomes parameters of `out`."""

    def __init__(self, out: Compiled, zone: ZoneInfo) -> None:
        self.out = out
        self.zone = zone

    def passes(self, value: str, test: rules.Test, *, none_counts: bool) -> str:
        """A test of a value, as SQL that is never null.

        `none_counts`: a missing value passes is_not and its like (fields and properties do, a
        measure over nothing does not).
        """
        op = test.op
        if op in ("exists", "missing"):
            return f"({value} IS {'NOT ' if op == 'exists' else ''}NULL)"
        negated = {"is_not": "is", "none_of": "one_of", "not_contains": "contains"} | {
            "not_in_last": "in_last"
        }
        if op in negated:
            positive = self._compares(value, rules.Test(negated[op], test.type, test.value))
            return f"({positive}) IS NOT TRUE" if none_counts else f"({positive}) IS FALSE"
        return f"({self._compares(value, test)}) IS TRUE"

    def _compares(self, value: str, test: rules.Test) -> str:
        match test.type:
            case "string":
                return self._text_test(value, test)
            case "datetime" if isinstance(test.value, timedelta):
                return self._span_test(value, test.op, test.value)
        cast = {"number": "numeric", "datetime": "timestamptz", "boolean": "boolean"}[test.type]
        if test.op == "between":
            low, high = (f"{self.out.bind(end)}::{cast}" for end in test.value)  # type: ignore
            return f"{value} BETWEEN {low} AND {high}"
        if test.op == "one_of":
            return f"{value} = ANY({self.out.bind(list(test.value))}::{cast}[])"  # type: ignore
        sign = SIGNS[test.op]
        return f"{value} {sign} {self.out.bind(test.value)}::{cast}"

    def _text_test(self, value: str, test: rules.Test) -> str:
        value = f"lower({value})"
        if test.op == "one_of":
            wanted = ", ".join(f"lower({self.out.bind(v)})" for v in test.value)  # type: ignore
            return f"{value} IN ({wanted})"
        wanted = f"lower({self.out.bind(test.value)})"
        match test.op:
            case "contains":
                return f"position({wanted} IN {value}) > 0"
            case "starts_with":
                return f"starts_with({value}, {wanted})"
            case "ends_with":
                return f"right({value}, length({wanted})) = {wanted}"
        return f"{value} = {wanted}"

    def _span_test(self, value: str, op: str, span: timedelta) -> str:
        if op == "in_last":
            return f"{value} > {before(NOW, span)} AND {value} <= {NOW}"
        if op == "anniversary_in_next":
            value = self._anniversary(value)
        return f"{value} > {NOW} AND {value} <= {after(NOW, span)}"

    def property(self, prop: str, kind: str) -> str:
        """A property of event e as a value of the wanted type; null where it does not fit."""
        if prop == rules.AMOUNT and kind == "number":
            return "e.amount"
        if prop == rules.TIME:
            return "e.occurred_at"
        if prop == rules.CURRENCY:
            return "e.currency"
        text = f"(e.properties #>> {self.out.bind(prop.split('.'))}::text[])"
        match kind:
            case "number":
                return f"(CASE WHEN {text} ~ {self.out.bind(NUMBER)} THEN {text}::numeric END)"
            case "datetime":
                return self._instant(text)
            case "boolean":
                return f"(CASE {text} WHEN 'true' THEN true WHEN 'false' THEN false END)"
        return f"btrim(normalize({text}), {self.out.bind(SPACES)})"

    def _instant(self, text: str) -> str:
        """A text as an instant: ISO 8601 only; without an offset in the workspace's time zone."""
        zone = self.out.bind(str(self.zone))
        return (
            f"(CASE WHEN {text} ~ {self.out.bind(INSTANT)}"
            f" AND pg_input_is_valid({text}, 'timestamptz')"
            f" THEN CASE WHEN {text} ~ {self.out.bind(WITH_OFFSET)} AND length({text}) > 10"
            f" THEN {text}::timestamptz"
            f" ELSE {text}::timestamp AT TIME ZONE {zone} END END)"
        )

    def distinct(self, prop: str) -> str:
        """What makes values distinct: numbers by value, texts without regard to case."""
        if prop in (rules.AMOUNT, rules.TIME):
            return self.property(prop, "number")
        number, text = self.property(prop, "number"), self.property(prop, "string")
        return f"COALESCE(trim_scale({number})::text, lower({text}))"

    def boundaries(self, value: str, test: rules.Test) -> list[str]:
        """The instants at which a test of this datetime turns by itself."""
        if test.type != "datetime" or not isinstance(test.value, timedelta):
            return []
        if test.op in ("in_last", "not_in_last"):
            return [value, after(value, test.value)]
        if test.op == "in_next":
            return [before(value, test.value), value]
        coming = self._anniversary(value)
        return [before(coming, test.value), coming]

    def _anniversary(self, value: str) -> str:
        """The first anniversary of the instant after now, on the workspace's calendar."""
        zone = self.out.bind(str(self.zone))
        local = f"({value} AT TIME ZONE {zone})"
        years = f"(extract(year FROM {NOW} AT TIME ZONE {zone}) - extract(year FROM {local}))::int"
        this, following = (
            f"(({local} + make_interval(years => {years} + {more})) AT TIME ZONE {zone})"
            for more in (0, 1)
        )
        return f"(CASE WHEN {this} > {NOW} THEN {this} ELSE {following} END)"


def of_field(text: str, json: str, kind: str) -> str:
    """A customer field as a value of its type; null where what is stored does not fit."""
    match kind:
        case "number":
            return f"(CASE WHEN jsonb_typeof({json}) = 'number' THEN {text}::numeric END)"
        case "datetime":
            valid = f"pg_input_is_valid({text}, 'timestamptz')"
            return f"(CASE WHEN {valid} THEN {text}::timestamptz END)"
        case "boolean":
            return f"(CASE jsonb_typeof({json}) WHEN 'boolean' THEN {text}::boolean END)"
    return text

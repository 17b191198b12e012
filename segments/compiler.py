"""A rule as SQL: for every customer, a batch, one customer, or as of another instant.

Each distinct condition becomes one aggregate over the customer's events, and one more for the next
instant at which time alone could change it; all conditions of all segments share one pass over the
events. The text is the same for every use: only the scope (whose events) and `now` differ, and both
are parameters. Instants enter the text as %(now)s plus or minus whole seconds, since a day is 24
hours whatever the clocks on the wall do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from customers import consent
from customers.fields import SPACES
from segments import rules

EVERYBODY = "true"  # as a scope
NEVER = "'infinity'::timestamptz"
NOW = "%(now)s::timestamptz"
# Longer numbers are no measurements; the limit also keeps casts from overflowing.
# Not \d, which in some locales is any digit of Unicode.
NUMBER = "^-?[0-9]{1,255}([.][0-9]{1,255})?$"
_TWO = "[0-9]{2}"
WITH_OFFSET = f"(Z|[+-]{_TWO}(:?{_TWO})?)$"
INSTANT = (
    f"^[0-9]{{4}}-{_TWO}-{_TWO}"
    f"([T ]{_TWO}:{_TWO}(:{_TWO}([.][0-9]{{1,9}})?)?[ ]?(Z|[+-]{_TWO}(:?{_TWO})?)?)?$"
)
ONCE_OR_NEVER = {("at_least", 1), ("more_than", 0), ("at_most", 0), ("less_than", 1), ("is", 0)}
BUILT_INS = {
    "@first_seen": "customer.first_seen_at",
    "@last_seen": "customer.last_seen_at",
    "@identified": "(customer.external_id IS NOT NULL)",
}
BUILT_INS_AS_OF = BUILT_INS | {
    "@first_seen": f"(CASE WHEN customer.first_seen_at <= {NOW} THEN customer.first_seen_at END)",
    "@last_seen": (
        f"(CASE WHEN customer.last_seen_at <= {NOW} THEN customer.last_seen_at ELSE ("
        "SELECT max(e.occurred_at) FROM events_event e"
        f" WHERE e.customer_id = customer.id AND e.occurred_at <= {NOW}) END)"
    ),
}


@dataclass(frozen=True)
class Names:
    """The ids behind the names in rules, as they are now."""

    event_ids: Mapping[str, int]
    source_ids: Mapping[str, int]
    channel_of: Mapping[int, str]
    zone: ZoneInfo
    currency: str

    def events_called(self, names: Collection[str]) -> list[int]:
        """Ids of the event names; a name ending in * stands for all that begin so."""
        prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
        return sorted(
            number
            for name, number in self.event_ids.items()
            if name in names or (prefixes and name.startswith(prefixes))
        )


@dataclass
class Compiled:
    """SQL texts over the customers `c` of the FROM clause that `source` writes.

    Each distinct text is computed once for each customer, as a column of c; rules combine columns.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    aggregates: dict[str, str] = field(default_factory=dict)  # SQL over e -> column of a
    columns: dict[str, str] = field(default_factory=dict)  # SQL over a and customer -> column of c
    sequences: dict[str, str] = field(default_factory=dict)  # SQL -> alias
    event_ids: set[int] = field(default_factory=set)
    earliest: set[timedelta | None] = field(default_factory=set)
    _bound: dict[Any, str] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """The placeholder of a value; equal values share one."""
        key = (type(value), tuple(value) if isinstance(value, list) else value)
        name = self._bound.setdefault(key, f"p{len(self._bound)}")
        self.parameters[name] = value
        return f"%({name})s"

    def aggregate(self, text: str) -> str:
        """This aggregate of the customer's events, for use in a column."""
        return "a." + self.aggregates.setdefault(text, f"a{len(self.aggregates)}")

    def column(self, text: str) -> str:
        """The column of c that holds this text."""
        return "c." + self.columns.setdefault(text, f"x{len(self.columns)}")

    def source(self, scope: str) -> str:
        """The FROM clause: customers `c` in scope who were not merged, with their columns.

        `scope` is a condition with {id} for the customer's id, such as "{id} = ANY(%(ids)s)".
        """
        joins = ["customers_customer customer"]
        if self.aggregates:
            joins.append(f"LEFT JOIN ({self._events(scope)}) a ON a.customer_id = customer.id")
        for text, alias in self.sequences.items():
            body = text.replace("{scope}", scope.format(id="e.customer_id"))
            joins.append(f"LEFT JOIN ({body}) {alias} ON {alias}.customer_id = customer.id")
        joined = "\n".join(joins)
        where = f"customer.merged_into_id IS NULL AND {scope.format(id='customer.id')}"
        return f"(SELECT customer.id{self._columns()}\nFROM {joined}\nWHERE {where} OFFSET 0) c"

    def source_of_active(self) -> str:
        """The FROM clause for those who have events of the names in question, and them only.

        It reads no customers, so no column may; merged customers have no events.
        """
        return (
            f"(SELECT a.customer_id AS id{self._columns()}\nFROM ({self._events(EVERYBODY)}) a) c"
        )

    def _columns(self) -> str:
        return "".join(f",\n{text} AS {name}" for text, name in self.columns.items())

    def _events(self, scope: str) -> str:
        columns = ",\n".join(f"{text} AS {name}" for text, name in self.aggregates.items())
        return (
            f"SELECT e.customer_id, {columns}\nFROM events_event e\n"
            f"WHERE {self._events_in(scope)}\nGROUP BY e.customer_id"
        )

    def _events_in(self, scope: str) -> str:
        """Which events are read at all: by name, customer, and the longest window."""
        ids = self.bind(sorted(self.event_ids))
        wanted = [f"e.name_id = ANY({ids}::int[])", scope.format(id="e.customer_id")]
        if self.earliest and None not in self.earliest:
            oldest = max(span for span in self.earliest if span is not None)
            recent = f"e.occurred_at > {_before(NOW, oldest)}"
            # Of few customers it must be no condition of an index: the one by time alone reads
            # a stretch of everybody's events for each of theirs.
            wanted.append(recent if scope == EVERYBODY else f"({recent}) IS TRUE")
        return " AND ".join(wanted)


@dataclass(frozen=True)
class Truth:
    """A rule as SQL over c: whether it `holds` (never null), and when that may change.

    `next` is never null either: infinity when time alone cannot change it. `value` is what a
    condition compares, as SQL beneath c.
    """

    holds: str
    next: str
    value: str = "NULL"


def clock(now: datetime, zone: ZoneInfo) -> dict[str, datetime]:
    """The parameters that every compiled text takes from the clock."""
    local = now.astimezone(zone).replace(fold=0)  # a day begins when its first hour does
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    week = day - timedelta(days=day.weekday())
    month, year = day.replace(day=1), day.replace(month=1, day=1)
    return {
        "now": now,
        "today": day,
        "today_end": day + timedelta(days=1),
        "this_week": week,
        "this_week_end": week + timedelta(days=7),
        "this_month": month,
        "this_month_end": (month + timedelta(days=32)).replace(day=1),
        "this_year": year,
        "this_year_end": year.replace(year=year.year + 1),
    }


class Compiler:
    """Compiles rules into one `Compiled`; ask `truth` for each, then `out.source` for the FROM.

    With `watch` it also finds when time alone may change a condition, without it never. For an
    instant that is not the present, `as_of` takes from history what the present has no memory of.
    """

    def __init__(self, names: Names, *, watch: bool = True, as_of: bool = False) -> None:
        self.names = names
        self.watch = watch
        self.as_of = as_of
        self.out = Compiled()
        self._truths: dict[rules.Condition, Truth] = {}

    def segment(self, rule: rules.Rule, audience: str) -> Truth:
        """The rule together with its audience."""
        truth = self.truth(rule)
        if audience == "everyone":
            return truth
        known = "IS NULL" if audience == "anonymous" else "IS NOT NULL"
        belongs = self.out.column(f"customer.external_id {known}")
        return _all([Truth(belongs, NEVER), truth])

    def truth(self, rule: rules.Rule) -> Truth:
        match rule:
            case rules.All(inner):
                return _all([self.truth(one) for one in inner])
            case rules.Any(inner):
                return _any([self.truth(one) for one in inner])
            case rules.Not(inner):
                truth = self.truth(inner)
                return Truth(f"(NOT {truth.holds})", truth.next)
            case rules.Within(_, audience, inner):
                return self.segment(inner, audience)
        if rule not in self._truths:
            self._truths[rule] = self._condition(rule)
        return self._truths[rule]

    def value(self, rule: rules.Condition) -> str:
        """The column with what a condition compares, as JSON; null where there is nothing to show.

        Only after `truth` of the same condition.
        """
        value = "NULL" if isinstance(rule, rules.Within) else self._truths[rule].value
        return self.out.column("NULL::jsonb" if value == "NULL" else f"to_jsonb({value})")

    def _condition(self, rule: rules.Condition) -> Truth:
        """The condition in columns of its own."""
        truth = self._uncached(rule)
        following = truth.next
        if following != NEVER:
            following = self.out.column(following)
        return Truth(self.out.column(truth.holds), following, truth.value)

    def _uncached(self, rule: rules.Condition) -> Truth:
        match rule:
            case rules.Field():
                return self._field(rule)
            case rules.Event():
                return self._event(rule)
            case rules.Sequence():
                return self._sequence(rule)
            case rules.Member(segment_id):
                return Truth(self._is_member(segment_id), NEVER)
        raise TypeError(rule)

    def _is_member(self, segment_id: int) -> str:
        """Whether the customer is in a segment kept by hand."""
        pair = f"m.customer_id = customer.id AND m.segment_id = {self.out.bind(segment_id)}"
        if not self.as_of:
            return f"EXISTS (SELECT FROM segments_membership m WHERE {pair})"
        return (
            f"((SELECT m.entered FROM segments_membershipchange m WHERE {pair}"
            f" AND m.at <= {NOW} ORDER BY m.at DESC, m.id DESC LIMIT 1) IS TRUE)"
        )

    # Fields

    def _field(self, rule: rules.Field) -> Truth:
        kind = rule.test.type
        if rule.name in BUILT_INS:
            value = (BUILT_INS_AS_OF if self.as_of else BUILT_INS)[rule.name]
        elif rule.name.startswith(consent.PREFIX):
            value = self._consent(rule.name.removeprefix(consent.PREFIX))
        else:
            text = f"(customer.fields ->> {self.out.bind(rule.name)}::text)"
            value = _field_value(text, f"customer.fields -> {self.out.bind(rule.name)}::text", kind)
        holds = self._passes(value, rule.test, none_counts=True)
        return Truth(holds, _earliest(self._turns_at(value, rule.test)), value)

    def _consent(self, purpose: str) -> str:
        """The present decision; EXISTS lets the planner read all decisions at once, or one."""
        made = (
            "EXISTS (SELECT FROM customers_consent k WHERE k.customer_id = customer.id"
            f" AND k.purpose = {self.out.bind(purpose)}"
        )
        return f"(CASE WHEN {made} AND k.granted) THEN true WHEN {made}) THEN false END)"

    def _turns_at(self, value: str, test: rules.Test) -> list[str]:
        """The instants to come at which a test of this value turns by itself."""
        if not self.watch:
            return []
        return [_if_later(moment) for moment in self._boundaries(value, test)]

    # Events

    def _event(self, rule: rules.Event) -> Truth:
        ids = self.names.events_called(rule.names)
        self.out.event_ids.update(ids)
        self.out.earliest.add(rule.window.last if isinstance(rule.window, rules.Sliding) else None)
        static, moments = self._matching(ids, rule.where)
        if _sums_amounts(rule) and not _names_currency(rule.where):
            static += f" AND e.currency = {self.out.bind(self.names.currency)}"
        matching = static + "".join(f" AND {test}" for test, _ in moments)
        inside = f"{matching} AND {self._inside(rule.window)}"
        value = self._measure(rule, inside)
        holds = self._passes(value, rule.test, none_counts=False)
        changes = self._turns_at(value, rule.test)
        if self.watch:
            changes += self._window_changes(rule, matching, inside)
            changes += self._filter_changes(static, moments)
        return Truth(holds, _earliest(changes), value)

    def _matching(
        self, ids: Sequence[int], where: Sequence[rules.Filter]
    ) -> tuple[str, list[tuple[str, list[str]]]]:
        """Which events count: what time cannot change, and (test, boundaries) of the rest."""
        static = [f"e.name_id = ANY({self.out.bind(list(ids))}::int[])"]
        moving = []
        for one in where:
            test, boundaries = self._filter(one)
            if boundaries:
                moving.append((test, boundaries))
            else:
                static.append(test)
        return " AND ".join(static), moving

    def _filter(self, one: rules.Filter) -> tuple[str, list[str]]:
        match one:
            case rules.ChannelFilter(channel):
                ids = [n for n, kind in self.names.channel_of.items() if kind == channel]
                return f"e.source_id = ANY({self.out.bind(ids)}::bigint[])", []
            case rules.SourceFilter(source):
                return f"e.source_id = {self.out.bind(self.names.source_ids.get(source, 0))}", []
            case rules.PropertyFilter(prop, test):
                value = self._property(prop, test.type)
                return self._passes(value, test, none_counts=True), self._boundaries(value, test)

    def _property(self, prop: str, kind: str) -> str:
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
        zone = self.out.bind(str(self.names.zone))
        return (
            f"(CASE WHEN {text} ~ {self.out.bind(INSTANT)}"
            f" AND pg_input_is_valid({text}, 'timestamptz')"
            f" THEN CASE WHEN {text} ~ {self.out.bind(WITH_OFFSET)} AND length({text}) > 10"
            f" THEN {text}::timestamptz"
            f" ELSE {text}::timestamp AT TIME ZONE {zone} END END)"
        )

    def _inside(self, window: rules.Window) -> str:
        """Events in the window that have occurred by now."""
        match window:
            case rules.Sliding(last, except_last):
                return (
                    f"e.occurred_at > {_before(NOW, last)}"
                    f" AND e.occurred_at <= {_before(NOW, except_last)}"
                )
            case rules.Fixed():
                return f"{self._fixed(window)} AND e.occurred_at <= {NOW}"
            case rules.Period(calendar):
                start = f"%({calendar})s::timestamptz"
                return f"e.occurred_at >= {start} AND e.occurred_at <= {NOW}"
        return f"e.occurred_at <= {NOW}"

    def _fixed(self, window: rules.Fixed) -> str:
        bounds = []
        if window.start:
            bounds.append(f"e.occurred_at >= {self.out.bind(window.start)}::timestamptz")
        if window.end:
            bounds.append(f"e.occurred_at < {self.out.bind(window.end)}::timestamptz")
        return " AND ".join(bounds)

    def _measure(self, rule: rules.Event, inside: str) -> str:
        """The measured value; zero, not null, for counts and sums of nothing."""
        only = f"FILTER (WHERE {inside})"
        if rule.measure == "count":
            return f"COALESCE({self.out.aggregate(f'count(*) {only}')}, 0)"
        prop = rule.property or ""
        if rule.measure in ("first", "last"):
            return self._first_or_last(rule, prop, only)
        if rule.measure == "distinct":
            text = f"count(DISTINCT {self._distinct(prop)}) {only}"
            return f"COALESCE({self.out.aggregate(text)}, 0)"
        function = {"average": "avg"}.get(rule.measure, rule.measure)
        text = f"{function}({self._property(prop, 'number')}) {only}"
        column = self.out.aggregate(text)
        return f"COALESCE({column}, 0)" if rule.measure == "sum" else column

    def _first_or_last(self, rule: rules.Event, prop: str, only: str) -> str:
        order = "" if rule.measure == "first" else " DESC"
        value = self._property(prop, rule.test.type)
        if prop == rules.TIME:
            function = "min" if rule.measure == "first" else "max"
            return self.out.aggregate(f"{function}({value}) {only}")
        ordered = f"{value} ORDER BY e.occurred_at{order}, e.id{order}"
        return f"({self.out.aggregate(f'array_agg({ordered}) {only}')})[1]"

    def _distinct(self, prop: str) -> str:
        """What makes values distinct: numbers by value, texts without regard to case."""
        if prop in (rules.AMOUNT, rules.TIME):
            return self._property(prop, "number")
        number, text = self._property(prop, "number"), self._property(prop, "string")
        return f"COALESCE(trim_scale({number})::text, lower({text}))"

    # When time alone changes a condition

    def _window_changes(self, rule: rules.Event, matching: str, inside: str) -> list[str]:
        """Instants at which an event enters or leaves the window, as columns; null for never."""
        window = rule.window
        since, delay = NOW, timedelta(0)
        if isinstance(window, rules.Sliding):
            delay = window.except_last
            since = _before(NOW, delay)
        coming = f"{matching} AND e.occurred_at > {since}"
        if isinstance(window, rules.Fixed):
            coming += f" AND {self._fixed(window)}"
        changes = [_after(self._first_at(coming), delay)]
        if isinstance(window, rules.Sliding):
            # Once-or-never turns when the last event leaves; other measures may at every one.
            edge = "max" if _is_once_or_never(rule) else "min"
            leaving = self.out.aggregate(f"{edge}(e.occurred_at) FILTER (WHERE {inside})")
            changes.append(_after(leaving, window.last))
        if isinstance(window, rules.Period):
            any_inside = self.out.aggregate(f"count(*) FILTER (WHERE {inside})")
            end = f"%({window.calendar}_end)s::timestamptz"
            changes.append(f"CASE WHEN {any_inside} > 0 THEN {end} END")
        return changes

    def _first_at(self, matching: str) -> str:
        return self.out.aggregate(f"min(e.occurred_at) FILTER (WHERE {matching})")

    def _filter_changes(self, static: str, moving: list[tuple[str, list[str]]]) -> list[str]:
        """Instants at which a filter on a datetime property turns for some event."""
        return [
            self.out.aggregate(f"min({moment}) FILTER (WHERE {static} AND {moment} > {NOW})")
            for _, boundaries in moving
            for moment in boundaries
        ]

    def _boundaries(self, value: str, test: rules.Test) -> list[str]:
        """The instants at which a test of this datetime turns by itself."""
        if test.type != "datetime" or not isinstance(test.value, timedelta):
            return []
        if test.op in ("in_last", "not_in_last"):
            return [value, _after(value, test.value)]
        if test.op == "in_next":
            return [_before(value, test.value), value]
        coming = self._anniversary(value)
        return [_before(coming, test.value), coming]

    def _anniversary(self, value: str) -> str:
        """The first anniversary of the instant after now, on the workspace's calendar."""
        zone = self.out.bind(str(self.names.zone))
        local = f"({value} AT TIME ZONE {zone})"
        years = f"(extract(year FROM {NOW} AT TIME ZONE {zone}) - extract(year FROM {local}))::int"
        this, following = (
            f"(({local} + make_interval(years => {years} + {more})) AT TIME ZONE {zone})"
            for more in (0, 1)
        )
        return f"(CASE WHEN {this} > {NOW} THEN {this} ELSE {following} END)"

    # Sequences

    def _sequence(self, rule: rules.Sequence) -> Truth:
        """Whether the steps can be matched in order, by one ordered pass for each step.

        An event matches step n if one that matches step n-1 stands before it in the order of time;
        with a limit on the gap the latest such one decides.
        """
        steps = [self._step(step) for step in rule.steps]
        any_step = " OR ".join(f"({step})" for step in steps)
        inner = (
            f"SELECT e.customer_id, e.occurred_at AS t, e.id, ({steps[0]}) AS r0,"
            + ", ".join(f"({step}) AS m{n}" for n, step in enumerate(steps))
            + f" FROM events_event e WHERE {{scope}} AND ({any_step})"
            + f" AND {self._inside(rule.window)}"
        )
        for n, step in enumerate(rule.steps[1:], start=1):
            inner = (
                f"SELECT *, m{n} AND p{n} IS NOT NULL{_gap(n, step)} AS r{n} FROM ("
                f"SELECT *, max(CASE WHEN r{n - 1} THEN t END) OVER (PARTITION BY customer_id"
                f" ORDER BY t, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS p{n}"
                f" FROM ({inner}) o{n}) q{n}"
            )
        last = f"SELECT customer_id, bool_or(r{len(steps) - 1}) AS r FROM ({inner}) s"
        alias = self.out.sequences.setdefault(
            f"{last} GROUP BY customer_id", f"s{len(self.out.sequences)}"
        )
        self.out.earliest.add(rule.window.last if isinstance(rule.window, rules.Sliding) else None)
        for step in rule.steps:
            self.out.event_ids.update(self.names.events_called(step.names))
        done = f"({alias}.r IS TRUE)"
        changes = self._sequence_changes(rule, any_step) if self.watch else []
        return Truth(done, _earliest(changes), done)

    def _sequence_changes(self, rule: rules.Sequence, any_step: str) -> list[str]:
        """Instants at which an event of any step enters or leaves the window, or a filter turns."""
        as_event = rules.Event((), (), rule.window, "sum", None, rules.Test("exists", "number"))
        matching = f"({any_step})"
        changes = self._window_changes(
            as_event, matching, f"{matching} AND {self._inside(rule.window)}"
        )
        for step in rule.steps:
            ids = self.names.events_called(step.names)
            changes += self._filter_changes(*self._matching(ids, step.where))
        return changes

    def _step(self, step: rules.Step) -> str:
        static, moving = self._matching(self.names.events_called(step.names), step.where)
        return static + "".join(f" AND {test}" for test, _ in moving)

    # Tests

    def _passes(self, value: str, test: rules.Test, *, none_counts: bool) -> str:
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
            return f"{value} > {_before(NOW, span)} AND {value} <= {NOW}"
        if op == "anniversary_in_next":
            value = self._anniversary(value)
        return f"{value} > {NOW} AND {value} <= {_after(NOW, span)}"


SIGNS = {
    "is": "=",
    "at_least": ">=",
    "at_most": "<=",
    "more_than": ">",
    "less_than": "<",
    "before": "<",
    "after": ">",
}


def _all(truths: Sequence[Truth]) -> Truth:
    """All of them. While some do not hold, nothing can turn before the last of those has."""
    holds = "(" + " AND ".join(truth.holds for truth in truths) + ")"
    return Truth(holds, _turns(holds, truths, waiting_for=False))


def _any(truths: Sequence[Truth]) -> Truth:
    """Any of them. While some hold, nothing can turn before the last of those has."""
    holds = "(" + " OR ".join(truth.holds for truth in truths) + ")"
    return Truth(holds, _turns(f"NOT {holds}", truths, waiting_for=True))


def _turns(at_once: str, truths: Sequence[Truth], *, waiting_for: bool) -> str:
    """The next instant of a group: the first of its members' if one is enough, else the last of
    those that stand in the way."""
    moving = [truth for truth in truths if truth.next != NEVER]
    if not moving:
        return NEVER
    if len(truths) == 1:
        return truths[0].next
    first = _least([truth.next for truth in moving])
    blocking = ", ".join(
        f"CASE WHEN {truth.holds} IS {str(waiting_for).upper()} THEN {truth.next}"
        " ELSE '-infinity' END"
        for truth in truths
    )
    return f"(CASE WHEN {at_once} THEN {first} ELSE GREATEST({blocking}) END)"


def _earliest(changes: Sequence[str]) -> str:
    """The first of some instants that may be null, infinity if there is none."""
    return f"COALESCE({_least(changes)}, {NEVER})" if changes else NEVER


def _least(instants: Sequence[str]) -> str:
    unique = list(dict.fromkeys(instants))
    return unique[0] if len(unique) == 1 else f"LEAST({', '.join(unique)})"


def _if_later(moment: str) -> str:
    return f"(CASE WHEN {moment} > {NOW} THEN {moment} END)"


def _before(moment: str, span: timedelta) -> str:
    return f"({moment} - interval '{int(span.total_seconds())} seconds')" if span else moment


def _after(moment: str, span: timedelta) -> str:
    return f"({moment} + interval '{int(span.total_seconds())} seconds')" if span else moment


def _gap(n: int, step: rules.Step) -> str:
    if step.at_most_after is None:
        return ""
    return f" AND t <= {_after(f'p{n}', step.at_most_after)}"


def _field_value(text: str, json: str, kind: str) -> str:
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


def _sums_amounts(rule: rules.Event) -> bool:
    return rule.property == rules.AMOUNT and rule.measure in ("sum", "average")


def _names_currency(where: Sequence[rules.Filter]) -> bool:
    return any(isinstance(f, rules.PropertyFilter) and f.property == rules.CURRENCY for f in where)


def _is_once_or_never(rule: rules.Event) -> bool:
    """Whether only having done it at all counts."""
    return rule.measure == "count" and (rule.test.op, rule.test.value) in ONCE_OR_NEVER

"""A rule as SQL: for every customer, a batch, one customer, or as of another instant.

Each distinct condition becomes one aggregate over the customer's events, and one more for the next
instant at which time alone could change it; all conditions of all segments share one pass over the
events. The text is the same for every use: only the scope (whose events) and `now` differ, and both
are parameters. Instants enter the text as %(now)s plus or minus whole seconds, since a day is 24
hours whatever the clocks on the wall do.
"""

from collections.abc import Sequence
from datetime import timedelta

from customers import consent
from segments import rules, values
from segments.compiled import Compiled, Names
from segments.instants import (
    NEVER,
    NOW,
    Truth,
    after,
    all_of,
    any_of,
    before,
    earliest,
    if_later,
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
        self.values = values.Values(self.out, names.zone)
        self._truths: dict[rules.Condition, Truth] = {}

    def segment(self, rule: rules.Rule, audience: str) -> Truth:
        """The rule together with its audience."""
        truth = self.truth(rule)
        if audience == "everyone":
            return truth
        known = "IS NULL" if audience == "anonymous" else "IS NOT NULL"
        belongs = self.out.column(f"customer.external_id {known}")
        return all_of([Truth(belongs, NEVER), truth])

    def truth(self, rule: rules.Rule) -> Truth:
        match rule:
            case rules.All(inner):
                return all_of([self.truth(one) for one in inner])
            case rules.Any(inner):
                return any_of([self.truth(one) for one in inner])
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
            value = values.of_field(
                text, f"customer.fields -> {self.out.bind(rule.name)}::text", kind
            )
        holds = self.values.passes(value, rule.test, none_counts=True)
        return Truth(holds, earliest(self._turns_at(value, rule.test)), value)

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
        return [if_later(moment) for moment in self.values.boundaries(value, test)]

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
        holds = self.values.passes(value, rule.test, none_counts=False)
        changes = self._turns_at(value, rule.test)
        if self.watch:
            changes += self._window_changes(
                rule, matching, inside, self._may_turn(rule, value, inside)
            )
            changes += self._filter_changes(static, moments)
        return Truth(holds, earliest(changes), value)

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
                value = self.values.property(prop, test.type)
                return self.values.passes(value, test, none_counts=True), self.values.boundaries(
                    value, test
                )

    def _inside(self, window: rules.Window) -> str:
        """Events in the window that have occurred by now."""
        match window:
            case rules.Sliding(last, except_last):
                return (
                    f"e.occurred_at > {before(NOW, last)}"
                    f" AND e.occurred_at <= {before(NOW, except_last)}"
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
        if rule.measure == "count":
            return f"COALESCE({self.out.aggregate('count(*)', inside)}, 0)"
        prop = rule.property or ""
        if rule.measure in ("first", "last"):
            return self._first_or_last(rule, prop, inside)
        if rule.measure == "distinct":
            text = f"count(DISTINCT {self.values.distinct(prop)})"
            return f"COALESCE({self.out.aggregate(text, inside)}, 0)"
        function = {"average": "avg"}.get(rule.measure, rule.measure)
        text = f"{function}({self.values.property(prop, 'number')})"
        column = self.out.aggregate(text, inside)
        return f"COALESCE({column}, 0)" if rule.measure == "sum" else column

    def _first_or_last(self, rule: rules.Event, prop: str, inside: str) -> str:
        order = "" if rule.measure == "first" else " DESC"
        value = self.values.property(prop, rule.test.type)
        if prop == rules.TIME:
            function = "min" if rule.measure == "first" else "max"
            return self.out.aggregate(f"{function}({value})", inside)
        ordered = f"{value} ORDER BY e.occurred_at{order}, e.id{order}"
        return f"({self.out.aggregate(f'array_agg({ordered})', inside)})[1]"

    # When time alone changes a condition

    def _may_turn(self, rule: rules.Event, value: str, inside: str) -> str:
        """Whether the test may turn when only fewer events are left; true where that is not known.

        Counts never grow then, nor do sums of amounts while there is no refund among them: who has
        not reached a threshold need not be looked at again until something happens.
        """
        test = rule.test
        is_sum = rule.measure == "sum" and rule.property == rules.AMOUNT
        if test.value is None or not (is_sum or rule.measure in ("count", "distinct")):
            return "true"
        lowest = min(test.value) if isinstance(test.value, tuple) else test.value  # type: ignore
        sign = ">" if test.op in ("at_most", "more_than") else ">="
        turns = f"{value} {sign} {self.out.bind(lowest)}::numeric"
        if is_sum:
            return f"({self.out.aggregate('min(e.amount)', inside)} < 0 OR {turns})"
        return turns

    def _window_changes(
        self, rule: rules.Event, matching: str, inside: str, may_turn: str
    ) -> list[str]:
        """Instants at which an event enters the window, or leaves it while the condition may turn
        by that; null for never."""
        window = rule.window
        since, delay = NOW, timedelta(0)
        if isinstance(window, rules.Sliding):
            delay = window.except_last
            since = before(NOW, delay)
        coming = f"{matching} AND e.occurred_at > {since}"
        if isinstance(window, rules.Fixed):
            coming += f" AND {self._fixed(window)}"
        changes = [after(self._first_at(coming), delay)]
        if isinstance(window, rules.Sliding):
            # Once-or-never turns when the last event leaves; other measures may at every one.
            edge = "max" if _is_once_or_never(rule) else "min"
            leaving = self.out.aggregate(f"{edge}(e.occurred_at)", inside)
            changes.append(f"CASE WHEN {may_turn} THEN {after(leaving, window.last)} END")
        if isinstance(window, rules.Period):
            any_inside = self.out.aggregate("count(*)", inside)
            end = f"%({window.calendar}_end)s::timestamptz"
            changes.append(f"CASE WHEN {any_inside} > 0 AND {may_turn} THEN {end} END")
        return changes

    def _first_at(self, matching: str) -> str:
        return self.out.aggregate("min(e.occurred_at)", matching)

    def _filter_changes(self, static: str, moving: list[tuple[str, list[str]]]) -> list[str]:
        """Instants at which a filter on a datetime property turns for some event."""
        return [
            self.out.aggregate(f"min({moment})", f"{static} AND {moment} > {NOW}")
            for _, boundaries in moving
            for moment in boundaries
        ]

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
        changes = self._sequence_changes(rule, any_step, done) if self.watch else []
        return Truth(done, earliest(changes), done)

    def _sequence_changes(self, rule: rules.Sequence, any_step: str, done: str) -> list[str]:
        """Instants at which an event of any step enters the window, leaves it once they are done,
        or a filter turns."""
        as_event = rules.Event((), (), rule.window, "sum", None, rules.Test("exists", "number"))
        matching = f"({any_step})"
        changes = self._window_changes(
            as_event, matching, f"{matching} AND {self._inside(rule.window)}", done
        )
        for step in rule.steps:
            ids = self.names.events_called(step.names)
            changes += self._filter_changes(*self._matching(ids, step.where))
        return changes

    def _step(self, step: rules.Step) -> str:
        static, moving = self._matching(self.names.events_called(step.names), step.where)
        return static + "".join(f" AND {test}" for test, _ in moving)


def _gap(n: int, step: rules.Step) -> str:
    if step.at_most_after is None:
        return ""
    return f" AND t <= {after(f'p{n}', step.at_most_after)}"


def _sums_amounts(rule: rules.Event) -> bool:
    return rule.property == rules.AMOUNT and rule.measure in ("sum", "average")


def _names_currency(where: Sequence[rules.Filter]) -> bool:
    return any(isinstance(f, rules.PropertyFilter) and f.property == rules.CURRENCY for f in where)


def _is_once_or_never(rule: rules.Event) -> bool:
    """Whether only having done it at all counts."""
    return rule.measure == "count" and (rule.test.op, rule.test.value) in ONCE_OR_NEVER

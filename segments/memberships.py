"""Keeping memberships true: after every change, and as time passes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from customers import changes, survivors
from customers import clock as database_clock
from customers.changes import Fact
from segments import evaluation, sql
from segments.compiler import clock
from segments.models import Cause, Segment, SegmentKind, SegmentState

BY_ID = "{id} = ANY(%(ids)s::bigint[])"
Changing: TypeAlias = tuple[int, int, str, int | None]  # customer id, segment id, cause, event id
AT_ONCE = 200  # segments in one statement; a row of PostgreSQL has at most 1,664 columns


class Transition(NamedTuple):
    """A customer entered or left a segment at an instant. Silent ones are nobody's news."""

    segment_id: int
    customer_id: int
    entered: bool
    at: datetime
    entry_no: int
    cause: str
    event_id: int | None = None
    is_silent: bool = False


def recheck_due(now: datetime, limit: int) -> int:
    """Queue up to `limit` customers whose membership time alone may change by now.

    Call it inside a transaction: the re-check is gone when its change is queued.
    """
    due = sql.take_due_rechecks(now, limit)
    changes.record(Fact(customer_id, changes.clock(segment_id)) for customer_id, segment_id in due)
    return len(due)


def refresh(facts: Sequence[Fact]) -> list[Transition]:
    """Bring the segments that depend on these facts up to date, for the customers they are about.

    Returns who entered and who left. Whatever the facts, membership afterwards equals a full
    evaluation at the instant of the call, for every customer and segment that they touch. Call it
    inside a transaction; it locks the customers in order of id.
    """
    if not facts:
        return []
    sql.lock_evaluation(exclusive=False)
    survivor_of = survivors.lock({fact.customer_id for fact in facts})
    now = database_clock.now()
    merged = {old: new for old, new in survivor_of.items() if old != new}
    if merged:
        sql.follow_merges([*merged], [*merged.values()], now)
    told: dict[int, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.customer_id in survivor_of:
            told[survivor_of[fact.customer_id]].append(fact)
    segments = _affected({fact.name for fact in facts})
    transitions = []
    for start in range(0, len(segments), AT_ONCE):
        transitions += _refresh(segments[start : start + AT_ONCE], told, now)
    return transitions


def _affected(names: Collection[str]) -> list[Segment]:
    """The segments by rule that depend on any of these facts."""
    segments = Segment.objects.filter(kind=SegmentKind.DYNAMIC).order_by("id")
    return [segment for segment in segments if any(concerns(segment, name) for name in names)]


def concerns(segment: Segment, fact: str) -> bool:
    """Whether a fact may change who belongs to a segment."""
    if fact in segment.facts or fact == changes.clock(segment.pk):
        return True
    if fact == changes.NEW_WITH_FIELDS:
        return any(own == changes.NEW or own.startswith("field:") for own in segment.facts)
    if fact.startswith(("merged:", "unmerged:", "everything")):
        return True
    return any(own.endswith("*") and fact.startswith(own[:-1]) for own in segment.facts)


def _refresh(
    segments: Sequence[Segment], told: Mapping[int, Sequence[Fact]], now: datetime
) -> list[Transition]:
    program = evaluation.compile_segments(segments)
    source = program.out.source(BY_ID)
    parameters = program.out.parameters | clock(now, evaluation.zone()) | {"ids": [*told]}
    by_id = {segment.pk: segment for segment in segments}
    differing = [
        (segment_id, customer_id, belongs)
        for segment_id, customer_id, belongs in sql.diff(source, program.rows(), BY_ID, parameters)
        if not awaits_fill(by_id[segment_id], customer_id)
    ]
    entering: list[Changing] = []
    leaving: list[Changing] = []
    for segment_id, customer_id, belongs in differing:
        cause, event_id = _cause(by_id[segment_id], told[customer_id])
        (entering if belongs else leaving).append((customer_id, segment_id, cause, event_id))
    return apply(entering, leaving, now)


def awaits_fill(segment: Segment, customer_id: int) -> bool:
    """Whether a fill has yet to reach this customer, who until then stays as he was."""
    return (
        segment.state == SegmentState.FILLING
        and segment.fill_after < customer_id <= segment.fill_until
    )


def _cause(segment: Segment, facts: Iterable[Fact]) -> tuple[str, int | None]:
    """Why a membership changed, from what is new about the customer; and the event that did it.

    The latest event wins over fields, these over merges, these over time.
    """
    concerning = [fact for fact in facts if concerns(segment, fact.name)]
    events = [fact for fact in concerning if fact.name.startswith("event:")]
    if events:
        return Cause.EVENT, events[-1].event_id
    kinds = {fact.name.partition(":")[0] for fact in concerning}
    if kinds & {"field", "new"}:
        return Cause.FIELD, None
    if kinds & {"merged", "unmerged"}:
        return Cause.MERGE, None
    if "segment" in kinds:
        return Cause.MANUAL, None
    return Cause.TIME, None


def apply(
    entering: Sequence[Changing],
    leaving: Sequence[Changing],
    now: datetime,
    *,
    is_silent: bool = False,
) -> list[Transition]:
    """Write who enters and who leaves, with history; return it as transitions."""
    transitions = []
    for rows, write, entered in ((entering, sql.enter, True), (leaving, sql.leave, False)):
        entry_no = write(rows, now) if rows else {}
        transitions += [
            Transition(
                segment_id,
                customer_id,
                entered,
                now,
                entry_no[customer_id, segment_id],
                cause,
                event_id,
                is_silent,
            )
            for customer_id, segment_id, cause, event_id in rows
            if (customer_id, segment_id) in entry_no
        ]
    return transitions


def next_due() -> datetime | None:
    """When the first re-check is due."""
    return sql.next_due()

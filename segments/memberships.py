"""Keeping memberships true: after every change, and as time passes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias

from customers import changes, survivors
from customers import clock as database_clock
from customers.changes import Fact
from segments import affected, batches, merges, sql, standing
from segments.affected import Index
from segments.models import Cause, Size

Changing: TypeAlias = tuple[int, int, str, int | None]  # customer id, segment id, cause, event id


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
    evaluation at the instant of the call, for every customer and segment that they touch; what
    others write meanwhile may count or not, and is told by facts of its own. Call it inside a
    transaction: until that ends no other refresh runs, and nobody of these customers is merged.
    """
    if not facts:
        return []
    sql.lock_refresh()
    undone = merges.undone(facts)
    survivor_of = survivors.hold({fact.customer_id for fact in facts} | undone.keys())
    survivor_of |= merges.unfollowed({*survivor_of.values()})
    now = database_clock.now()
    merges.follow(survivor_of, undone, now)
    told: dict[int, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.customer_id in survivor_of:
            told[survivor_of[fact.customer_id]].append(fact)
    present, fills = standing.read()
    groups = affected.groups(present.index, told)
    if not groups:
        return []
    differing = batches.differing(groups, present.by_id, now)
    entering: list[Changing] = []
    leaving: list[Changing] = []
    for (customer_id, segment_id), belongs in sorted(differing.items()):
        if not fills.await_customer(segment_id, customer_id):
            cause, event_id = _cause(segment_id, told[customer_id], present.index)
            (entering if belongs else leaving).append((customer_id, segment_id, cause, event_id))
    return apply(entering, leaving, now)


def _cause(segment_id: int, facts: Iterable[Fact], index: Index) -> tuple[str, int | None]:
    """Why a membership changed, from what is new about the customer; and the event that did it.

    The latest event wins over fields, these over merges, these over time.
    """
    concerning = [fact for fact in facts if segment_id in index.concerned(fact.name)]
    events = [fact for fact in concerning if fact.name.startswith("event:")]
    if events:
        return Cause.EVENT, events[-1].event_id
    kinds = {fact.name.partition(":")[0] for fact in concerning}
    if "everything" in kinds:  # events were taken away
        return Cause.EVENT, None
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
    """Write who enters and who leaves, with history and sizes; return it as transitions."""
    transitions = []
    grown: Counter[int] = Counter()
    for rows, write, entered in ((entering, sql.enter, True), (leaving, sql.leave, False)):
        entry_no = write(rows, now) if rows else {}
        for _, segment_id in entry_no:
            grown[segment_id] += 1 if entered else -1
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
    if grown:
        sql.change_sizes(grown)
    return transitions


def sizes(segment_ids: Collection[int]) -> dict[int, int]:
    """How many members segments have now, by their ids."""
    kept = Size.objects.filter(segment__in=segment_ids).values_list("segment", "members")
    return dict.fromkeys(segment_ids, 0) | dict(kept)


def next_due() -> datetime | None:
    """When the first re-check is due."""
    return sql.next_due()

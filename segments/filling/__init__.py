"""The first members of a new or edited segment, a stretch of customers at a time.

The pipeline does a stretch between its batches, so events go on flowing. Customers that the fill
has not reached keep their old membership; changes that concern them need no note, because the
fill sees their effect when it arrives. Nobody is told of these entries: they are no news.
"""

import time
from datetime import datetime

from customers import clock
from segments import compiled, definitions, evaluation, growth, rules
from segments.compiled import Compiled
from segments.filling import sql
from segments.models import Audience, Segment, SegmentState
from segments.sql import change_sizes, lock_evaluation

STRETCH = 10_000  # customers, to begin with; nothing else is evaluated meanwhile
SHORTEST, LONGEST = 1_000, 200_000
SECONDS = 0.4  # that a stretch should take; the next has as many customers as are likely to
BY_RANGE = "{id} > %(after)s AND {id} <= %(until)s"


def fill_next() -> int:
    """Evaluate the next customers of a segment that is filling; return 1 if there was one.

    Call it inside a transaction. What it commits is never done again, so a fill resumes.
    """
    growth.keep_up()
    definitions.refill_changed()
    if not Segment.objects.filter(state=SegmentState.FILLING).exists():
        return 0
    lock_evaluation(exclusive=True)
    segment = Segment.objects.filter(state=SegmentState.FILLING).order_by("updated_at").first()
    if segment is None:
        return 0
    started = time.monotonic()
    stretch = _pace.get((segment.pk, segment.version), STRETCH)
    until = sql.next_customers(segment.fill_after, segment.fill_until, stretch)
    _fill(segment, until, clock.now())
    _set_pace(segment, stretch, time.monotonic() - started)
    if until >= segment.fill_until:
        segment.state = SegmentState.LIVE
        growth.ask(segment.pk)
    Segment.objects.filter(pk=segment.pk).update(fill_after=until, state=segment.state)
    return 1


def set_aside(error: str) -> None:
    """Give up the fill that comes next, with the error it met; the old membership stands."""
    segment = Segment.objects.filter(state=SegmentState.FILLING).order_by("updated_at").first()
    if segment is not None:
        Segment.objects.filter(pk=segment.pk).update(state=SegmentState.LIVE, error=error)


def _set_pace(segment: Segment, stretch: int, seconds: float) -> None:
    """Note how many customers the next stretch of this fill shall have."""
    likely = int(stretch * SECONDS / max(seconds, 0.001))
    _pace.clear()
    _pace[segment.pk, segment.version] = max(SHORTEST, min(likely, stretch * 4, LONGEST))


_pace: dict[tuple[int, int], int] = {}  # of the one fill that is under way


def _fill(segment: Segment, until: int, now: datetime) -> None:
    program = evaluation.compile_segments([segment])
    ((_, truth),) = program.truths
    source = _source(program.out, segment)  # binds parameters
    parameters = (
        program.out.parameters
        | compiled.clock(now, evaluation.zone())
        | {"after": segment.fill_after, "until": until, "segment": segment.pk, "at": now}
    )
    entered, left = sql.fill(source, (truth.holds, truth.next), BY_RANGE, parameters)
    if entered or left:
        change_sizes({segment.pk: entered - left})


def _source(out: Compiled, segment: Segment) -> str:
    """Everybody in the stretch; at the first fill only those who may belong now or later.

    A rule that wants events holds for nobody without, whatever the clock says; and where nobody
    was a member by an earlier rule, nobody has to leave.
    """
    tree = evaluation.parsed([segment])[segment.pk]
    if segment.version > definitions.FIRST_VERSION or not rules.needs_events(tree):
        return out.source(BY_RANGE)
    if segment.audience == Audience.EVERYONE and rules.is_of_events(tree):
        return out.source_of_active(BY_RANGE)
    return out.source(BY_RANGE, only_active=True)

"""The first members of a new or edited segment, a stretch of customers at a time.

The pipeline does a stretch between its batches, so events go on flowing. Customers that the fill
has not reached keep their old membership; changes that concern them need no note, because the
fill sees their effect when it arrives. Nobody is told of these entries: they are no news.
"""

from collections.abc import Sequence

from customers import clock
from segments import compiled, definitions, evaluation, growth, memberships, sql
from segments.models import Cause, Segment, SegmentState

STRETCH = 10_000  # customers; takes some tenths of a second, in which nothing else is evaluated
BY_RANGE = "{id} > %(after)s AND {id} <= %(until)s"


def fill_next() -> int:
    """Evaluate the next customers of a segment that is filling; return 1 if there was one.

    Call it inside a transaction. What it commits is never done again, so a fill resumes.
    """
    growth.keep_up()
    definitions.refill_changed()
    if not Segment.objects.filter(state=SegmentState.FILLING).exists():
        return 0
    sql.lock_evaluation(exclusive=True)
    segment = Segment.objects.filter(state=SegmentState.FILLING).order_by("updated_at").first()
    if segment is None:
        return 0
    until = sql.next_customers(segment.fill_after, segment.fill_until, STRETCH)
    _fill(segment, until)
    segment.fill_after = until
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


def _fill(segment: Segment, until: int) -> None:
    program = evaluation.compile_segments([segment])
    source = program.out.source(BY_RANGE)
    now = clock.now()
    parameters = (
        program.out.parameters
        | compiled.clock(now, evaluation.zone())
        | {"after": segment.fill_after, "until": until}
    )
    with sql.evaluating():
        differing = sql.diff(source, program.rows(), BY_RANGE, parameters)
    entering = _rows(segment, [customer for _, customer, belongs in differing if belongs])
    leaving = _rows(segment, [customer for _, customer, belongs in differing if not belongs])
    memberships.apply(entering, leaving, now, is_silent=True)


def _rows(segment: Segment, customer_ids: Sequence[int]) -> list[memberships.Changing]:
    return [(customer_id, segment.pk, Cause.RULE, None) for customer_id in customer_ids]

"""Triggers that wait until a customer has been in a segment for some time.

Each goes through the members in the order they entered, and is always as far as those who entered
just so long ago. Who left before is a member no more; who came back begins anew. Who left after
that time, but before anybody could look, is sent for as well.
"""

from datetime import datetime, timedelta

from django.db import transaction

from activation import queueing
from activation.messages import Occasion, Wish
from activation.models import On, Trigger
from activation.sql import causes
from segments.memberships import Transition
from segments.models import Cause, SegmentState

AT_ONCE = 1_000
BEHIND = timedelta(minutes=10)


def queue_due(now: datetime) -> int:
    """Queue messages for those who have been in long enough by now; return for how many.

    Call it about once a second. Exact by the clock: what is due at an instant is queued by the
    next call after it. May be called by several at once, and killed in between.
    """
    due = Trigger.objects.filter(is_enabled=True, on=On.STAY).order_by("pk")
    return sum(_advance(pk, now) for pk in due.values_list("pk", flat=True))


@transaction.atomic
def _advance(trigger_id: int, now: datetime) -> int:
    """Queue messages for the next members who have stayed, and note how far that is."""
    trigger = (
        Trigger.objects.select_for_update(skip_locked=True, of=("self",))
        .filter(pk=trigger_id, is_enabled=True, on=On.STAY)
        .first()
    )
    if trigger is None or trigger.stay is None:
        return 0
    # A membership that is being written now bears a time before its commit.
    until = min(now, causes.oldest_writer()) - trigger.stay
    rows = causes.read_stayed(
        trigger.segment_id,
        trigger.stayed_at,
        trigger.stayed_id,
        until,
        trigger.stay,
        trigger.switched_on_at,
        AT_ONCE,
    )
    if not rows:
        _catch_up(trigger, until)
        return 0
    wish = Wish(*causes.lock_triggers([trigger.segment_id], trigger_id)[0])
    queueing.queue(
        [
            Occasion(wish, _transition(trigger, row))
            for row in rows
            if trigger.include_existing or row[3] != Cause.RULE
        ]
    )
    Trigger.objects.filter(pk=trigger_id).update(stayed_at=rows[-1][1], stayed_id=rows[-1][0])
    return len(rows)


def _catch_up(trigger: Trigger, until: datetime) -> None:
    """Note now and then that nobody is left up to an instant, else each look looks back further."""
    is_behind = trigger.stayed_at is None or until - trigger.stayed_at > BEHIND
    if is_behind and trigger.segment.state == SegmentState.LIVE:
        Trigger.objects.filter(pk=trigger.pk).update(stayed_at=until, stayed_id=0)


def _transition(trigger: Trigger, row: tuple[int, datetime, int, str, int | None]) -> Transition:
    customer_id, entered_at, entry_no, cause, event_id = row
    at = entered_at + trigger.stay if trigger.stay else entered_at
    return Transition(trigger.segment_id, customer_id, True, at, entry_no, cause, event_id)

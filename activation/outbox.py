"""The outbox: what must be sent is queued with the change that caused it, and sent until it is.

Promises: one delivery for each trigger and entry; each reaches a healthy receiver at least once,
with the same id and the same bytes on every attempt until somebody sends it again; no order among
them.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django_q.tasks import async_task

from activation import (
    cancelling,
    destinations,
    dispatch,
    gates,
    messages,
    pruning,
    queueing,
    wakeups,
)
from activation.carriers import Answer, Part
from activation.messages import Occasion, Wish
from activation.models import (
    Attempt,
    Backlog,
    Delivery,
    Destination,
    On,
    Reason,
    Trigger,
    new_id,
)
from activation.sql import causes, waiting
from customers import clock, exact, identity
from segments.memberships import Transition
from segments.models import Cause, Membership, SegmentState

AT_ONCE = 1_000  # members that one slice takes, or messages that are sent again
SLICE_SECONDS = 5.0  # of a task that goes through existing members: sending may wait for it
REPLAY_SECONDS = 1.0  # that somebody waits for who has failed messages sent again
_REPLAY = "activation.outbox.replay_dead_on"
BEHIND_NEWS = timedelta(hours=1)  # existing members count as due for so long already
STALLED_AFTER = timedelta(seconds=30)


class ReplayError(ValueError):
    """A delivery cannot be sent again; says why."""


class NoCustomerError(ValueError):
    """There is no such customer to send a test for."""


class TestRefusedError(ValueError):
    """A test may not go there; says which member is at fault, and why."""

    __test__ = False  # no class of tests

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


def enqueue(transitions: Sequence[Transition]) -> None:
    """Queue a message for every trigger that waited for one of these changes of membership.

    Call it in the transaction of the changes: messages and memberships are true together, or
    neither is. What was queued before for the same entry is not queued again. Silent changes are
    passed over.
    """
    news = [transition for transition in transitions if not transition.is_silent]
    if not news:
        return
    wishes = [Wish(*row) for row in causes.lock_triggers([*{t.segment_id for t in news}])]
    queueing.queue([Occasion(wish, t) for t in news for wish in wishes if wish.wants(t)])


def deliver_due() -> None:
    """Send what is due: the task of the queue. It may run twice, or die in between."""
    dispatch.run()


def wake_due(now: datetime) -> int:
    """Queue the tasks that what is due by now still needs; return how many.

    Call it about once a second: nothing else wakes a retry, or finds out that a task has died.
    """
    pruning.now_and_then(now)
    cancelling.go_on()
    tasks = int(wakeups.heal(now))
    for trigger_id in _stalled(now).values_list("pk", flat=True):
        tasks += _revive(trigger_id, now)
    return tasks


def _stalled(now: datetime) -> "QuerySet[Backlog]":
    """What should get on and does not: its task has died, or its segment was still filling."""
    is_filled = Q(moved_at=None, trigger__segment__state=SegmentState.LIVE)
    return Backlog.objects.filter(is_filled | Q(moved_at__lt=now - STALLED_AFTER))


@transaction.atomic
def _revive(trigger_id: int, now: datetime) -> int:
    """Have existing members gone through again where that stopped, unless it goes on."""
    if not _stalled(now).filter(pk=trigger_id).update(moved_at=now):
        return 0
    async_task("activation.outbox.include_existing", trigger_id)
    return 1


def include_existing(trigger_id: int) -> None:
    """Queue messages for those who were in the segment before the trigger: a task of the queue.

    It commits slice by slice and goes on where it stopped. Who was sent for is not sent for
    again. A segment that is still filling is waited for.
    """
    until = time.monotonic() + SLICE_SECONDS
    while _include_slice(trigger_id):
        if time.monotonic() >= until:
            async_task("activation.outbox.include_existing", trigger_id)
            return


@transaction.atomic
def _include_slice(trigger_id: int) -> bool:
    """Queue messages for the next members; return whether to go on."""
    trigger = Trigger.objects.select_related("segment").filter(pk=trigger_id).first()
    if trigger is None:
        return False
    locked = {row[0]: Wish(*row) for row in causes.lock_triggers([trigger.segment_id])}
    backlog = Backlog.objects.select_for_update(skip_locked=True).filter(pk=trigger_id).first()
    if backlog is None or trigger_id not in locked:  # done, or switched off, or others do it
        return False
    if trigger.segment.state == SegmentState.FILLING:
        Backlog.objects.filter(pk=trigger_id).update(moved_at=None)
        return False
    rows = causes.read_members(trigger.segment_id, backlog.after_at, backlog.after_id, AT_ONCE)
    occasions = [Occasion(locked[trigger_id], _entry(trigger.segment_id, row)) for row in rows]
    queueing.queue(occasions, clock.now() - BEHIND_NEWS)
    if len(rows) < AT_ONCE:
        backlog.delete()
        return False
    backlog.after_id, backlog.after_at = rows[-1][:2]
    backlog.moved_at = clock.now()
    backlog.save()
    return True


def _entry(segment_id: int, row: tuple[int, datetime, int, str, int | None]) -> Transition:
    customer_id, entered_at, entry_no, cause, event_id = row
    return Transition(segment_id, customer_id, True, entered_at, entry_no, cause, event_id)


def replay(delivery: Delivery) -> None:
    """Send a message again, with the same id, however it ended; one that waits, at once.

    It goes where its trigger sends now. A held destination is tried. Raises ReplayError.
    """
    if delivery.is_test:
        raise ReplayError("This was a test. Send a new test instead.")
    if not delivery.body:
        raise ReplayError(f"There was no message. {delivery.last_error}")
    with transaction.atomic():
        destination_id = waiting.send_again(delivery.pk)
        if destination_id is None:
            raise ReplayError("It is being sent at this very moment.")
        Destination.objects.filter(pk=destination_id).update(held_until=None)
        wakeups.ask()


def replay_dead(*, trigger: Trigger | None = None, destination: Destination | None = None) -> int:
    """Send all messages again that have failed for good by now; return how many that are.

    It commits stretch by stretch; what is left after a second is a task of the queue.
    """
    trigger_id = trigger.pk if trigger else None
    destination_id = destination.pk if destination else None
    asked_at = clock.now()
    again, last = _replay_dead(trigger_id, destination_id, asked_at, None, REPLAY_SECONDS)
    if last is None:
        return again
    rest = Delivery.objects.dead().real().filter(dead_at__lte=asked_at, pk__gt=last)
    of = {"trigger": trigger_id, "destination": destination_id}
    rest = rest.filter(**{name: value for name, value in of.items() if value is not None})
    count = rest.count()
    async_task(_REPLAY, trigger_id, destination_id, asked_at, last)
    return again + count


def replay_dead_on(
    trigger_id: int | None, destination_id: int | None, until: datetime, after: UUID
) -> None:
    """Go on with that behind a message: a task of the queue, as long as any task may take."""
    _, last = _replay_dead(trigger_id, destination_id, until, after, SLICE_SECONDS)
    if last is not None:
        async_task(_REPLAY, trigger_id, destination_id, until, last)


def _replay_dead(
    trigger_id: int | None,
    destination_id: int | None,
    until: datetime,
    after: UUID | None,
    seconds: float,
) -> tuple[int, UUID | None]:
    """Do so for some seconds; return how many, and behind which to go on if there is more."""
    again, end = 0, time.monotonic() + seconds
    while True:
        with transaction.atomic():
            count, after = waiting.send_dead_again(
                trigger_id, destination_id, until, after, AT_ONCE
            )
            if count:
                wakeups.ask()
        again += count
        if count < AT_ONCE:
            return again, None
        if time.monotonic() >= end:
            return again, after


def send_test(trigger: Trigger, customer_id: int, to: str = "") -> Attempt:
    """Send what this trigger would send for this customer, now, and return what came of it.

    The message says that it is a test. It stands in the log, marked, and counts nowhere; it is
    not retried. An e-mail or SMS goes to the address `to`, if one is given; else it reaches the
    customer, and must be allowed to. Takes up to 15 seconds. Raises NoCustomerError,
    TestRefusedError.
    """
    body = sample(trigger, customer_id)
    channel = destinations.channel(trigger.destination)
    if to:
        body = _readdressed(body, channel, to)
    elif channel:
        _check_allowed(trigger, customer_id)
    delivery = Delivery(
        trigger=trigger,
        destination=trigger.destination,
        customer_id=customer_id,
        entry_no=_as_if(trigger, customer_id).entry_no,
        is_test=True,
        body=body,
    )
    answer = _carry(trigger.destination, delivery.pk, body)
    return _note_test(delivery, answer)


def sample(trigger: Trigger, customer_id: int) -> str:
    """Write what this trigger would send for this customer, marked as a test.

    Raises NoCustomerError.
    """
    occasion = Occasion(messages.wish_of(trigger), _as_if(trigger, customer_id))
    written = next(messages.write([occasion], is_test=True), None)
    if written is None:
        raise NoCustomerError(f"There is no customer {customer_id}.")
    return written.body


def _readdressed(body: str, channel: str, to: str) -> str:
    """Have a test go to another address than the customer's."""
    if not channel:
        raise TestRefusedError("to", "Only e-mails and SMS can go to another address.")
    address = identity.normalise(channel, to)
    if address is None:
        what = "e-mail address" if channel == identity.EMAIL else "phone number with its country"
        raise TestRefusedError("to", f"This is no {what}.")
    payload = exact.loads(body)
    payload["data"]["to"] = {channel: address}
    return exact.dumps(payload)


def _check_allowed(trigger: Trigger, customer_id: int) -> None:
    wish = messages.wish_of(trigger)._replace(quiet_from=None, quiet_until=None)
    verdict = gates.weigh([(wish, customer_id)], clock.now())[0]
    if verdict.reason in (Reason.NO_CONSENT, Reason.SUPPRESSED):
        text = "A test would really reach the customer: send it to an address of your own."
        raise TestRefusedError("customer", f"{verdict.note} {text}")


def _as_if(trigger: Trigger, customer_id: int) -> Transition:
    """The entry of this customer if there was one, else one as it could be."""
    entered = trigger.on != On.LEAVE
    member = Membership.objects.filter(segment=trigger.segment_id, customer=customer_id).first()
    if member is None:
        now = clock.now()
        return Transition(trigger.segment_id, customer_id, entered, now, 1, Cause.MANUAL)
    return Transition(
        trigger.segment_id,
        customer_id,
        entered,
        member.entered_at + (trigger.stay or timedelta()) if entered else clock.now(),
        member.entry_no,
        member.cause,
    )


@transaction.atomic
def _note_test(delivery: Delivery, answer: Answer) -> Attempt:
    now = clock.now()
    delivery.attempts_made = 1
    delivery.last_error = answer.error
    if answer.error:
        delivery.dead_at = now
    else:
        delivery.delivered_at = now
    delivery.save(force_insert=True)
    return Attempt.objects.create(
        delivery=delivery,
        at=now - timedelta(milliseconds=answer.ms),
        status=answer.status,
        ms=answer.ms,
        error=answer.error,
        response=answer.text.replace("\0", "\ufffd"),
    )


def send_ping(destination: Destination) -> Answer:
    """Send a message that only says which destination it is for, now; it stands in no log."""
    data = {"destination": exact.dumps(destination.key), "test": "true"}
    body = messages.envelope("destination.test", clock.now(), data)
    return _carry(destination, new_id(), body)


def _carry(destination: Destination, message_id: UUID, body: str) -> Answer:
    message = destinations.message(destination, [Part(message_id, body)])
    return destinations.carry(message, destination.kind)

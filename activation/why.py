"""“Why did she not get it?”: for a trigger and a customer, the reason in a sentence."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from activation import destinations, gates
from activation.messages import wish_of
from activation.models import Backlog, Delivery, On, Reason, State, Trigger
from activation.sql import causes
from customers import clock, formats
from segments.models import Cause, Membership, MembershipChange

CODES = (
    "delivered",
    "on_its_way",
    "retrying",
    "held_by_breaker",
    "destination_disabled",
    "quiet",
    "dead",
    "switched_off",
    "capped",
    "no_consent",
    "suppressed",
    "not_entered",
    "not_left",
    "not_long_enough",
    "before_switched_on",
    "entered_by_rule",
    "test_only",
    "forgotten",
)


class Why(NamedTuple):
    """Why a customer got a message or did not; the delivery that tells it, if there is one."""

    code: str
    sentence: str
    delivery: UUID | None = None
    at: datetime | None = None
    until: datetime | None = None


def why(trigger: Trigger, customer_id: int) -> Why:
    """Say what became of this trigger's latest message to a customer, or why there is none.

    What was sent to those who were merged into the customer counts as well.
    """
    now = clock.now()
    known_as = causes.read_merged(customer_id)
    rows = Delivery.objects.filter(trigger=trigger, customer_id__in=known_as).with_state(now)
    latest = rows.real().select_related("destination").order_by("-id").first()
    change = _latest_change(trigger, customer_id)
    if latest is not None and not _is_later(change, latest):
        return _of_delivery(latest)
    found = _without_delivery(trigger, customer_id, change, now)
    if test := rows.filter(is_test=True).order_by("-id").first():
        return Why("test_only", f"Only a test was sent. {found.sentence}", test.pk, test.created_at)
    return found


def _latest_change(trigger: Trigger, customer_id: int) -> MembershipChange | None:
    """The last time that what this trigger waits for was so."""
    wanted = {"customer": customer_id, "entered": trigger.on != On.LEAVE}
    return trigger.segment.changes.filter(**wanted).order_by("-at").first()


def _is_later(change: MembershipChange | None, delivery: Delivery) -> bool:
    """Whether a change came after the one that a delivery is for."""
    if change is None or change.customer_id != delivery.customer_id:
        return False
    return change.entry_no > delivery.entry_no


def _of_delivery(delivery: Delivery) -> Why:
    """The reason that a delivery tells by its state."""
    state = delivery.state  # type: ignore[attr-defined]
    if state == State.CANCELLED:
        code = delivery.reason or Reason.SWITCHED_OFF
        return Why(code, delivery.last_error, delivery.pk, delivery.cancelled_at)
    if state == State.HELD:
        return _held(delivery)
    code, text, at, until = {
        State.DELIVERED: ("delivered", "It was delivered", delivery.delivered_at, None),
        State.DEAD: ("dead", f"It failed for good: {delivery.last_error}", delivery.dead_at, None),
        State.RETRY: (
            "retrying",
            f"It is being tried again: {delivery.last_error}",
            delivery.created_at,
            delivery.due_at,
        ),
    }.get(state, ("on_its_way", "It is on its way", delivery.created_at, None))
    when = f", {formats.moment(at)}." if at and code == "delivered" else ""
    return Why(code, f"{text.rstrip('.')}{when or '.'}", delivery.pk, at, until)


def _held(delivery: Delivery) -> Why:
    destination = delivery.destination
    if delivery.reason == Reason.QUIET:
        text = f"It waits for the end of the quiet hours, {formats.moment(delivery.due_at)}."
        return Why("quiet", text, delivery.pk, delivery.created_at, delivery.due_at)
    text = f"It waits: “{destination}” {destinations.trouble(destination, clock.now())}"
    if not destination.is_enabled:
        return Why("destination_disabled", text, delivery.pk, delivery.created_at)
    return Why("held_by_breaker", text, delivery.pk, delivery.created_at, destination.held_until)


def _without_delivery(
    trigger: Trigger, customer_id: int, change: MembershipChange | None, now: datetime
) -> Why:
    if change is None:
        left = trigger.on == On.LEAVE
        verb, code = ("left", "not_left") if left else ("been in", "not_entered")
        return Why(code, f"The customer has never {verb} “{trigger.segment}”.")
    if trigger.on == On.STAY and (short := _too_short(trigger, customer_id, now)):
        return short
    if trigger.switched_on_at is None:
        return Why("switched_off", "The trigger was never switched on.", at=change.at)
    if change.at < trigger.switched_on_at and not trigger.include_existing:
        text = f"That was before the trigger was switched on, {_at(trigger.switched_on_at)}."
        return Why("before_switched_on", text, at=change.at)
    if change.cause == Cause.RULE and not trigger.include_existing:
        text = "The segment's rule brought that about, which is nobody's news."
        return Why("entered_by_rule", text, at=change.at)
    if not trigger.is_enabled:
        return Why("switched_off", "The trigger is switched off.", at=change.at)
    if Backlog.objects.filter(pk=trigger.pk).exists():
        text = "The trigger is still going through those who were in before it was switched on."
        return Why("on_its_way", text, at=change.at)
    return _otherwise(trigger, customer_id, change.at, now)


def _at(moment: datetime) -> str:
    return formats.moment(moment)


def _too_short(trigger: Trigger, customer_id: int, now: datetime) -> Why | None:
    member = Membership.objects.filter(customer=customer_id, segment=trigger.segment_id).first()
    if member is None:
        return Why("not_long_enough", f"The customer left “{trigger.segment}” before.")
    due_at = member.entered_at + trigger.stay if trigger.stay else member.entered_at
    if due_at <= now:
        return None
    text = f"The customer has not been in for long enough: that will be {_at(due_at)}."
    return Why("not_long_enough", text, at=member.entered_at, until=due_at)


def _otherwise(trigger: Trigger, customer_id: int, at: datetime, now: datetime) -> Why:
    verdict = gates.weigh([(wish_of(trigger), customer_id)], now)[0]
    if verdict.reason:
        return Why(verdict.reason, verdict.note, at=at, until=verdict.wait_until)
    return Why("forgotten", "That is so long ago that the log has forgotten it.", at=at)

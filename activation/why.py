"""“Why did she not get it?”: for a trigger and a customer, the reason in a sentence."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from activation import destinations, gates, obstacles
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
    "no_address",
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

    @property
    def advice(self) -> str:
        """What to do about it, if anything; "" for what was delivered."""
        if self.code in ("quiet", "not_long_enough") and self.until is None:
            return _ADVICE_IF_OVER[self.code]
        return _ADVICE.get(self.code, "")


_SWITCH_AGAIN = (
    "To send to those who are in already, switch the trigger off, and on again with the choice "
    "“as well”."
)
_ADVICE = {
    "on_its_way": "Nothing needs to be done: it goes out by itself.",
    "retrying": "Nothing needs to be done; “Send again” on its page does not wait.",
    "held_by_breaker": "It goes out once the destination answers again: nothing is lost. “Try the "
    "address” on the destination's page shows what is wrong with it.",
    "destination_disabled": "Resume the destination on its page: then what waits is sent.",
    "quiet": "Nothing needs to be done: it goes out by itself.",
    "dead": "Mend what the answer complains of, then press “Send again” on the message's page.",
    "switched_off": "Switch the trigger on. You are asked then about those who are in already.",
    "capped": "That is the trigger's “at most”: edit the trigger if it should send more often.",
    "no_consent": "Only the customer can change that. If they said yes elsewhere, note it under "
    "“Consent” on their profile.",
    "suppressed": "Take an address off the suppression list only if its owner wants that, or if it "
    "works again.",
    "no_address": "Add the address to the customer: it counts from the next time on.",
    "not_entered": "“Why?” beside a segment on the customer's profile shows which condition does "
    "not hold.",
    "not_left": "Nothing needs to be done: it is sent when the customer leaves.",
    "not_long_enough": "Nothing needs to be done: it is sent then, if the customer is still in.",
    "before_switched_on": _SWITCH_AGAIN,
    "entered_by_rule": _SWITCH_AGAIN,
    "test_only": "A test counts nowhere: what stands in the way is said here.",
}
_ADVICE_IF_OVER = {
    "quiet": "Let the trigger send such messages afterwards if they should arrive all the same.",
    "not_long_enough": "If the customer comes back, the time begins anew.",
}


def why(trigger: Trigger, customer_id: int) -> Why:
    """Say what became of this trigger's latest message to a customer, or why there is none.

    What was sent to those who were merged into the customer counts as well.
    """
    now = clock.now()
    known_as = causes.read_merged(customer_id)
    rows = Delivery.objects.filter(trigger=trigger, customer_id__in=known_as).with_state(now)
    latest = rows.real().select_related("destination", "trigger").order_by("-id").first()
    change = _latest_change(trigger, customer_id)
    if latest is not None and not _is_later(change, latest):
        return _of_delivery(latest, known_as)
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


def _of_delivery(delivery: Delivery, known_as: Sequence[int]) -> Why:
    """The reason that a delivery tells by its state."""
    state = delivery.state  # type: ignore[attr-defined]
    if state == State.CANCELLED:
        code, at = delivery.reason or Reason.SWITCHED_OFF, delivery.cancelled_at
        text = obstacles.describe(code, delivery.trigger, known_as, at or delivery.created_at)
        return Why(code, text, delivery.pk, at)
    if state == State.HELD:
        return _held(delivery)
    if state == State.PENDING:
        text = obstacles.queue(delivery)
        return Why("on_its_way", text, delivery.pk, delivery.created_at)
    code, text, at, until = {
        State.DELIVERED: ("delivered", "It was delivered", delivery.delivered_at, None),
        State.DEAD: ("dead", f"It failed for good: {delivery.last_error}", delivery.dead_at, None),
        State.RETRY: (
            "retrying",
            f"It is being tried again: {delivery.last_error}",
            delivery.created_at,
            delivery.due_at,
        ),
    }.get(state, ("on_its_way", "It is being sent at this moment", delivery.created_at, None))
    when = f", {formats.moment(at)}." if at and code == "delivered" else ""
    return Why(code, f"{text.rstrip('.')}{when or '.'}", delivery.pk, at, until)


def _held(delivery: Delivery) -> Why:
    destination = delivery.destination
    if delivery.reason == Reason.QUIET:
        text = f"It waits for the end of the quiet hours, {formats.moment(delivery.due_at)}."
        return Why("quiet", text, delivery.pk, delivery.created_at, delivery.due_at)
    text = f"It waits: “{destination}” {destinations.trouble(destination, clock.now())}"
    if delivery.last_error:
        text += f" What came back last: {delivery.last_error}"
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
        text = obstacles.describe(verdict.reason, trigger, [customer_id], now)
        return Why(verdict.reason, text, at=at, until=verdict.wait_until)
    return Why("forgotten", "That is so long ago that the log has forgotten it.", at=at)

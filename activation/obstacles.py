"""What kept a message back, as far as it can still be told: sentences for `why`."""

from collections.abc import Collection
from datetime import datetime, timedelta

from activation import gates
from activation.messages import wish_of
from activation.models import AtMost, Delivery, Reason, Trigger, Turn
from customers import formats, suppression
from customers.models import Consent, ConsentPurpose, Suppression

COUNTED = 10_000  # of those who wait before a message
_WHAT = {"email": "e-mail address", "phone": "phone number"}


def describe(reason: str, trigger: Trigger, known_as: Collection[int], at: datetime) -> str:
    """Say what stood in the way at an instant; the customer is the last of `known_as`.

    Where it cannot be told any more, what is said is the reason itself.
    """
    text = ""
    if reason == Reason.NO_CONSENT:
        text = _consent(trigger, known_as)
    elif reason == Reason.SUPPRESSED:
        text = _suppressed(trigger, known_as)
    elif reason == Reason.NO_ADDRESS:
        text = _no_address(trigger)
    elif reason == Reason.CAPPED:
        text = _capped(trigger, known_as, at)
    elif reason == Reason.QUIET:
        text = "It fell into the quiet hours, and such messages are not sent afterwards."
    return text or str(Reason(reason).label)


def _consent(trigger: Trigger, known_as: Collection[int]) -> str:
    """Never asked, refused, or agreed since: three different things to a marketer."""
    label = ConsentPurpose.objects.filter(key=trigger.purpose).first() or trigger.purpose
    decision = (
        Consent.objects.filter(customer__in=known_as, purpose=trigger.purpose)
        .order_by("-at")
        .first()
    )
    if not trigger.purpose:  # it asks for none any more
        return ""
    if decision is None:
        return f"The customer has never been asked about “{label}”."
    how = f" ({decision.via})" if decision.via else ""
    when = formats.moment(decision.at)
    if decision.granted:
        return f"The customer did not agree to “{label}” at that time, only since {when}{how}."
    return f"The customer has refused “{label}”, {when}{how}."


def _suppressed(trigger: Trigger, known_as: Collection[int]) -> str:
    for channel in gates.channels(wish_of(trigger)):
        own = {a for found in gates.addresses(known_as, channel).values() for a in found}
        for row in suppression.listed(channel, own):
            why = Suppression.Reason(row.reason).label.lower()
            return (
                f"The customer's {_WHAT[channel]} is on the suppression list since "
                f"{formats.moment(row.at)}: {why}."
            )
    return "The customer's address was on the suppression list at that time."


def _no_address(trigger: Trigger) -> str:
    named = [_WHAT[channel] for channel in gates.channels(wish_of(trigger))]
    return f"The customer had no {named[0]} at that time." if named else ""


def _capped(trigger: Trigger, known_as: Collection[int], at: datetime) -> str:
    turns = Turn.objects.filter(customer_id__in=known_as, trigger_id=trigger.pk, at__lte=at)
    turn = turns.order_by("-at").first()
    if turn is None or trigger.at_most == AtMost.EVERY_ENTRY:
        return ""
    had = f"The customer's last message of this trigger is of {formats.moment(turn.at)}"
    if trigger.at_most == AtMost.ONCE:
        return f"{had}, and it sends only one."
    return (
        f"{had}; it sends the next for an entry from {formats.moment(_free_at(trigger, turn))} on."
    )


def _free_at(trigger: Trigger, turn: Turn) -> datetime:
    return turn.at + timedelta(days=trigger.at_most_days or 0)


def queue(delivery: Delivery) -> str:
    """Say what a message waits for whose destination is well: its turn, mostly."""
    destination = delivery.destination
    before = Delivery.objects.waiting().filter(destination=destination, due_at__lt=delivery.due_at)
    count = before[: COUNTED + 1].count()
    if not count and not destination.rate:
        return "It is on its way."
    rate = ""
    if destination.rate:
        rate = f", which takes at most {formats.number(destination.rate)} requests a second"
    others = "1 other" if count == 1 else f"{formats.number(count)} others"
    if count > COUNTED:
        others = f"more than {formats.number(COUNTED)} others"
    place = f"It waits behind {others}" if count else "It is the next"
    return f"{place} to “{destination}”{rate}."

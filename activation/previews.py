"""What a destination would send for a customer, before it is stored."""

from activation import destinations, gates, messages
from activation.carriers import Part, Request
from activation.messages import Occasion, Wish
from activation.models import Delivery, Destination, new_id
from customers import clock, exact, lookups
from customers.masking import MASK, Mask
from customers.models import Customer
from segments.memberships import Transition
from segments.models import Cause

LOOKED_AT = 500  # of the newest customers, most of whom may be visitors


class NobodyError(ValueError):
    """There is no customer to show it for."""


def preview(destination: Destination, mask: Mask, customer_id: int | None = None) -> Request:
    """Show the request for a customer, else for a `sample`. Nothing is stored or sent.

    Raises DestinationError, NobodyError.
    """
    destinations.check(destination)
    if customer_id is None:
        found = sample(destination)
    else:
        found = lookups.current([customer_id]).get(customer_id, 0)
    entry = Transition(0, found, True, clock.now(), 1, Cause.MANUAL)
    occasion = Occasion(_WISH, entry)
    written = next(messages.write([occasion], is_test=True), None)
    if written is None:
        raise NobodyError("There is no such customer.")
    return shown(destination, Part(new_id(), written.body), mask)


def request_of(delivery: Delivery, mask: Mask) -> Request:
    """Show what is sent for a delivery, without what somebody may not see."""
    return shown(delivery.destination, Part(delivery.pk, delivery.body, delivery.words), mask)


def shown(destination: Destination, part: Part, mask: Mask) -> Request:
    """Show what a message becomes; what is masked is so before a template could hide it."""
    if mask.is_clear:
        return destinations.shown(destination, part)
    if destination.kind == "email":
        return Request("E-MAIL", MASK, {}, "Not shown: you may not see personal data.")
    body = exact.dumps(mask.json(exact.loads(part.body or "{}"), inside=True))
    return destinations.shown(destination, part._replace(body=body, sent=""))


def sample(destination: Destination) -> int:
    """Choose whom to show a message for: the newest who is known and can be reached, if anybody.

    Raises NobodyError.
    """
    newest = Customer.objects.current().order_by("-pk").values_list("pk", "external_id")[:LOOKED_AT]
    ids = [pk for pk, _ in newest]
    if not ids:
        raise NobodyError("There is no customer yet.")
    if channel := destinations.channel(destination):
        reached = {pk for pk, own in gates.addresses(ids, channel).items() if own}
        return next((pk for pk in ids if pk in reached), ids[0])
    return next((pk for pk, external_id in newest if external_id), ids[0])


_WISH = Wish(
    0,
    "example-trigger",
    "enter",
    True,
    0,
    0,
    "example",
    "Example segment",
    None,
    "days",
    "every_entry",
    "",
    None,
    None,
    "",
    "hold",
    "webhook",
    "",
)

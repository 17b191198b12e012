"""What a destination would send for a customer, before it is stored."""

from activation import destinations, messages
from activation.carriers import Part, Request
from activation.messages import Occasion, Wish
from activation.models import Delivery, Destination, new_id
from customers import clock, exact, lookups
from customers.masking import MASK, Mask
from customers.models import Customer
from segments.memberships import Transition
from segments.models import Cause


class NobodyError(ValueError):
    """There is no customer to show it for."""


def preview(destination: Destination, mask: Mask, customer_id: int | None = None) -> Request:
    """Show the request for a customer, else for the newest. Nothing is stored or sent.

    Raises DestinationError, NobodyError.
    """
    destinations.check(destination)
    found = _customer(customer_id)
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


def _customer(customer_id: int | None) -> int:
    if customer_id is not None:
        current = lookups.current([customer_id]).get(customer_id)
    else:
        newest = Customer.objects.current().order_by("-pk").values_list("pk", flat=True)
        current = newest.first()
    if current is None:
        raise NobodyError("There is no such customer.")
    return current


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

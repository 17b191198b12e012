"""What a destination would send for a customer, before it is stored."""

from activation import destinations, messages
from activation.carriers import Part, Request
from activation.messages import Occasion, Wish
from activation.models import Destination, new_id
from customers import clock, lookups
from customers.models import Customer
from segments.memberships import Transition
from segments.models import Cause


class NobodyError(ValueError):
    """There is no customer to show it for."""


def preview(destination: Destination, customer_id: int | None = None) -> Request:
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
    return destinations.shown(destination, Part(new_id(), written.body))


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

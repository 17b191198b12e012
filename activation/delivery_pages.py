"""The pages of deliveries: what was sent, what came back, and sending it again."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from activation import destinations, outbox, previews
from activation.models import Attempt, Delivery, Destination, State, Trigger
from customers import adminkit, clock, exact, formats, masking
from customers.models import Customer


def delivery_url(delivery: Delivery) -> str:
    """Return the address of a delivery's page."""
    return reverse("admin:activation_delivery_page", args=[delivery.pk])


def with_details(request: HttpRequest, deliveries: Sequence[Any]) -> list[Any]:
    """Give deliveries their last `attempt`, and their `customer` if the user may see customers."""
    may_see = request.user.has_perm("customers.view_customer")
    customer_ids = {delivery.customer_id for delivery in deliveries if may_see}
    customers = Customer.objects.in_bulk(customer_ids)
    newest = Attempt.objects.filter(delivery__in=[delivery.pk for delivery in deliveries])
    attempts = (
        newest.order_by("delivery_id", "-at", "-id").distinct("delivery_id").defer("response")
    )
    attempt_of = {attempt.delivery_id: attempt for attempt in attempts}
    for delivery in deliveries:
        delivery.customer = customers.get(delivery.customer_id)
        delivery.attempt = attempt_of.get(delivery.pk)
    return list(deliveries)


def show(request: HttpRequest, delivery: Any, *, may_change: bool) -> HttpResponse:
    """The page of a delivery, which has its `state`."""
    with_details(request, [delivery])
    sent = previews.request_of(delivery, masking.current())
    context = {
        "delivery": delivery,
        "now": clock.now(),
        "trouble": destinations.trouble(delivery.destination, clock.now()),
        "since_cause": _since_cause(delivery),
        "is_rewritten": _is_rewritten(delivery),
        "sent_request": sent._replace(body=pretty(sent.body)),
        "attempts": Attempt.objects.filter(delivery=delivery).order_by("-at", "-id"),
        "may_change": may_change,
        "may_see_customers": request.user.has_perm("customers.view_customer"),
    }
    return adminkit.page(
        request,
        "admin/activation/delivery.html",
        context,
        title=f"Message to {delivery.customer or 'a customer'}",
        model=Delivery,
    )


def _is_rewritten(delivery: Any) -> bool:
    """Whether the request is shown as it would be now: what was made of it is kept no longer."""
    is_plain = not {"template", "mapping", "subject", "body"} & delivery.destination.config.keys()
    return delivery.state == State.DELIVERED and not is_plain


def _since_cause(delivery: Delivery) -> str:
    """How long it took from what caused a message to its receipt; "" if that is not known."""
    if not (delivery.delivered_at and delivery.caused_at):
        return ""
    seconds = max(0.0, (delivery.delivered_at - delivery.caused_at).total_seconds())
    if seconds < 120:
        return f"{formats.number(round(seconds, 2))} s"
    return formats.ago(delivery.caused_at, delivery.delivered_at).removesuffix(" ago")


def pretty(text: str) -> str:
    """Indent JSON for reading; anything else stays as it is."""
    try:
        return exact.indented(masking.current().json(exact.loads(text), inside=True))
    except ValueError:
        return text


def again(request: HttpRequest, delivery: Delivery) -> HttpResponse:
    """Send one message again."""
    try:
        outbox.replay(delivery)
    except outbox.ReplayError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, "It is sent again, with the same id.")
    return adminkit.redirect(delivery_url(delivery))


def all_failed_again(
    request: HttpRequest, trigger: Trigger | None, destination: Destination | None
) -> HttpResponse:
    """Ask, then send all messages again that have failed for good, of one trigger or of all."""
    failed = Delivery.objects.dead().real()
    if trigger is not None:
        failed = failed.filter(trigger=trigger)
    if destination is not None:
        failed = failed.filter(destination=destination)
    back = reverse("admin:activation_delivery_changelist")
    if request.method == "POST":
        count = outbox.replay_dead(trigger=trigger, destination=destination)
        what = "1 message is" if count == 1 else f"{formats.number(count)} messages are"
        messages.success(request, f"{what} being sent again.")
        return adminkit.redirect(back)
    return adminkit.page(
        request,
        "admin/activation/again.html",
        {
            "trigger": trigger,
            "destination": destination,
            "count": adminkit.at_most(failed),
            "back": back,
        },
        title="Send all failed again",
        model=Delivery,
    )

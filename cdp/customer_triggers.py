"""From a customer's profile: ask a trigger why it sent them something or not, and try it."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from activation import trigger_pages, why
from activation.models import Trigger
from customers.models import Customer

_UNKNOWN = "Choose a trigger."


def offered(request: HttpRequest) -> dict[str, Any]:
    """Return what the card of triggers shows, to who may look at triggers."""
    may_ask = request.user.has_perm("activation.view_trigger")
    return {
        "triggers": list(Trigger.objects.order_by("name")) if may_ask else [],
        "may_test": may_ask and request.user.has_perm("activation.change_trigger"),
    }


def ask(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Say why the customer got the message of a trigger, or did not: a fragment."""
    if not request.user.has_perm("activation.view_trigger"):
        raise PermissionDenied
    trigger = _chosen(request.GET)
    if trigger is None:
        return render(request, "admin/activation/why.html", {"problem": _UNKNOWN})
    found = why.why(trigger, customer.pk)
    answer = {"why": found, "trigger": trigger, "customer_id": customer.pk}
    return render(request, "admin/activation/why.html", answer)


def test(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Send the message of a trigger for the customer, as a test; show what came of it."""
    if not request.user.has_perm("activation.change_trigger"):
        raise PermissionDenied
    trigger = _chosen(request.POST)
    if trigger is None:
        return render(request, "admin/activation/test_result.html", {"problem": _UNKNOWN})
    asked = request.POST.copy()
    asked["customer"], asked["sample"] = "", str(customer.pk)
    request.POST = asked  # type: ignore[assignment]
    return trigger_pages.send_test(request, trigger)


def _chosen(sent: QueryDict) -> Trigger | None:
    pk = sent.get("trigger", "")[:18]
    found = Trigger.objects.filter(pk=int(pk)) if pk.isdecimal() else Trigger.objects.none()
    return found.select_related("segment", "destination").first()

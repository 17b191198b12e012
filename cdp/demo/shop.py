"""The demo's shop: pages with the tag on them, and what the CDP knows of the visitor."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from cdp.demo import audience, state
from cdp.demo.catalogue import RECORD_OF, RECORDS
from cdp.demo.models import Message
from customers import formats
from customers.models import Customer
from events.models import Event, Source
from segments.models import Membership

_SHOWN = 8  # events
_OWN_PREFIXES = ("WEB-", "CD-")  # of the CustomerIds that the demo gives out


@never_cache
@require_safe
def page(request: HttpRequest, sku: str | None = None) -> HttpResponse:
    """Show the shop, opened at one record where the address names one."""
    source = state.shop_source()
    if source is None:
        return render(request, "demo/closed.html", status=404)
    if sku is not None and sku not in RECORD_OF:
        raise Http404("There is no such record.")
    records = [
        record._asdict() | {"url": reverse("demo:record", args=[record.sku])} for record in RECORDS
    ]
    config = {
        "me": reverse("demo:me"),
        "shop": reverse("demo:shop"),
        "currency": settings.CURRENCY,
        "goal": audience.BIG_SPENDERS,
        "records": [{**record, "price": float(record["price"])} for record in records],
    }
    context = {
        "records": records,
        "config": config,
        "write_key": source.write_key,
        "currency": settings.CURRENCY,
        "goal": audience.GOAL,
    }
    return render(request, "demo/shop.html", context)


@never_cache
@require_safe
def me(request: HttpRequest) -> JsonResponse:
    """Tell a visitor's own page what is known of that visitor.

    The anonymous id, which only that browser has, is the key to it. Nothing is told of customers
    that are not the demo's, whoever claims to be one of them.
    """
    source = state.shop_source()
    if source is None:
        return JsonResponse({"error": "The demo is not loaded."}, status=404)
    customer = _visitor(request.GET.get("anonymous_id", ""))
    seen = _profile(customer, source) if customer else {"is_known": False}
    return JsonResponse({"is_loading": not state.is_ready(), **seen})


def _visitor(anonymous_id: str) -> Customer | None:
    try:
        UUID(anonymous_id)
    except ValueError:
        return None
    customer = Customer.objects.filter(
        identifiers__kind="anonymous_id", identifiers__value=anonymous_id
    ).first()
    if customer and (customer.external_id or "WEB-").startswith(_OWN_PREFIXES):
        return customer
    return None


def _profile(customer: Customer, source: Source) -> dict[str, Any]:
    events = Event.objects.filter(customer=customer, source=source).select_related("name")
    latest = events.order_by("-occurred_at", "-id")[:_SHOWN]
    memberships = Membership.objects.filter(customer=customer).select_related("segment")
    return {
        "is_known": True,
        "customer_id": customer.external_id,
        "profile": reverse("admin:customers_customer_profile", args=[customer.pk]),
        "did": sorted(set(events.values_list("name__name", flat=True))),
        "events_count": events.count(),
        "events": [_line(event) for event in latest],
        "segments": [
            {"key": each.segment.key, "name": each.segment.name, "since": each.entered_at}
            for each in memberships.order_by("entered_at")
        ],
        "messages": Message.objects.filter(body__data__customer__id=customer.pk).count(),
    }


def _line(event: Event) -> dict[str, Any]:
    amount = None if event.amount is None else formats.money(event.amount, event.currency)
    return {"name": event.name.name, "at": event.occurred_at, "amount": amount}

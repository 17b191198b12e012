"""Forgetting: what this floor keeps of customers, and sources with all that came from them."""

from collections.abc import Collection
from datetime import datetime

from django.db.models import Exists, OuterRef

from customers import changes
from events.models import (
    Allowance,
    DiscoveredField,
    Event,
    EventName,
    Inbox,
    Quarantine,
    Receipt,
    Source,
    Waiting,
)

EVERYTHING = "everything"  # the fact that all segments of a customer must be looked at


def forget(customer_ids: Collection[int]) -> None:
    """Remove the events of these customers. A late copy of one is still known as a copy.

    Call it inside a transaction, after the floors above have forgotten them.
    """
    Event.objects.filter(customer__in=customer_ids).delete()


def forget_sources(source_ids: Collection[int]) -> None:
    """Remove sources with everything that came from them; their keys are refused from now on.

    Customers stay, and those who lose events are queued for the segments. Call it inside a
    transaction.
    """
    Source.objects.filter(pk__in=source_ids).delete()
    events = Event.objects.filter(source__in=source_ids)
    losers = {*events.values_list("customer_id", flat=True)}
    events.delete()
    for model in (Allowance, Inbox, Receipt, Quarantine, DiscoveredField, Waiting):
        model.objects.filter(source__in=source_ids).delete()
    changes.record(changes.Fact(customer_id, EVERYTHING) for customer_id in sorted(losers))


def forget_unused_names(since: datetime) -> None:
    """Take names that no event bears any more out of the catalogue, if first seen since then."""
    is_used = Exists(Event.objects.filter(name=OuterRef("pk")))
    EventName.objects.filter(~is_used, first_seen_at__gte=since).delete()

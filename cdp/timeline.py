"""What happened to one customer, newest first: events, segments, messages and merges in one line.

Pages follow each other by the last entry seen, so nothing is shown twice while more arrives.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q, QuerySet
from django.urls import reverse

from activation.models import Delivery
from customers import masking
from customers.models import Merge
from events.models import Event
from segments.models import MembershipChange

PAGE = 25
_DELIVERY = 2  # the rank of what has a UUID for an id
_DETAILS = 40  # properties of an event that are shown

ICONS = {
    "Page Viewed": "visibility",
    "Screen Viewed": "smartphone",
    "Product Viewed": "sell",
    "Product List Viewed": "view_list",
    "Products Searched": "search",
    "Product Added": "add_shopping_cart",
    "Product Removed": "remove_shopping_cart",
    "Cart Viewed": "shopping_cart",
    "Checkout Started": "shopping_cart_checkout",
    "Order Completed": "shopping_bag",
    "Order Refunded": "assignment_return",
    "Signed Up": "person_add",
    "Signed In": "login",
    "Signed Out": "logout",
    "Email Delivered": "mail",
    "Email Opened": "drafts",
    "Email Link Clicked": "ads_click",
    "Email Bounced": "unsubscribe",
    "Unsubscribed": "unsubscribe",
}
# What says most about an event in one line, the best first.
_TELLING = (
    "name",
    "title",
    "path",
    "url",
    "query",
    "campaign",
    "email_subject",
    "order_id",
    "orderId",
    "sku",
)


class Entry(NamedTuple):
    """One line of the timeline. `tone` is accent, good, bad or nothing; `details` open below."""

    at: datetime
    rank: int
    id: Any
    icon: str
    title: str
    tone: str = ""
    note: str = ""
    amount: Any = None
    currency: str | None = None
    origin: str = ""
    href: str = ""
    details: tuple[tuple[str, str], ...] = ()


class Position(NamedTuple):
    """Where a page ended: the next one holds what comes after this entry."""

    at: datetime
    rank: int
    id: str

    @classmethod
    def read(cls, text: str) -> "Position | None":
        """Read what `str` wrote; None for anything else."""
        try:
            at, rank, row_id = text.split("|")
            position = cls(datetime.fromisoformat(at), int(rank), row_id)
            UUID(row_id) if position.rank == _DELIVERY else int(row_id)
        except ValueError:
            return None
        return position if position.at.tzinfo else None

    def __str__(self) -> str:
        return f"{self.at.isoformat()}|{self.rank}|{self.id}"


class Page(NamedTuple):
    entries: list[Entry]
    end: Position | None  # None: nothing comes after


def page(customer_id: int, after: Position | None = None, show: str = "") -> Page:
    """Return the next entries of a customer's timeline.

    `show` is "" for everything, "segments", "deliveries", or the id of an event name.
    """
    rows = [_take(source, after) for source in _sources(customer_id, show)]
    merged = heapq.merge(*rows, key=lambda entry: entry.at, reverse=True)
    entries = [entry for entry, _ in zip(merged, range(PAGE + 1), strict=False)]
    if len(entries) <= PAGE:
        return Page(entries, None)
    last = entries[PAGE - 1]
    return Page(entries[:PAGE], Position(last.at, last.rank, str(last.id)))


class _Source(NamedTuple):
    """Rows of one table; of equal times, a lower rank comes first."""

    rank: int
    rows: QuerySet[Any]
    time: str
    entry: Any


def _sources(customer_id: int, show: str) -> Iterator[_Source]:
    events = Event.objects.filter(customer=customer_id).defer("context")
    events = events.select_related("name", "source")
    if show.isdecimal():
        events = events.filter(name=int(show))
    if not show or show.isdecimal():
        yield _Source(0, events, "occurred_at", _event)
    if show in ("", "segments"):
        changed = MembershipChange.objects.filter(customer=customer_id).select_related("segment")
        yield _Source(1, changed, "at", _membership)
    if show in ("", "deliveries"):
        sent = Delivery.objects.filter(customer_id=customer_id).select_related("trigger")
        yield _Source(_DELIVERY, sent.defer("body"), "created_at", _delivery)
    if not show:
        yield _Source(3, Merge.objects.filter(survivor=customer_id, undone_at=None), "at", _merge)


def _take(source: _Source, after: Position | None) -> Iterable[Entry]:
    rows = source.rows
    if after:
        older = Q(**{f"{source.time}__lt": after.at})
        same = Q(**{source.time: after.at})
        if source.rank > after.rank:
            older |= same
        elif source.rank == after.rank:
            older |= same & Q(id__lt=after.id)
        rows = rows.filter(older)
    return [source.entry(row) for row in rows.order_by(f"-{source.time}", "-id")[: PAGE + 1]]


def _event(row: Event) -> Entry:
    properties = masking.current().json(row.properties, inside=True)
    tone = "" if row.amount is None else "good" if row.amount > 0 else "bad"
    return Entry(
        row.occurred_at,
        0,
        row.id,
        ICONS.get(row.name.name, "radio_button_checked"),
        row.name.name,
        tone=tone,
        note=summary(properties),
        amount=row.amount,
        currency=row.currency,
        origin=row.source.name,
        details=tuple(_flat(properties))[:_DETAILS],
    )


def _membership(row: MembershipChange) -> Entry:
    return Entry(
        row.at,
        1,
        row.id,
        "group_add" if row.entered else "group_remove",
        f"{'Entered' if row.entered else 'Left'} “{row.segment}”",
        tone="accent",
        note=f"because of {row.get_cause_display()}",
        href=reverse("admin:segments_segment_page", args=[row.segment_id]),
    )


def _delivery(row: Delivery) -> Entry:
    icon, tone, note = "schedule_send", "", "waiting to be sent"
    if row.delivered_at:
        icon, tone, note = "mark_email_read", "accent", "sent"
    elif row.dead_at:
        icon, tone, note = "error", "bad", f"failed: {row.last_error}"
    elif row.cancelled_at:
        icon, tone, note = "cancel_schedule_send", "", f"not sent: {row.last_error or 'cancelled'}"
    test = "Test of trigger" if row.is_test else "Trigger"
    title, href = (
        f"{test} “{row.trigger}”",
        reverse("admin:activation_delivery_page", args=[row.id]),
    )
    return Entry(row.created_at, _DELIVERY, row.id, icon, title, tone, note, href=href)


def _merge(row: Merge) -> Entry:
    mask = masking.current()
    known_by = (
        ", ".join(mask.identifier(*key) for key in row.identifiers) or f"visitor {row.absorbed_id}"
    )
    return Entry(row.at, 3, row.id, "merge", "Recognised as the same person", "accent", known_by)


def summary(properties: Mapping[str, Any]) -> str:
    """Say in a few words what an event was about."""
    products = properties.get("products")
    if isinstance(products, list) and products:
        names = [str(p.get("name") or p.get("sku")) for p in products if isinstance(p, dict)]
        return ", ".join(name for name in names[:3] if name != "None")
    texts = (properties.get(key) for key in _TELLING)
    return next((str(text) for text in texts if isinstance(text, str | int) and text != ""), "")


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Write nested properties as lines of name and value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path} › {key}" if path else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _flat(inner, f"{path} {number}")
    elif value is not None:
        yield path, str(value)

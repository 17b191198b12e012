"""All that is known about one customer, for the profile page."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Count, Max, Q, Sum

from customers import columns, fields, forms, masking
from customers.models import Customer, CustomerField, FieldChange, Identifier
from events import amounts
from events.models import Event
from segments.models import Membership, Recheck

PURCHASE = "Order Completed"
_CHANGES_READ = 300  # of a customer, to say where the present values came from
FIELDS_SHOWN = 20  # of a group; the others on demand, or the rest of the page is far below

KINDS = {
    "customer_id": ("badge", "CustomerId"),
    "anonymous_id": ("devices", "Device"),
    "email": ("mail", "E-mail"),
    "phone": ("call", "Phone"),
}


class ShownField(NamedTuple):
    """A field with its value, and where that came from if we know."""

    field: CustomerField
    value: str
    source: str
    at: datetime | None
    previous: str
    href: str = ""  # where the value leads: a mailbox, a phone, a page
    may_open: bool = False  # its page, with its history


class Purchases(NamedTuple):
    """In the workspace's currency; refunds count against the revenue."""

    revenue: Decimal
    orders: int
    last_at: datetime | None


def field_groups(customer: Customer) -> list[tuple[str, list[ShownField]]]:
    """Return the customer's values by group; fields without one are left out."""
    known = fields.known()
    origins = _origins(customer)
    shown = [
        _shown(known.get(name) or CustomerField(name=name, label=""), value, origins.get(name))
        for name, value in customer.fields.items()
    ]
    order = {field.name: place for place, field in enumerate(columns.in_order(known.values()))}
    shown.sort(key=lambda one: (order.get(one.field.name, len(order)), one.field.name))
    groups: dict[str, list[ShownField]] = {}
    for one in shown:
        groups.setdefault(columns.group(one.field), []).append(one)
    return [*groups.items()]


def _origins(customer: Customer) -> dict[str, tuple[str, datetime, Any]]:
    """Find for each field the change that gave it its value: (source, when, value before)."""
    found: dict[str, tuple[str, datetime, Any]] = {}
    newest = FieldChange.objects.filter(customer=customer).order_by("-id")[:_CHANGES_READ]
    for change in newest:
        for name, (old, new) in change.changes.items():
            if new == customer.fields.get(name):  # not what a merge did not let stand
                found.setdefault(name, (change.source, change.at, old))
    return found


def _shown(
    field: CustomerField, value: Any, origin: tuple[str, datetime, Any] | None
) -> ShownField:
    source, at, old = origin or ("", None, None)
    previous = forms.display(field, old) if old is not None else ""
    is_hidden = masking.current().hides(field.name)
    return ShownField(
        field,
        forms.display(field, value),
        source,
        at,
        previous,
        "" if is_hidden else forms.address(field, value),
        may_open=field.pk is not None and not is_hidden,
    )


def empty_fields(customer: Customer) -> list[CustomerField]:
    return [field for name, field in fields.known().items() if name not in customer.fields]


def purchases(customer: Customer) -> Purchases:
    """Sum up what the customer bought."""
    orders = Q(name__name=PURCHASE)
    own_currency = Q(currency=settings.CURRENCY)
    counted = Event.objects.filter(customer=customer, name__name__in=(PURCHASE, amounts.REFUND))
    totals = counted.aggregate(
        revenue=Sum("amount", filter=own_currency),
        count=Count("id", filter=orders),
        last_at=Max("occurred_at", filter=orders),
    )
    return Purchases(totals["revenue"] or Decimal(0), totals["count"], totals["last_at"])


def memberships(customer: Customer) -> list[Membership]:
    """Return the segments the customer is in; `until` is when time alone may change that."""
    due = dict(Recheck.objects.filter(customer=customer).values_list("segment_id", "due_at"))
    found = Membership.objects.filter(customer=customer).select_related("segment").newest_first()
    rows: list[Any] = list(found)
    for row in rows:
        row.until = due.get(row.segment_id)
    return rows


def identities(customer: Customer) -> list[tuple[str, str, Identifier]]:
    """Return what the customer goes by, as (icon, kind for people, identifier)."""
    found = Identifier.objects.filter(customer=customer).order_by("-created_at")[:50]
    mask = masking.current()
    for row in found:
        row.value = mask.identifier(row.kind, row.value)
    return [(*KINDS.get(row.kind, ("tag", row.kind)), row) for row in found]


def event_types(customer: Customer) -> Sequence[Mapping[str, Any]]:
    """Return the events the customer has, the most frequent first: name, name_id and count."""
    counted = Event.objects.filter(customer=customer).values("name_id", "name__name")
    found: Any = counted.annotate(count=Count("id")).order_by("-count", "name__name")
    return list(found)

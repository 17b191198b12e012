"""What can be exported: the rows of each kind, in an order to go on in, and their columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.messages.storage.base import BaseStorage
from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.test import RequestFactory
from django.utils.dateparse import parse_datetime

from activation.delivery_api import DeliveryFilters
from activation.models import Delivery
from cdp.apikeys import ApiKeyUser
from cdp.customer_filters import CustomerFilters, MemberFilters
from customers import apikit, clock, consent, exact
from customers.consent.api import ConsentFilters, SuppressionFilters
from customers.masking import Mask
from customers.models import (
    Consent,
    ConsentPurpose,
    Customer,
    CustomerField,
    Identifier,
    Suppression,
)
from events.api import EventFilters
from events.models import Event, EventName
from segments.models import Membership, Segment

Row = Mapping[str, Any]


class _Silent(BaseStorage):
    """Takes what a list tells whoever looks at it; nobody looks."""

    def _get(self, *args: Any, **options: Any) -> Any:
        return [], True

    def _store(self, messages: Any, response: Any, *args: Any, **options: Any) -> list[Any]:
        return []


@dataclass(frozen=True)
class Kind:
    """Rows of `model`, read in the order of `order`, which tells any two apart.

    `columns` names the columns as they are at the beginning; `rows` turns a chunk of rows into
    values by column. `rows_of` finds what a query of the admin's list asks for, as the user may
    see it; it raises `ValueError`, `ValidationError` or `IncorrectLookupParameters` for what makes
    no sense. `base` are the rows that `filters` of the API choose from. A key needs `scopes`.
    """

    label: str
    model: type[Model]
    order: tuple[str, ...]
    columns: Callable[[], list[str]]
    rows: Callable[[Sequence[Any], Mask], list[Row]]
    rows_of: Callable[[QueryDict, Any], QuerySet[Any]]
    about: str
    scopes: tuple[str, ...]
    filters: type[apikit.StrictFilterSet] = apikit.StrictFilterSet
    base: Callable[[], QuerySet[Any]] | None = None
    seen_as: type[Model] | None = None  # whose list shows such rows, if the model has none

    def may_read(self, user: Any) -> bool:
        if isinstance(user, ApiKeyUser):
            needed = {f"{scope}:read" for scope in self.scopes}
            return user.key.revoked_at is None and needed <= {*user.key.scopes}
        meta = (self.seen_as or self.model)._meta
        return bool(user.has_perm(f"{meta.app_label}.view_{meta.model_name}"))

    def filtered(self, given: Mapping[str, str]) -> QuerySet[Any]:
        """Find rows by filters of the API. Raises its 400."""
        rows = self.base() if self.base else self.model._default_manager.all()
        return apikit.filtered(self.filters(given, rows)).order_by()


def as_listed(model: type[Model]) -> Callable[[QueryDict, Any], QuerySet[Any]]:
    """Find rows by the filters and the search of the admin's list of a model."""

    def rows_of(query: QueryDict, user: Any) -> QuerySet[Any]:
        request: Any = RequestFactory().get("/", query)
        request.user = user
        request.session = {}
        request._messages = _Silent(request)
        changes = admin.site._registry[model].get_changelist_instance(request)
        found: QuerySet[Any] = changes.queryset.order_by()
        return found

    return rows_of


def everything(model: type[Model]) -> Callable[[QueryDict, Any], QuerySet[Any]]:
    return lambda query, user: model._default_manager.order_by()


def _utc(at: datetime | None) -> str | None:
    return None if at is None else apikit.utc(at)


def _customer_columns() -> list[str]:
    names = CustomerField.objects.order_by("name").values_list("name", flat=True)
    purposes = ConsentPurpose.objects.order_by("key").values_list("key", flat=True)
    return [
        *("customerId", "id", "firstSeen", "lastSeen"),
        *names,
        *(consent.PREFIX + key for key in purposes),
    ]


def _customers(rows: Sequence[Customer], mask: Mask) -> list[Row]:
    decided = Consent.objects.filter(customer__in=[row.pk for row in rows])
    answers: dict[int, dict[str, bool]] = {}
    for customer_id, purpose, granted in decided.values_list("customer_id", "purpose", "granted"):
        answers.setdefault(customer_id, {})[consent.PREFIX + purpose] = granted
    return [
        {
            **(row.fields if mask.is_clear else mask.fields(row.fields)),
            **answers.get(row.pk, {}),
            "customerId": row.external_id,
            "id": row.pk,
            "firstSeen": _utc(row.first_seen_at),
            "lastSeen": _utc(row.last_seen_at),
        }
        for row in rows
    ]


def _events_of(query: QueryDict, user: Any) -> QuerySet[Event]:
    found = Event.objects.select_related("name", "source").order_by()
    if name := query.get("name"):
        found = found.filter(name__name=name)
    if (customer := query.get("customer", "")).isdecimal():
        found = found.filter(customer=int(customer))
    for parameter, lookup in (("since", "occurred_at__gte"), ("until", "occurred_at__lt")):
        if moment := parse_datetime(query.get(parameter, "")):
            found = found.filter(**{lookup: moment})
    return found


def _events(rows: Sequence[Event], mask: Mask) -> list[Row]:
    external_ids = _external_ids([row.customer_id for row in rows])
    return [
        {
            "customerId": external_ids.get(row.customer_id),
            "customer": row.customer_id,
            "event": row.name.name,
            "timestamp": _utc(row.occurred_at),
            "messageId": row.message_id,
            "source": row.source.key,
            "amount": row.amount,
            "currency": row.currency,
            "properties": exact.dumps(mask.json(row.properties, inside=True)),
        }
        for row in rows
    ]


def _external_ids(customer_ids: Sequence[int]) -> dict[int, str]:
    found = Identifier.objects.filter(kind="customer_id", customer__in=customer_ids)
    return dict(found.values_list("customer_id", "value"))


def _deliveries(rows: Sequence[Any], mask: Mask) -> list[Row]:
    external_ids = _external_ids([row.customer_id for row in rows])
    return [
        {
            "id": str(row.pk),
            "trigger": row.trigger.key,
            "destination": row.destination.key,
            "customerId": external_ids.get(row.customer_id),
            "customer": row.customer_id,
            "entryNo": row.entry_no,
            "test": row.is_test,
            "created": _utc(row.created_at),
            "delivered": _utc(row.delivered_at),
            "failed": _utc(row.dead_at),
            "cancelled": _utc(row.cancelled_at),
            "attempts": row.attempts_made,
            "error": mask.text(row.last_error),
        }
        for row in rows
    ]


def _fields(rows: Sequence[CustomerField], mask: Mask) -> list[Row]:
    return [
        {
            "name": row.name,
            "type": row.type,
            "label": row.label,
            "description": row.description,
            "personal": row.is_personal,
        }
        for row in rows
    ]


def _consents(rows: Sequence[Consent], mask: Mask) -> list[Row]:
    external_ids = _external_ids([row.customer_id for row in rows])
    return [
        {
            "customerId": external_ids.get(row.customer_id),
            "customer": row.customer_id,
            "purpose": row.purpose,
            "granted": row.granted,
            "at": _utc(row.at),
            "source": row.source,
            "via": row.via,
            "textVersion": row.text_version,
        }
        for row in rows
    ]


def _suppressions(rows: Sequence[Suppression], mask: Mask) -> list[Row]:
    return [
        {
            "kind": row.kind,
            "address": mask.identifier(row.kind, row.value),
            "reason": row.reason,
            "at": _utc(row.at),
            "source": row.source,
        }
        for row in rows
    ]


def _members(rows: Sequence[Membership], mask: Mask) -> list[Row]:
    external_ids = _external_ids([row.customer_id for row in rows])
    return [
        {
            "segment": row.segment.key,
            "customerId": external_ids.get(row.customer_id),
            "customer": row.customer_id,
            "entered": _utc(row.entered_at),
            "entryNo": row.entry_no,
        }
        for row in rows
    ]


def _members_of(query: QueryDict, user: Any) -> QuerySet[Membership]:
    found = Membership.objects.select_related("segment").order_by()
    key = query.get("segment", "").replace("\0", "")
    return found.filter(segment__key=key) if key else found


def _named(text: str) -> Callable[[], list[str]]:
    return text.split


KINDS: Mapping[str, Kind] = {
    "customers": Kind(
        "Customers",
        Customer,
        ("id",),
        _customer_columns,
        _customers,
        as_listed(Customer),
        "With all their fields and consents.",
        ("customers",),
        CustomerFilters,
        Customer.objects.current,
    ),
    "members": Kind(
        "Members of a segment",
        Membership,
        ("customer_id", "segment_id"),
        _named("segment customerId customer entered entryNo"),
        _members,
        _members_of,
        "Who is in which segment, and since when.",
        ("segments",),
        MemberFilters,
        lambda: Membership.objects.select_related("segment"),
        Segment,
    ),
    "events": Kind(
        "Events",
        Event,
        ("id",),
        _named("customerId customer event timestamp messageId source amount currency properties"),
        _events,
        _events_of,
        "What customers did, with the properties of each event.",
        ("events",),
        EventFilters,
        lambda: Event.objects.select_related("name", "source"),
        EventName,
    ),
    "deliveries": Kind(
        "Deliveries",
        Delivery,
        ("id",),
        _named(
            "id trigger destination customerId customer entryNo test created delivered failed"
            " cancelled attempts error"
        ),
        _deliveries,
        lambda query, user: as_listed(Delivery)(query, user).select_related(
            "trigger", "destination"
        ),
        "Messages that triggers sent, and what came of them.",
        ("activation", "customers"),
        DeliveryFilters,
        lambda: Delivery.objects.with_state(clock.now()).select_related("trigger", "destination"),
    ),
    "fields": Kind(
        "Customer fields",
        CustomerField,
        ("id",),
        _named("name type label description personal"),
        _fields,
        as_listed(CustomerField),
        "Their names, types and labels, without values.",
        ("customer-fields",),
    ),
    "consents": Kind(
        "Consents",
        Consent,
        ("customer_id", "purpose"),
        _named("customerId customer purpose granted at source via textVersion"),
        _consents,
        everything(Consent),
        "Who agreed to what, when, and how that is known.",
        ("consents",),
        ConsentFilters,
    ),
    "suppressions": Kind(
        "Suppressed addresses",
        Suppression,
        ("kind", "value"),
        _named("kind address reason at source"),
        _suppressions,
        everything(Suppression),
        "To which nothing is sent, and why.",
        ("consents",),
        SuppressionFilters,
    ),
}

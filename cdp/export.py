"""All that is known about one person, as JSON: what the law lets them ask for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from activation.api import DeliverySerializer
from activation.models import Delivery
from cdp.wire import ExactJSONRenderer
from customers import clock
from customers.api import (
    CustomerSerializer,
    DatedIdentifierSerializer,
    FieldChangeSerializer,
    MergeSerializer,
)
from customers.consent.api import ConsentChangeSerializer, ConsentSerializer
from customers.models import Consent, ConsentChange, Customer
from events.api import EventSerializer
from events.models import Event
from segments.models import Membership, MembershipChange
from segments.serializers import HistorySerializer, MembershipSerializer

AT_ONCE = 500  # rows in memory


class Section(NamedTuple):
    name: str
    rows: QuerySet[Any]
    serializer: Any


def person(customer: Customer) -> Iterator[bytes]:
    """Yield a JSON object: the customer, then a list for each kind of thing we know of them."""
    render = ExactJSONRenderer().render
    yield b'{"customer":' + render(CustomerSerializer(customer).data)
    for section in _sections(customer):
        yield f',"{section.name}":['.encode()
        show = section.serializer().to_representation
        for number, row in enumerate(section.rows.iterator(chunk_size=AT_ONCE)):
            yield (b"," if number else b"") + render(show(row))
        yield b"]"
    yield b"}"


def _sections(customer: Customer) -> list[Section]:
    events = Event.objects.filter(customer=customer).select_related("name", "source")
    memberships = Membership.objects.filter(customer=customer).select_related("segment")
    history = MembershipChange.objects.filter(customer=customer)
    deliveries = Delivery.objects.filter(customer_id=customer.pk)
    return [
        Section("identifiers", customer.identifiers.order_by("kind"), DatedIdentifierSerializer),
        Section("changes", customer.field_changes.order_by("id"), FieldChangeSerializer),
        Section("merges", customer.merges.order_by("id"), MergeSerializer),
        Section(
            "consents",
            Consent.objects.filter(customer=customer).order_by("purpose"),
            ConsentSerializer,
        ),
        Section(
            "consent_history",
            ConsentChange.objects.filter(customer=customer).order_by("id"),
            ConsentChangeSerializer,
        ),
        Section("events", events.order_by("id"), EventSerializer),
        Section("memberships", memberships.order_by("segment"), MembershipSerializer),
        Section(
            "membership_history",
            history.select_related("customer", "segment").order_by("id"),
            SegmentHistorySerializer,
        ),
        Section(
            "deliveries",
            deliveries.with_state(clock.now())
            .select_related("trigger", "destination")
            .prefetch_related("attempts")
            .order_by("id"),
            DeliverySerializer,
        ),
    ]


class SegmentHistorySerializer(HistorySerializer):
    def to_representation(self, change: MembershipChange) -> dict[str, Any]:
        return {"segment": change.segment.key, **super().to_representation(change)}

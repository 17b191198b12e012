"""Events over HTTP, for programs that read: what happened, who sends it, what was refused."""

from collections.abc import Mapping, Sequence
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, identity, lookups
from events import catalogue, quarantine
from events.mail import waiting
from events.models import Event, EventName, Quarantine, Source, Waiting

MAX_REPLAYED = 1_000  # events that one request sends through again


@extend_schema_field({"type": ["number", "null"]})
class AmountField(serializers.Field):
    """An exact number."""

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "object", "additionalProperties": True})
class ObjectField(serializers.Field):
    """JSON as it came."""

    def to_representation(self, value: Any) -> Any:
        return value


class EventSerializer(apikit.StrictModelSerializer):
    """Something a customer did. `context` is what was sent along, and our notes on it."""

    customer = serializers.IntegerField(source="customer_id")
    name = serializers.CharField(source="name.name")
    source = serializers.CharField(source="source.key", help_text="Its key.")  # type: ignore[assignment]
    amount = AmountField()
    properties = ObjectField()
    context = ObjectField(allow_null=True)  # type: ignore[assignment]

    class Meta:
        model = Event
        fields = [
            *("id", "customer", "name", "source", "message_id", "came_by", "occurred_at"),
            *("received_at", "amount", "currency", "properties", "context"),
        ]
        read_only_fields = fields


class EventFilters(apikit.StrictFilterSet):
    customer = django_filters.NumberFilter(method="by_customer", help_text="Our id of them.")
    customer_id = django_filters.CharFilter(method="by_customer_id", help_text="The CustomerId.")
    name = django_filters.CharFilter(method="by_name")
    source = django_filters.CharFilter(method="by_source", help_text="The key of a source.")
    since = apikit.InstantFilter("occurred_at", "gte")
    until = apikit.InstantFilter("occurred_at", "lt")

    def by_customer(self, found: QuerySet[Event], name: str, value: Any) -> QuerySet[Event]:
        customer_id = int(value) if value == int(value) and 0 < value < 2**63 else 0
        return found.filter(customer__in=[*lookups.current([customer_id]).values()])

    def by_customer_id(self, found: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        return found.filter(customer__in=[*lookups.by_external_id([value]).values()])

    def by_name(self, found: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        names = EventName.objects.filter(name=value).values_list("pk", flat=True)
        return found.filter(name__in=[*names])

    def by_source(self, found: QuerySet[Event], name: str, value: str) -> QuerySet[Event]:
        keys = Source.objects.filter(key=value).values_list("pk", flat=True)
        return found.filter(source__in=[*keys])


class EventViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Event]):
    """What customers did, as it was received, the latest first."""

    resource = "events"
    model = Event
    queryset = Event.objects.select_related("name", "source")
    serializer_class = EventSerializer
    filterset_class = EventFilters


class PropertySerializer(serializers.Serializer):
    name = serializers.CharField()
    types = serializers.ListField(child=serializers.CharField(), help_text="As in JSON.")
    example = serializers.JSONField(allow_null=True)


class EventNameSerializer(apikit.StrictModelSerializer):
    """A kind of event; its properties as some of its events have them."""

    name = serializers.CharField(read_only=True)
    first_seen = apikit.UtcDateTimeField(source="first_seen_at", read_only=True)
    last_seen = apikit.UtcDateTimeField(source="last_seen_at", read_only=True, allow_null=True)
    expected = serializers.BooleanField(
        source="is_expected",
        allow_null=True,
        required=False,
        help_text="Whether it is in the plan; null: not decided.",
    )
    properties = serializers.SerializerMethodField()

    class Meta:
        model = EventName
        fields = [
            *("id", "name", "description", "expected", "first_seen", "last_seen", "properties"),
        ]
        extra_kwargs = {"description": {"required": False}}

    @extend_schema_field(PropertySerializer(many=True))
    def get_properties(self, name: EventName) -> Sequence[Mapping[str, Any]]:
        found: Mapping[int, list[dict[str, Any]]] = self.context["properties"]
        return found.get(name.pk, [])


class EventNameFilters(apikit.StrictFilterSet):
    name = django_filters.CharFilter("name")
    search = django_filters.CharFilter("name", "icontains", help_text="Part of the name.")
    expected = django_filters.BooleanFilter("is_expected")


class EventNameViewSet(viewsets.GenericViewSet[EventName]):
    """The catalogue: every kind of event that has arrived."""

    resource = "events"
    model = EventName
    queryset = EventName.objects.all()
    serializer_class = EventNameSerializer
    filterset_class = EventNameFilters
    page_order = ("name",)
    lookup_value_regex = r"\d{1,9}"

    @extend_schema(responses=EventNameSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """A kind of event, with what its events are like."""
        return self._shown(self.get_object())

    @extend_schema(request=EventNameSerializer, responses=EventNameSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Say whether it is expected, and what it means. What is not expected is taken as well."""
        name = self.get_object()
        told = EventNameSerializer(name, data=request.data, partial=True)
        told.is_valid(raise_exception=True)
        return self._shown(told.save())

    def _shown(self, name: EventName) -> Response:
        context = {"properties": catalogue.properties([name.pk])}
        return Response(EventNameSerializer(name, context=context).data)

    @extend_schema(responses=EventNameSerializer(many=True))
    def list(self, request: Request) -> Response:
        """The kinds of events, by name."""
        page: Any = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        context = {"properties": catalogue.properties([name.pk for name in page])}
        return self.get_paginated_response(
            EventNameSerializer(page, many=True, context=context).data
        )


class QuarantineSerializer(apikit.StrictModelSerializer):
    """An event that was not taken: why, and the event as JSON, as far as it could be read."""

    source = serializers.CharField(source="source.key", default=None)  # type: ignore[assignment]

    class Meta:
        model = Quarantine
        fields = ["id", "source", "received_at", "call", "code", "message", "body", "replayed_at"]


class QuarantineFilters(apikit.StrictFilterSet):
    code = django_filters.CharFilter("code")
    source = django_filters.CharFilter("source__key")
    replayed = django_filters.BooleanFilter("replayed_at", "isnull", exclude=True)


class SelectionSerializer(apikit.StrictSerializer):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        min_length=1,
        max_length=MAX_REPLAYED,
    )


class RepeatedSerializer(serializers.Serializer):
    replayed = serializers.IntegerField(help_text="Those that had not been before.")


class QuarantineViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Quarantine]
):
    """Events that could not be taken; once the cause is mended, they can be sent through again."""

    resource = "events"
    model = Quarantine
    queryset = Quarantine.objects.prefetch_related("source")  # which may be gone
    serializer_class = QuarantineSerializer
    filterset_class = QuarantineFilters
    lookup_value_regex = r"\d{1,18}"

    @extend_schema(
        operation_id="quarantine_replay_many",
        request=SelectionSerializer,
        responses=RepeatedSerializer,
    )
    @action(detail=False, methods=["post"], url_path="replay")
    def replay_many(self, request: Request) -> Response:
        """Send these through again. What still cannot be taken comes back as a new row."""
        selection = SelectionSerializer(data=request.data)
        selection.is_valid(raise_exception=True)
        return Response({"replayed": quarantine.replay(selection.validated_data["ids"])})

    @extend_schema(request=None, responses=RepeatedSerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send this one through again, unless it was."""
        return Response({"replayed": quarantine.replay([self.get_object().pk])})


class WaitingSerializer(apikit.StrictModelSerializer):
    """What an e-mail tool reported of an address that no customer has yet: the event as JSON."""

    source = serializers.CharField(source="source.key", default=None)  # type: ignore[assignment]

    class Meta:
        model = Waiting
        fields = ["id", "email", "source", "received_at", "body"]


class WaitingFilters(apikit.StrictFilterSet):
    email = django_filters.CharFilter(method="by_email")
    source = django_filters.CharFilter("source__key")

    def by_email(self, found: QuerySet[Waiting], name: str, value: str) -> QuerySet[Waiting]:
        return found.filter(email=identity.normalise(identity.EMAIL, value))


class WaitingViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Waiting],
):
    """Events of e-mail addresses that no customer has yet; they join whoever gets the address."""

    resource = "events"
    model = Waiting
    queryset = waiting.listed()
    serializer_class = WaitingSerializer
    filterset_class = WaitingFilters
    lookup_value_regex = r"\d{1,18}"

"""Destinations, triggers and deliveries over HTTP."""

from typing import Any
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from activation import destinations, outbox, triggers
from activation.models import Attempt, Delivery, Destination, State, Trigger
from customers import apikit, clock, exact, lookups
from segments.models import Membership, Segment

KEY_OR_ID = "[-a-zA-Z0-9_]+"


class KeyedViewSet(viewsets.ModelViewSet):
    """Things that have a key; the id will do as well in their address."""

    resource = "activation"
    also_reads: tuple[str, ...] = ()
    lookup_field = "key"
    lookup_value_regex = KEY_OR_ID
    page_order = ("key",)

    def get_object(self) -> Any:
        wanted = self.kwargs["key"]
        rows = self.get_queryset()
        found = rows.filter(key=wanted).first()
        if found is None and wanted.isdigit():
            found = rows.filter(pk=int(wanted[:18])).first()
        if found is None:
            raise Http404
        self.check_object_permissions(self.request, found)
        return found


@extend_schema_field({"type": "object", "example": {"url": "https://receiver.example/hook"}})
class ConfigField(serializers.Field):
    """What a kind of destination needs; its own code says what is wrong with it."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class DestinationSerializer(apikit.StrictModelSerializer):
    new_secret = ""
    config = ConfigField()
    enabled = serializers.BooleanField(source="is_enabled", default=True)

    class Meta:
        model = Destination
        fields = [
            *("id", "key", "name", "kind", "config", "enabled", "disabled_because"),
            *("failures_in_a_row", "failing_since", "held_until", "created_at"),
        ]
        read_only_fields = [
            *("disabled_because", "failures_in_a_row", "failing_since", "held_until"),
            "created_at",
        ]

    def save(self, **more: Any) -> Destination:
        destination = self.instance or Destination()
        for name, value in self.validated_data.items():
            setattr(destination, name, value)
        try:
            self.new_secret = destinations.save(destination, edited=self.validated_data.keys())
        except destinations.DestinationError as error:
            raise apikit.refuse(error.member, str(error)) from error
        destination.refresh_from_db()
        self.instance = destination
        return destination


class NewDestinationSerializer(DestinationSerializer):
    secret = serializers.SerializerMethodField(help_text="Signs the messages. Shown only now.")

    class Meta(DestinationSerializer.Meta):
        fields = [*DestinationSerializer.Meta.fields, "secret"]

    def get_secret(self, destination: Destination) -> str:
        return self.new_secret


class TriedSerializer(serializers.Serializer):
    """What came of an attempt made for the request."""

    status = serializers.IntegerField(allow_null=True, help_text="null: there was no answer.")
    ms = serializers.IntegerField(help_text="How long it took, in milliseconds.")
    error = serializers.CharField(help_text="Empty for success.")
    response = serializers.CharField(help_text="The first 2 KB of the answer.")


class DestinationViewSet(KeyedViewSet):
    """Where messages go. A webhook's config is `{"url": …}`."""

    model = Destination
    queryset = Destination.objects.all()

    def get_serializer_class(self) -> type[DestinationSerializer]:
        return NewDestinationSerializer if self.action == "create" else DestinationSerializer

    def perform_destroy(self, instance: Destination) -> None:
        """Remove a destination, unless triggers send to it."""
        try:
            destinations.delete(instance)
        except destinations.DestinationError as error:
            raise apikit.Conflict(str(error), "in_use") from error

    @extend_schema(request=None, responses=TriedSerializer)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, key: str) -> Response:
        """Send a signed test message now, and return what came of it. Takes up to 15 s."""
        answer = outbox.send_ping(self.get_object())
        return Response(
            {
                "status": answer.status,
                "ms": answer.ms,
                "error": answer.error,
                "response": answer.text,
            }
        )


class TriggerSerializer(apikit.StrictModelSerializer):
    segment = serializers.SlugRelatedField(slug_field="key", queryset=Segment.objects.all())
    destination = serializers.SlugRelatedField(slug_field="key", queryset=Destination.objects.all())
    enabled = serializers.BooleanField(source="is_enabled", default=False)
    include_existing = serializers.BooleanField(
        default=False, help_text="Once switched on, also send for those who are in by then."
    )

    class Meta:
        model = Trigger
        fields = [
            *("id", "key", "name", "segment", "on", "destination", "enabled"),
            *("include_existing", "created_at"),
        ]
        read_only_fields = ["created_at"]

    def save(self, **more: Any) -> Trigger:
        trigger = self.instance or Trigger()
        for name, value in self.validated_data.items():
            setattr(trigger, name, value)
        try:
            triggers.save(trigger)
        except triggers.TriggerError as error:
            raise apikit.refuse(error.member, str(error)) from error
        trigger.refresh_from_db()
        self.instance = trigger
        return trigger


class SampleSerializer(apikit.StrictSerializer):
    customer = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text="Whom to send it for, by our id; the newest member if left out.",
    )


class RequestSerializer(serializers.Serializer):
    method = serializers.CharField()
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()


class TestedSerializer(TriedSerializer):
    delivery = serializers.UUIDField(help_text="Its place in the log, where it counts as a test.")
    customer = serializers.IntegerField()
    request = RequestSerializer()


class TriggerViewSet(KeyedViewSet):
    """When a customer enters or leaves a segment, send a message to a destination.

    Switched off (`"enabled": false`), nothing more goes out: what waits is cancelled.
    """

    model = Trigger
    queryset = Trigger.objects.select_related("segment", "destination")
    serializer_class = TriggerSerializer

    def perform_destroy(self, instance: Trigger) -> None:
        """Remove a trigger with its log."""
        triggers.delete(instance)

    @extend_schema(request=SampleSerializer, responses=TestedSerializer)
    @action(detail=True, methods=["post"], also_reads=("customers",))
    def test(self, request: Request, key: str) -> Response:
        """Send now what it would send for a customer, marked as a test. Takes up to 15 s."""
        trigger = self.get_object()
        sample = SampleSerializer(data=request.data)
        sample.is_valid(raise_exception=True)
        customer_id = _sample(trigger, sample.validated_data.get("customer"))
        attempt = outbox.send_test(trigger, customer_id)
        sent = destinations.request_of(attempt.delivery)
        return Response(
            {
                "delivery": str(attempt.delivery_id),
                "customer": customer_id,
                "status": attempt.status,
                "ms": attempt.ms,
                "error": attempt.error,
                "response": attempt.response,
                "request": sent._asdict(),
            }
        )


def _sample(trigger: Trigger, named: int | None) -> int:
    """Return the customer that was named, else the newest member; raises the 400."""
    if named is not None:
        current = lookups.current([named]).get(named)
        if current is None:
            raise apikit.refuse("customer", f"There is no customer {named}.", "unknown")
        return current
    newest = Membership.objects.filter(segment=trigger.segment_id).newest_first().first()
    if newest is None:
        raise apikit.refuse(
            "customer", "The segment has no members: name a customer to send it for.", "required"
        )
    return newest.customer_id


class AttemptSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = Attempt
        fields = ["at", "status", "ms", "error", "response"]


class DeliverySerializer(apikit.StrictModelSerializer):
    """`body` is what is sent, byte for byte the same on every attempt."""

    trigger = serializers.CharField(source="trigger.key")
    destination = serializers.CharField(source="destination.key")
    customer = serializers.IntegerField(source="customer_id")
    test = serializers.BooleanField(source="is_test")
    state = serializers.ChoiceField(State.choices)
    attempts = AttemptSerializer(many=True)
    body = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = [
            *("id", "trigger", "destination", "customer", "entry_no", "test", "state"),
            *("created_at", "due_at", "delivered_at", "last_error", "attempts", "body"),
        ]

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_body(self, delivery: Delivery) -> Any:
        return exact.loads(delivery.body)


class DeliveryFilters(apikit.StrictFilterSet):
    trigger = django_filters.CharFilter("trigger__key")
    destination = django_filters.CharFilter("destination__key")
    customer = django_filters.NumberFilter("customer_id")
    test = django_filters.BooleanFilter("is_test")
    state = django_filters.ChoiceFilter(choices=State.choices, method="by_state")
    since = apikit.InstantFilter("created_at", "gte")
    until = apikit.InstantFilter("created_at", "lt")

    def by_state(self, rows: Any, name: str, value: str) -> QuerySet[Delivery]:
        found: QuerySet[Delivery] = rows.in_state(value, clock.now())
        return found


class ReplaySerializer(apikit.StrictSerializer):
    """Which dead deliveries to send again; all of them if neither is named."""

    trigger = serializers.SlugRelatedField(
        slug_field="key", queryset=Trigger.objects.all(), required=False
    )
    destination = serializers.SlugRelatedField(
        slug_field="key", queryset=Destination.objects.all(), required=False
    )


class ReplayedSerializer(serializers.Serializer):
    replayed = serializers.IntegerField(help_text="How many are sent again.")


class DeliveryViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Delivery]
):
    """What was sent, is being sent, or could not be: the log, the newest first."""

    resource = "activation"
    also_reads = ("customers",)
    model = Delivery
    queryset = Delivery.objects.none()  # for the description, which is made without a database
    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilters
    lookup_value_regex = "[-0-9a-fA-F]{32,36}"
    page_order = ("-id",)

    def get_queryset(self) -> QuerySet[Delivery]:
        return (
            Delivery.objects.with_state(clock.now())
            .select_related("trigger", "destination")
            .defer("destination__secret")
            .prefetch_related("attempts")
        )

    def get_object(self) -> Delivery:
        try:
            wanted = UUID(self.kwargs["pk"])
        except ValueError:
            raise Http404 from None
        found = self.get_queryset().filter(pk=wanted).first()
        if found is None:
            raise Http404
        return found

    @extend_schema(request=None, responses=DeliverySerializer)
    @action(detail=True, methods=["post"])
    def replay(self, request: Request, pk: str) -> Response:
        """Send it again with the same id, however it ended; one that waits, at once."""
        try:
            outbox.replay(self.get_object())
        except outbox.ReplayError as error:
            raise apikit.Conflict(str(error), "not_replayable") from error
        return Response(DeliverySerializer(self.get_object()).data)

    @extend_schema(
        operation_id="deliveries_replay_dead",
        request=ReplaySerializer,
        responses=ReplayedSerializer,
    )
    @action(detail=False, methods=["post"], url_path="replay", filterset_class=None)
    def replay_dead(self, request: Request) -> Response:
        """Send all again that have failed for good, of a trigger, a destination, or of all."""
        which = ReplaySerializer(data=request.data)
        which.is_valid(raise_exception=True)
        replayed = outbox.replay_dead(**which.validated_data)
        return Response({"replayed": replayed}, status.HTTP_200_OK)

"""Deliveries over HTTP."""

from datetime import datetime
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

from activation import outbox
from activation.models import Attempt, Delivery, Destination, Reason, State, Trigger
from customers import apikit, clock, exact


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
            *("reason", "caused_at", "created_at", "due_at", "delivered_at", "last_error"),
            *("attempts", "body"),
        ]

    @extend_schema_field({"type": "object", "additionalProperties": True})
    def get_body(self, delivery: Delivery) -> Any:
        return exact.loads(delivery.body) if delivery.body else {}


class DeliveryFilters(apikit.StrictFilterSet):
    trigger = django_filters.CharFilter(method="by_trigger")
    destination = django_filters.CharFilter(method="by_destination")
    customer = django_filters.NumberFilter("customer_id")
    test = django_filters.BooleanFilter("is_test")
    state = django_filters.ChoiceFilter(choices=State.choices, method="by_state")
    reason = django_filters.ChoiceFilter(choices=Reason.choices, help_text="Why it was not sent.")
    since = apikit.InstantFilter(method="made_since")
    until = apikit.InstantFilter(method="made_until")

    # By id, which an index orders the log of each by: it does not know their keys.
    def by_trigger(self, rows: Any, name: str, value: str) -> Any:
        known = Trigger.objects.filter(key=value).values_list("pk", flat=True)
        return rows.filter(trigger__in=[*known])

    def by_destination(self, rows: Any, name: str, value: str) -> Any:
        known = Destination.objects.filter(key=value).values_list("pk", flat=True)
        return rows.filter(destination__in=[*known])

    def made_since(self, rows: Any, name: str, value: datetime) -> Any:
        return rows.made(since=value)

    def made_until(self, rows: Any, name: str, value: datetime) -> Any:
        return rows.made(until=value)

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

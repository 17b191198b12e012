"""Destinations over HTTP."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from activation import destinations, outbox, previews
from activation.keyed_api import KeyedViewSet
from activation.models import WEBHOOK, Destination
from activation.presets import PRESETS
from customers import apikit
from customers.masking import Mask

KIND_CHOICES = [(name, kind.label) for name, kind in destinations.KINDS.items()]


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
    kind = serializers.ChoiceField(KIND_CHOICES, default=WEBHOOK)
    enabled = serializers.BooleanField(source="is_enabled", default=True)
    rate = serializers.FloatField(
        required=False,
        allow_null=True,
        min_value=destinations.MIN_RATE,
        max_value=destinations.MAX_RATE,
        help_text="Requests a second at most; null: as fast as it answers.",
    )

    class Meta:
        model = Destination
        fields = [
            *("id", "key", "name", "kind", "config", "rate", "enabled", "disabled_because"),
            *("failures_in_a_row", "failing_since", "held_until", "has_asked"),
            *("old_secret_until", "created_at"),
        ]
        read_only_fields = [
            *("disabled_because", "failures_in_a_row", "failing_since", "held_until"),
            *("has_asked", "old_secret_until", "created_at"),
        ]

    def save(self, **more: Any) -> Destination:
        destination = self.instance or Destination()
        self._check_right(self.validated_data.get("kind", destination.kind))
        for name, value in self.validated_data.items():
            setattr(destination, name, value)
        try:
            self.new_secret = destinations.save(destination, edited=self.validated_data.keys())
        except destinations.DestinationError as error:
            raise apikit.refuse(error.member, str(error)) from error
        destination.refresh_from_db()
        self.instance = destination
        return destination

    def _check_right(self, kind: str) -> None:
        """Some kinds are for administrators; a key with the scope was made by one."""
        request = self.context["request"]
        is_key = request.auth is not None
        may = is_key or request.user.has_perm(destinations.ADMIN_RIGHT)
        if destinations.KINDS[kind].admin_only and not may:
            raise PermissionDenied("Only administrators may make such destinations.")


class NewDestinationSerializer(DestinationSerializer):
    secret = serializers.SerializerMethodField(
        help_text="Signs the messages; shown only now. Empty if such destinations sign nothing."
    )

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


class RotateSerializer(apikit.StrictSerializer):
    keep_hours = serializers.IntegerField(
        default=24,
        min_value=0,
        max_value=24 * 30,
        help_text="For how long messages are signed with the old secret as well.",
    )


class RotatedSerializer(serializers.Serializer):
    secret = serializers.CharField(help_text="The new one. Shown only now.")
    old_secret_until = serializers.DateTimeField(allow_null=True)


class PresetSerializer(serializers.Serializer):
    key = serializers.CharField()
    name = serializers.CharField()
    config = ConfigField()
    to_fill = serializers.CharField(help_text="What has to be replaced.")
    documentation = serializers.CharField()


class PresetsSerializer(serializers.Serializer):
    results = PresetSerializer(many=True)


class PreviewSerializer(apikit.StrictSerializer):
    kind = serializers.ChoiceField(KIND_CHOICES, default=WEBHOOK)
    config = ConfigField()
    customer = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text="By our id; if left out, the newest who is known and can be reached.",
    )


class PreviewedSerializer(serializers.Serializer):
    method = serializers.CharField()
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()
    html = serializers.CharField(help_text="Of an e-mail, as its receiver sees it; else empty.")


class DestinationViewSet(KeyedViewSet):
    """Where messages go. A webhook's config is `{"url": …}`, and more: see docs/webhooks.md.

    What is secret in a config is written as "(hidden)"; sent back like that, it stays as it is.
    """

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

    @extend_schema(request=None, responses=PresetsSerializer, filters=False)
    @action(detail=False, methods=["get"], pagination_class=None)
    def presets(self, request: Request) -> Response:
        """Configurations to begin with, for common tools; not tried against the real services."""
        return Response({"results": [preset._asdict() for preset in PRESETS]})

    @extend_schema(request=PreviewSerializer, responses=PreviewedSerializer)
    @action(detail=False, methods=["post"], also_reads=("customers",))
    def preview(self, request: Request) -> Response:
        """Show what a configuration would send for a customer; nothing is stored or sent."""
        asked = PreviewSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        draft = Destination(kind=given["kind"], config=given["config"])
        try:
            shown = previews.preview(draft, Mask(request.user), given.get("customer"))
        except destinations.DestinationError as error:
            raise apikit.refuse(error.member, str(error)) from error
        except previews.NobodyError as error:
            raise apikit.refuse("customer", str(error), "unknown") from error
        return Response(shown._asdict())

    @extend_schema(request=RotateSerializer, responses=RotatedSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, key: str) -> Response:
        """Make a new secret; for a while messages are signed with both."""
        destination = self.get_object()
        wanted = RotateSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        keep = timedelta(hours=wanted.validated_data["keep_hours"])
        secret = destinations.rotate(destination, keep)
        until = destination.old_secret_until
        return Response({"secret": secret, "old_secret_until": until and apikit.utc(until)})

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

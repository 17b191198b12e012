"""Triggers over HTTP."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from activation import forecast, outbox, previews, sentences, triggers, why
from activation.destination_api import TriedSerializer
from activation.keyed_api import KeyedViewSet
from activation.models import AtMost, Destination, On, QuietThen, Trigger, Unit
from activation.trigger_pages import RECENT
from customers import apikit, clock, lookups
from customers.masking import Mask
from segments.models import Membership, Segment

_CLEARED: dict[str, dict[str, Any]] = {
    "stay": {"stay_for": None},
    "quiet_hours": {"quiet_from": None, "quiet_until": None},
}
_MEMBER_OF = {
    "stay_for": "stay",
    "purpose": "consent",
    "quiet_from": "quiet_hours",
    "quiet_until": "quiet_hours",
    "quiet_zone_field": "quiet_hours",
}


class StaySerializer(apikit.StrictSerializer):
    last = serializers.IntegerField(min_value=1, max_value=1_000_000, source="stay_for")
    unit = serializers.ChoiceField(Unit.choices, source="stay_unit")


class QuietSerializer(apikit.StrictSerializer):
    """`from` and `until` are times of the day; they may pass midnight."""

    until = serializers.TimeField(source="quiet_until", format="%H:%M")
    time_zone_field = serializers.CharField(
        source="quiet_zone_field",
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="The customer field that tells the time zone; the workspace's if left out.",
    )
    then = serializers.ChoiceField(QuietThen.choices, source="quiet_then", required=False)

    def get_fields(self) -> dict[str, serializers.Field]:
        begins = serializers.TimeField(source="quiet_from", format="%H:%M")
        return {"from": begins, **super().get_fields()}


class TriggerSerializer(apikit.StrictModelSerializer):
    segment = serializers.SlugRelatedField(slug_field="key", queryset=Segment.objects.all())
    destination = serializers.SlugRelatedField(slug_field="key", queryset=Destination.objects.all())
    enabled = serializers.BooleanField(source="is_enabled", default=False)
    include_existing = serializers.BooleanField(
        default=False, help_text="Once switched on, also send for those who are in by then."
    )
    stay = StaySerializer(
        source="*", required=False, allow_null=True, help_text="With `on` stay: for how long."
    )
    consent = serializers.CharField(
        source="purpose",
        required=False,
        allow_blank=True,
        max_length=100,
        help_text="The key of a consent purpose: only who agrees to it is sent for.",
    )
    quiet_hours = QuietSerializer(source="*", required=False, allow_null=True)
    sentence = serializers.SerializerMethodField()

    class Meta:
        model = Trigger
        fields = [
            *("id", "key", "name", "segment", "on", "stay", "destination", "at_most"),
            *("at_most_days", "consent", "quiet_hours", "enabled", "include_existing"),
            *("sentence", "switched_on_at", "created_at"),
        ]
        read_only_fields = ["switched_on_at", "created_at"]
        extra_kwargs = {"at_most_days": {"min_value": 1, "max_value": triggers.MAX_DAYS}}

    def get_sentence(self, trigger: Trigger) -> str:
        return sentences.sentence(trigger)

    def to_internal_value(self, data: Any) -> Any:
        """A null stands for none of the members of what it is instead of."""
        if not isinstance(data, dict):
            return super().to_internal_value(data)
        nulls = [member for member in _CLEARED if data.get(member, "") is None]
        given = {name: value for name, value in data.items() if name not in nulls}
        values = super().to_internal_value(given)
        for member in nulls:
            values |= _CLEARED[member]
        return values

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse what the sentence has no place for, rather than forget it."""
        on = attrs.get("on") or (self.instance.on if self.instance else On.ENTER)
        if attrs.get("stay_for") and on != On.STAY:
            raise apikit.refuse("stay", "This goes with `on` stay only.")
        stored = self.instance.at_most if self.instance else AtMost.EVERY_ENTRY
        if attrs.get("at_most_days") and attrs.get("at_most", stored) != AtMost.ONCE_PER_DAYS:
            raise apikit.refuse("at_most_days", "This goes with `at_most` once_per_days only.")
        return attrs

    def to_representation(self, instance: Trigger) -> Any:
        shown = super().to_representation(instance)
        if not instance.stay_for:
            shown["stay"] = None
        if instance.quiet_from is None:
            shown["quiet_hours"] = None
        return shown

    def save(self, **more: Any) -> Trigger:
        trigger = self.instance or Trigger()
        for name, value in self.validated_data.items():
            setattr(trigger, name, value)
        try:
            triggers.save(trigger)
        except triggers.TriggerError as error:
            raise apikit.refuse(_MEMBER_OF.get(error.member, error.member), str(error)) from error
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
    to = serializers.CharField(
        required=False,
        max_length=200,
        help_text="For e-mails and SMS: the address it goes to instead of the customer's.",
    )


class RequestSerializer(serializers.Serializer):
    method = serializers.CharField()
    url = serializers.CharField()
    headers = serializers.DictField(child=serializers.CharField())
    body = serializers.CharField()
    html = serializers.CharField(help_text="Of an e-mail, as its receiver sees it; else empty.")


class TestedSerializer(TriedSerializer):
    delivery = serializers.UUIDField(help_text="Its place in the log, where it counts as a test.")
    customer = serializers.IntegerField()
    request = RequestSerializer()


class CountSerializer(serializers.Serializer):
    messages = serializers.IntegerField()
    left_out = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="How many more there would be but for a reason, by reason.",
    )
    at_least = serializers.BooleanField(help_text="There is more than was looked at.")


class ForecastSerializer(serializers.Serializer):
    since = apikit.UtcDateTimeField()
    would_have_sent = CountSerializer()
    existing = CountSerializer(help_text="At once, with `include_existing`.")


class ReasonSerializer(serializers.Serializer):
    code = serializers.ChoiceField(why.CODES)
    sentence = serializers.CharField()
    advice = serializers.CharField(help_text="What to do about it; empty if nothing.")
    delivery = serializers.UUIDField(allow_null=True)
    at = apikit.UtcDateTimeField(allow_null=True, help_text="When that came about.")
    until = apikit.UtcDateTimeField(allow_null=True, help_text="When it may change by itself.")


class TriggerViewSet(KeyedViewSet):
    """When a customer enters, leaves or stays in a segment, send a message to a destination.

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
        """Send now what it would send for a customer, marked as a test. Takes up to 15 s.

        An e-mail or SMS really reaches the customer, unless you say where it is to go instead.
        """
        trigger = self.get_object()
        sample = SampleSerializer(data=request.data)
        sample.is_valid(raise_exception=True)
        given = sample.validated_data
        customer_id = _sample(trigger, given.get("customer"))
        try:
            attempt = outbox.send_test(trigger, customer_id, given.get("to", ""))
        except outbox.TestRefusedError as error:
            raise apikit.refuse(error.member, str(error)) from error
        sent = previews.request_of(attempt.delivery, Mask(request.user))
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

    @extend_schema(responses=ForecastSerializer)
    @action(detail=True, methods=["get"])
    def forecast(self, request: Request, key: str) -> Response:
        """The dry run: what it would have sent in the last 7 days, and would at once."""
        trigger, now = self.get_object(), clock.now()
        return Response(
            {
                "since": apikit.utc(now - RECENT),
                "would_have_sent": _shown(forecast.past(trigger, now - RECENT, now)),
                "existing": _shown(forecast.existing(trigger, now)),
            }
        )

    @extend_schema(
        parameters=[
            OpenApiParameter("customer", int, description="Our id of the customer."),
            OpenApiParameter("customer_id", str, description="Or the CustomerId."),
        ],
        responses=ReasonSerializer,
    )
    @action(detail=True, methods=["get"], also_reads=("customers",))
    def why(self, request: Request, key: str) -> Response:
        """Why a customer got a message, or did not."""
        trigger = self.get_object()
        customer_id = _asked(request)
        return Response(ReasonSerializer(why.why(trigger, customer_id)).data)


def _shown(found: forecast.Forecast) -> dict[str, Any]:
    return {
        "messages": found.messages,
        "left_out": found.left_out,
        "at_least": found.is_capped,
    }


def _asked(request: Request) -> int:
    """Return the customer that the query names, by our id or the CustomerId; raises the 400."""
    named = request.query_params.get("customer", "")
    external_id = request.query_params.get("customer_id", "")
    if not named and not external_id:
        raise apikit.refuse("customer", "Say whom: customer or customer_id.", "required")
    if named:
        ids = [int(named)] if named.isdecimal() and len(named) < 19 else []
        known = [*lookups.current(ids).values()]
    else:
        known = [*lookups.by_external_id([external_id]).values()]
    if not known:
        member = "customer" if named else "customer_id"
        raise apikit.refuse(member, "There is no such customer.", "unknown")
    return known[0]


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

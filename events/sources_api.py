"""Sources over HTTP: who sends us events, with what key, and what they call things."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit
from events import mapping, sources
from events.api import AmountField, ObjectField
from events.mail import providers
from events.mapping import trial
from events.mapping.presets import EVERY
from events.models import Source, SourceKind


@extend_schema_field({"type": "string", "pattern": "^[A-Za-z]{3}$"})
class CurrencyField(serializers.RegexField):
    """Three letters, or none for the workspace's own currency."""

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^[A-Za-z]{3}\Z", **options)

    def to_internal_value(self, data: Any) -> str:
        return str(super().to_internal_value(data)).upper()


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            "presets": {"type": "array", "items": {"enum": [*EVERY]}},
            **{
                part: {"type": "object", "additionalProperties": {"type": "string"}}
                for part in ("events", "properties", "numbers", "dates")
            },
            "values": {"type": "object", "additionalProperties": {"type": "object"}},
        },
        "additionalProperties": False,
    }
)
class MappingField(serializers.JSONField):
    """What a source calls things, and what we call them."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return mapping.check(super().to_internal_value(data))
        except mapping.MappingError as error:
            raise serializers.ValidationError(str(error), "bad_mapping") from error


class SourceSerializer(apikit.StrictModelSerializer):
    """Somebody that sends us events. A till (`store`) counts as offline unless told otherwise."""

    key = serializers.SlugField(max_length=sources.KEY_LENGTH, required=False)
    kind = serializers.ChoiceField(SourceKind.choices, default=SourceKind.WEBSITE)
    currency = CurrencyField(
        required=False, allow_blank=True, help_text="For amounts that name none."
    )
    enabled = serializers.BooleanField(source="is_enabled", default=True)
    provider = serializers.ChoiceField(
        [("", "None"), *providers.CHOICES], required=False, help_text="That sends the e-mails."
    )
    mapping = MappingField(required=False)
    hook_secret = serializers.CharField(
        write_only=True,
        required=False,
        allow_blank=True,
        help_text="Its signing key; of SES the topic's ARN.",
    )
    created_at = apikit.UtcDateTimeField(read_only=True)

    class Meta:
        model = Source
        fields = [
            *("key", "name", "kind", "channel", "currency", "enabled", "creates_fields"),
            *("may_overwrite", "rate_limit", "needs_consent", "provider", "hook_secret"),
            "mapping",
            *("creates_recipients", "created_at"),
        ]
        optional = (
            *("channel", "creates_fields", "may_overwrite", "rate_limit", "needs_consent"),
            "creates_recipients",
        )
        extra_kwargs = {name: {"required": False} for name in optional}

    def validate_key(self, key: str) -> str:
        if self.instance is not None and key != self.instance.key:
            raise serializers.ValidationError("The key cannot change; make another source.")
        if self.instance is None and Source.objects.filter(key=key).exists():
            raise serializers.ValidationError("There is a source of this key already.", "exists")
        return key

    def create(self, validated_data: dict[str, Any]) -> Source:
        return sources.create(**validated_data)

    def update(self, instance: Source, validated_data: dict[str, Any]) -> Source:
        for name, value in validated_data.items():
            setattr(instance, name, value)
        sources.save(instance)
        return instance


class NewSourceSerializer(SourceSerializer):
    """A source with its write key, which is shown this once, and where an e-mail tool reports."""

    write_key = serializers.CharField(read_only=True)
    hook_path = serializers.SerializerMethodField()

    class Meta(SourceSerializer.Meta):
        fields = [*SourceSerializer.Meta.fields, "write_key", "hook_path"]

    @extend_schema_field({"type": ["string", "null"]})
    def get_hook_path(self, source: Source) -> str | None:
        return f"/hooks/email/{source.hook_token}/" if source.hook_token else None


class TrialSerializer(apikit.StrictSerializer):
    """An event to try, and a mapping instead of the source's own."""

    event = serializers.DictField()
    mapping = MappingField(required=False)


class TrialIdentifierSerializer(serializers.Serializer):
    kind = serializers.CharField()
    value = serializers.CharField()


class TrialOutcomeSerializer(serializers.Serializer):
    """What would become of an event: what it counts as, or the code and message of a refusal."""

    after = ObjectField()
    name = serializers.CharField(allow_null=True)
    identifiers = TrialIdentifierSerializer(many=True)
    amount = AmountField()
    currency = serializers.CharField(allow_null=True)
    occurred_at = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    message = serializers.CharField()


class SourceViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet[Source],
):
    """Who may send us events."""

    resource = "sources"
    model = Source
    queryset = Source.objects.all()
    serializer_class = SourceSerializer
    lookup_field = "key"
    lookup_value_regex = r"[-\w]{1,50}"
    reading_actions = ("try_out",)

    @extend_schema(request=SourceSerializer, responses={201: NewSourceSerializer})
    def create(self, request: Request) -> Response:
        """Make a source; the answer shows its write key, this once."""
        new = SourceSerializer(data=request.data)
        new.is_valid(raise_exception=True)
        return Response(NewSourceSerializer(new.save()).data, status.HTTP_201_CREATED)

    @extend_schema(request=TrialSerializer, responses=TrialOutcomeSerializer)
    @action(detail=True, methods=["post"], url_path="try")
    def try_out(self, request: Request, key: str) -> Response:
        """Say what would become of an event of the source, storing nothing."""
        source = self.get_object()
        asked = TrialSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data.get("mapping", source.mapping)
        outcome = trial.of(source, asked.validated_data["event"], given)._asdict()
        pairs = [{"kind": kind, "value": value} for kind, value in outcome["identifiers"]]
        return Response(TrialOutcomeSerializer({**outcome, "identifiers": pairs}).data)

    @extend_schema(request=None, responses=NewSourceSerializer)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, key: str) -> Response:
        """Give the source a new write key, shown this once; the old one is refused from now on."""
        source = self.get_object()
        sources.rotate(source)
        return Response(NewSourceSerializer(source).data)

"""The shapes of segments over HTTP: what is taken and checked, and what is answered."""

from datetime import datetime
from typing import Any, NoReturn

import django_filters
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from customers import apikit
from customers.api import CustomerSerializer
from segments import definitions, operands, parsing, visibility
from segments.models import (
    Audience,
    MembershipChange,
    Segment,
    SegmentKind,
    SegmentState,
)

MAX_IDS = 10_000  # customers that one request adds or removes
RESERVED_KEYS = ("preview",)  # words of the address


@extend_schema_field({"type": "object", "description": "A rule of docs/rules.md."})
class RuleField(serializers.Field):
    """A rule as JSON; its reader says what is wrong with it."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class SegmentSerializer(apikit.StrictModelSerializer):
    """`progress` of the first filling goes from 0 to 1; members change at once from then on."""

    kind = serializers.ChoiceField(SegmentKind.choices, default=SegmentKind.DYNAMIC)
    rule = RuleField(required=False, allow_null=True, default=None)
    size = serializers.IntegerField(read_only=True)
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Segment
        fields = [
            *("key", "name", "kind", "audience", "rule", "state", "progress", "size"),
            *("sentence", "created_at", "updated_at"),
        ]

    def get_progress(self, segment: Segment) -> float:
        if segment.state == SegmentState.LIVE or not segment.fill_until:
            return 1.0
        return round(segment.fill_after / segment.fill_until, 3)

    def validate_key(self, key: str) -> str:
        if key in RESERVED_KEYS:
            raise serializers.ValidationError("This word has a meaning here; choose another key.")
        return self._unchanged("key", key)

    def validate_kind(self, kind: str) -> str:
        return self._unchanged("kind", kind)

    def _unchanged(self, name: str, value: str) -> str:
        if self.instance is not None and value != getattr(self.instance, name):
            raise serializers.ValidationError(f"The {name} cannot change; make another segment.")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        kind = attrs.get("kind") or getattr(self.instance, "kind", None)
        rule = attrs["rule"] if "rule" in attrs else getattr(self.instance, "rule", None)
        if kind == SegmentKind.STATIC and rule is not None:
            raise apikit.refuse("rule", "A segment kept by hand has no rule.")
        if kind == SegmentKind.DYNAMIC and rule is None:
            raise apikit.refuse("rule", "A segment needs a rule, unless its kind is static.")
        return attrs

    def save(self, **more: Any) -> Segment:
        """Store the segment and start its filling."""
        segment = self.instance or Segment()
        is_edited = self.validated_data.get("rule", segment.rule) != segment.rule
        for name, value in self.validated_data.items():
            setattr(segment, name, value)
        try:
            if is_edited:
                visibility.check(segment.rule)
            definitions.save(segment)
        except parsing.RuleError as error:
            refuse_rule(error)
        self.instance = segment
        return segment


def refuse_rule(error: parsing.RuleError) -> NoReturn:
    """Raise the 400 that points into the rule."""
    raise apikit.refuse(f"rule.{error.path}" if error.path else "rule", error.message) from error


class QuestionSerializer(apikit.StrictSerializer):
    rule = RuleField()
    audience = serializers.ChoiceField(Audience.choices, default=Audience.EVERYONE)
    as_of = apikit.UtcDateTimeField(
        required=False, allow_null=True, default=None, help_text="An instant; now if left out."
    )
    members = serializers.BooleanField(
        default=False, help_text="Also list the ids of up to 100,000 customers."
    )

    def validate_as_of(self, as_of: datetime | None) -> datetime | None:
        if as_of and not operands.MIN_YEAR <= as_of.year <= operands.MAX_YEAR:
            between = f"{operands.MIN_YEAR} and {operands.MAX_YEAR}"
            raise serializers.ValidationError(f"The year must be between {between}.")
        return as_of


class ConditionCountSerializer(serializers.Serializer):
    path = serializers.CharField(help_text="Where it stands in the rule, as in all.0.")
    sentence = serializers.CharField()
    count = serializers.IntegerField(help_text="Customers for whom it holds by itself.")


class PreviewSerializer(serializers.Serializer):
    count = serializers.IntegerField()
    total = serializers.IntegerField(help_text="All customers there are.")
    sentence = serializers.CharField()
    conditions = ConditionCountSerializer(many=True)
    sample = CustomerSerializer(many=True)
    members = serializers.ListField(child=serializers.IntegerField(), required=False)


class MemberSerializer(serializers.Serializer):
    id = serializers.IntegerField(source="customer_id", help_text="Ours.")
    customer_id = serializers.CharField(source="customer.external_id", allow_null=True)
    entered_at = apikit.UtcDateTimeField()
    entry_no = serializers.IntegerField(help_text="Counts re-entries up from 1.")
    cause = serializers.CharField()


class HistorySerializer(serializers.Serializer):
    id = serializers.IntegerField(source="customer_id", help_text="The customer's.")
    customer_id = serializers.CharField(source="customer.external_id", allow_null=True)
    change = serializers.SerializerMethodField()
    at = apikit.UtcDateTimeField()
    cause = serializers.CharField()
    entry_no = serializers.IntegerField()
    event_id = serializers.IntegerField(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(["entered", "left"]))
    def get_change(self, change: MembershipChange) -> str:
        return "entered" if change.entered else "left"


class MembershipSerializer(serializers.Serializer):
    """A segment that a customer is in."""

    segment = serializers.CharField(source="segment.key")
    name = serializers.CharField(source="segment.name")
    entered_at = apikit.UtcDateTimeField()
    entry_no = serializers.IntegerField()
    cause = serializers.CharField()


class SizeSerializer(serializers.Serializer):
    day = serializers.DateField()
    members = serializers.IntegerField(help_text="When the day ended.")
    is_estimate = serializers.BooleanField(
        help_text="How many the present rule would have found; it was not in force then."
    )


class VersionSerializer(serializers.Serializer):
    """A segment as it was saved, by whom and when."""

    version = serializers.IntegerField(help_text="Counts up with every change of the rule.")
    name = serializers.CharField()
    audience = serializers.CharField()
    rule = RuleField()
    sentence = serializers.CharField()
    change = serializers.SerializerMethodField()
    changed_at = apikit.UtcDateTimeField(source="history_date")
    changed_by = serializers.CharField(
        source="history_user_id", allow_null=True, help_text="A user's name, or an API key's."
    )

    @extend_schema_field(serializers.ChoiceField(["created", "changed"]))
    def get_change(self, version: Any) -> str:
        return "created" if version.history_type == "+" else "changed"


@extend_schema_field({"description": "A number, text, boolean, list, object or null."})
class AnyField(serializers.Field):
    def to_representation(self, value: Any) -> Any:
        return value


class ExplainedSerializer(serializers.Serializer):
    path = serializers.CharField()
    sentence = serializers.CharField()
    value = AnyField(help_text="The customer's.")
    threshold = AnyField(help_text="The rule's.")
    holds = serializers.BooleanField()


class ExplanationSerializer(serializers.Serializer):
    member = serializers.BooleanField()
    since = apikit.UtcDateTimeField(
        allow_null=True, help_text="When they came in, or went out; null if they never were in."
    )
    next_change_at = apikit.UtcDateTimeField(
        allow_null=True, help_text="When time alone will change it; null if never."
    )
    conditions = ExplainedSerializer(many=True)


class MembersByHandSerializer(apikit.StrictSerializer):
    """Customers by our ids, by CustomerIds, or both."""

    ids = serializers.ListField(child=serializers.IntegerField(), default=list, max_length=MAX_IDS)
    customer_ids = serializers.ListField(
        child=serializers.CharField(), default=list, max_length=MAX_IDS
    )


class ByHandSerializer(serializers.Serializer):
    changed = serializers.IntegerField(help_text="Customers who were added or removed.")
    unknown_ids = serializers.ListField(child=serializers.IntegerField())
    unknown_customer_ids = serializers.ListField(child=serializers.CharField())


class MemberFileSerializer(apikit.StrictSerializer):
    file = serializers.FileField(
        help_text="CSV with a column customerId, also packed by gzip or zip."
    )


class LineSerializer(serializers.Serializer):
    line = serializers.IntegerField(help_text="Of the file, from 1.")
    code = serializers.CharField()
    message = serializers.CharField()
    row = serializers.ListField(child=serializers.CharField(), source="cells")


class MemberFileResultSerializer(serializers.Serializer):
    changed = serializers.IntegerField(help_text="Customers who were not in before.")
    lines = serializers.IntegerField(help_text="In the file, without the first.")
    problems = LineSerializer(many=True, help_text="Lines that could not be used, 10,000 at most.")


class MemberFilters(apikit.StrictFilterSet):
    customer = django_filters.NumberFilter("customer_id")
    since = apikit.InstantFilter("entered_at", "gte")
    until = apikit.InstantFilter("entered_at", "lt")


class HistoryFilters(apikit.StrictFilterSet):
    customer = django_filters.NumberFilter("customer_id")
    since = apikit.InstantFilter("at", "gte")
    until = apikit.InstantFilter("at", "lt")

"""Segments over HTTP: define, preview, read who is in them and why."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NoReturn

import django_filters
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import parsers, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, lookups
from customers.api import CustomerSerializer
from customers.imports.uploads import FileError
from customers.models import Customer
from segments import definitions, growth, lists, operands, parsing, preview, visibility
from segments.memberships import Transition
from segments.models import (
    Audience,
    Membership,
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


class SegmentViewSet(viewsets.ModelViewSet[Segment]):
    """Groups of customers, by a rule (kind dynamic) or kept by hand (kind static)."""

    resource = "segments"
    reading_actions = ("preview",)
    model: Any = Segment
    serializer_class: Any = SegmentSerializer
    filterset_class: Any = None
    page_order: Sequence[str] = ("key",)
    lookup_field = "key"
    lookup_value_regex = r"[-a-zA-Z0-9_]+"

    def get_queryset(self) -> QuerySet[Segment]:
        return Segment.objects.annotate(size=Coalesce("kept__members", 0))

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        segment = self._saved(None, request.data)
        return Response(segment, status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change a segment. A new rule or audience fills it anew; members stay until then."""
        return Response(self._saved(self.get_object(), request.data, **kwargs))

    def _saved(self, segment: Segment | None, data: Any, **options: Any) -> Any:
        partial = options.get("partial", False)
        serializer = SegmentSerializer(segment, data=data, partial=partial)
        serializer.is_valid(raise_exception=True)
        saved = serializer.save()
        return SegmentSerializer(self.get_queryset().get(pk=saved.pk)).data

    def perform_destroy(self, instance: Segment) -> None:
        """Remove a segment with its history, unless a segment or trigger uses it."""
        try:
            definitions.delete(instance)
        except definitions.SegmentInUseError as error:
            raise apikit.Conflict(str(error), "in_use") from error

    @extend_schema(request=QuestionSerializer, responses=PreviewSerializer)
    @action(detail=False, methods=["post"])
    def preview(self, request: Request) -> Response:
        """Count a rule, now or as of another instant, without saving anything."""
        question = QuestionSerializer(data=request.data)
        question.is_valid(raise_exception=True)
        try:
            visibility.check(question.validated_data["rule"])
            found = preview.preview(**question.validated_data)
        except parsing.RuleError as error:
            refuse_rule(error)
        customers = Customer.objects.prefetch_related("identifiers").in_bulk(found.sample)
        answer = {
            "count": found.count,
            "total": found.total,
            "sentence": found.sentence,
            "conditions": ConditionCountSerializer(found.conditions, many=True).data,
            "sample": CustomerSerializer([customers[pk] for pk in found.sample], many=True).data,
        }
        if found.members is not None:
            answer["members"] = found.members
        return Response(answer)

    @extend_schema(responses=MemberSerializer(many=True), parameters=[], filters=True)
    @action(
        detail=True,
        filterset_class=MemberFilters,
        page_order=("-entered_at", "-customer_id"),
    )
    def members(self, request: Request, key: str) -> Response:
        """Who is in it now, the latest first."""
        rows = Membership.objects.filter(segment=self.get_object()).select_related("customer")
        return self._page(rows, MemberSerializer)

    @extend_schema(request=MembersByHandSerializer, responses=ByHandSerializer)
    @members.mapping.post
    def add_members(self, request: Request, key: str) -> Response:
        """Put customers into a segment kept by hand."""
        return self._by_hand(definitions.add_members)

    @extend_schema(request=MembersByHandSerializer, responses=ByHandSerializer)
    @members.mapping.delete
    def remove_members(self, request: Request, key: str) -> Response:
        """Take customers out of a segment kept by hand; the body is as for POST."""
        return self._by_hand(definitions.remove_members)

    @extend_schema(request=MemberFileSerializer, responses=MemberFileResultSerializer)
    @action(
        detail=True,
        methods=["post"],
        url_path="members/file",
        parser_classes=(parsers.MultiPartParser,),
    )
    def add_file(self, request: Request, key: str) -> Response:
        """Put the customers whose CustomerIds a file lists into a segment kept by hand."""
        named = MemberFileSerializer(data=request.data)
        named.is_valid(raise_exception=True)
        segment = self.get_object()
        try:
            found = lists.read(named.validated_data["file"])
        except FileError as error:
            raise apikit.refuse("file", str(error)) from error
        transitions = self._change(definitions.add_members, segment, found.customer_of.values())
        result = {
            "changed": len(transitions),
            "lines": found.lines,
            "problems": found.problems[:MAX_IDS],
        }
        return Response(MemberFileResultSerializer(result).data)

    @extend_schema(responses=HistorySerializer(many=True), filters=True)
    @action(detail=True, filterset_class=HistoryFilters, page_order=("-at", "-id"))
    def history(self, request: Request, key: str) -> Response:
        """Who entered and who left, the latest first. The silent first filling counts too."""
        rows = MembershipChange.objects.filter(segment=self.get_object())
        return self._page(rows.select_related("customer"), HistorySerializer)

    @extend_schema(responses=SizeSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None)
    def sizes(self, request: Request, key: str) -> Response:
        """How many members it had at the end of each of the last 90 days, the oldest first.

        Of a new or edited segment the days are worked out in the background, the latest first.
        """
        return Response(SizeSerializer(growth.of(self.get_object()), many=True).data)

    @extend_schema(responses=VersionSerializer(many=True), filters=False)
    @action(detail=True, page_order=("-history_id",))
    def versions(self, request: Request, key: str) -> Response:
        """Every version of the segment, the latest first: who changed it, when, and to what."""
        rows = Segment.versions.filter(id=self.get_object().pk)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(VersionSerializer(page, many=True).data)

    def announce(self, transitions: Sequence[Transition]) -> None:
        """Tell the floors above who entered and left by hand; here there are none."""

    def _by_hand(self, change: Any) -> Response:
        named = MembersByHandSerializer(data=self.request.data)
        named.is_valid(raise_exception=True)
        ids, external_ids = named.validated_data["ids"], named.validated_data["customer_ids"]
        if not ids and not external_ids:
            raise apikit.refuse("ids", "Name customers by ids or customer_ids.", "required")
        by_id = lookups.current(ids)
        by_external_id = lookups.by_external_id(external_ids)
        found = [*by_id.values(), *by_external_id.values()]
        transitions = self._change(change, self.get_object(), found)
        return Response(
            {
                "changed": len(transitions),
                "unknown_ids": [pk for pk in ids if pk not in by_id],
                "unknown_customer_ids": [x for x in external_ids if x not in by_external_id],
            }
        )

    @transaction.atomic
    def _change(
        self, change: Any, segment: Segment, customer_ids: Iterable[int]
    ) -> Sequence[Transition]:
        """Add or remove members by hand, and tell who must hear of it."""
        try:
            transitions: Sequence[Transition] = change(segment, {*customer_ids})
        except definitions.NotByHandError as error:
            raise apikit.Conflict(str(error), "not_by_hand") from error
        self.announce(transitions)
        return transitions

    def _page(self, rows: QuerySet[Any], serializer: type[serializers.Serializer]) -> Response:
        filters = self.filterset_class(self.request.query_params, rows, request=self.request)
        page = self.paginate_queryset(apikit.filtered(filters))
        return self.get_paginated_response(serializer(page, many=True).data)

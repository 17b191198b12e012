"""Segments over HTTP: define, preview, read who is in them and why."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema
from rest_framework import parsers, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, lookups
from customers.api import CustomerSerializer
from customers.imports.uploads import FileError
from customers.models import Customer
from segments import definitions, growth, lists, parsing, preview, visibility
from segments.memberships import Transition
from segments.models import (
    Membership,
    MembershipChange,
    Segment,
)
from segments.serializers import (
    MAX_IDS,
    ByHandSerializer,
    ConditionCountSerializer,
    HistoryFilters,
    HistorySerializer,
    MemberFileResultSerializer,
    MemberFileSerializer,
    MemberFilters,
    MembersByHandSerializer,
    MemberSerializer,
    PreviewSerializer,
    QuestionSerializer,
    SegmentSerializer,
    SizeSerializer,
    VersionSerializer,
    refuse_rule,
)


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

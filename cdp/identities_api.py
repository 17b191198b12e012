"""Joining and separating customers over HTTP."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
)
from rest_framework import exceptions, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from cdp import identities
from customers import api as customers_api
from customers import apikit, identity, merging, unmerging
from customers.masking import Mask
from customers.matching import Key
from customers.models import Customer, Merge

MERGE_ID = OpenApiParameter(
    "merge_id", OpenApiTypes.INT64, OpenApiParameter.PATH, description="Of the merge."
)
KEY = [
    OpenApiParameter("kind", str, required=True, description="Such as anonymous_id."),
    OpenApiParameter("value", str, required=True),
]


class OtherSerializer(apikit.StrictSerializer):
    customer = serializers.IntegerField(
        min_value=1, max_value=2**62, help_text="The id of who is the same person."
    )


class KeySerializer(apikit.StrictSerializer):
    kind = serializers.CharField(max_length=50)
    value = serializers.CharField(max_length=identity.MAX_LENGTH)


@extend_schema_field(apikit.VALUE_SCHEMA)
class ValueField(serializers.ReadOnlyField):
    pass


class ValueMoveSerializer(serializers.Serializer):
    field = serializers.CharField()
    now = ValueField()
    stays = ValueField(help_text="What the customer has afterwards.")
    goes = ValueField(help_text="What the one who leaves has then.")


class IdentifierKeySerializer(serializers.Serializer):
    kind = serializers.CharField()
    value = serializers.CharField()


class SeparationPreviewSerializer(serializers.Serializer):
    """What a separation would take along."""

    customer = serializers.IntegerField(help_text="Who stays.")
    separated = serializers.IntegerField(
        allow_null=True, help_text="Who leaves; null for one who is to be created."
    )
    identifiers = IdentifierKeySerializer(many=True)
    events = serializers.DictField(child=serializers.IntegerField(), help_text="Counts by name.")
    values = ValueMoveSerializer(many=True)


class SeparatedSerializer(serializers.Serializer):
    customer = customers_api.CustomerSerializer(help_text="Who stays.")
    separated = customers_api.CustomerSerializer(help_text="Who left.")


CANNOT = OpenApiResponse(OpenApiTypes.OBJECT, description="They cannot be separated, and why.")
PREVIEWED = {200: SeparationPreviewSerializer, 409: CANNOT}


class IdentityActions:
    """What is added to the address of a customer."""

    get_object: Any
    _page: Any

    @extend_schema(responses=customers_api.MergeSerializer(many=True), filters=False)
    @action(detail=True)
    def merges(self, request: Request, pk: str) -> Response:
        """Who was found to be the same person or separated again, newest first."""
        rows: Response = self._page(self._merges(), customers_api.MergeSerializer)
        return rows

    @extend_schema(
        request=OtherSerializer, responses={201: customers_api.MergeSerializer}, filters=False
    )
    @merges.mapping.post
    def join(self, request: Request, pk: str) -> Response:
        """Make this customer and another one; of two with a CustomerId both stay known."""
        asked = OtherSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        other = Customer.objects.current().filter(pk=asked.validated_data["customer"]).first()
        if other is None:
            raise apikit.refuse("customer", "There is no customer with this id.", "unknown")
        one = self.get_object()
        if one.pk == other.pk:
            raise apikit.refuse("customer", "This is the customer itself.")
        try:
            merge = identities.join(one, other, by=apikit.actor(request))
        except merging.CannotJoinError as error:
            raise apikit.Conflict(str(error), "cannot_join") from error
        return Response(customers_api.MergeSerializer(merge).data, status.HTTP_201_CREATED)

    @extend_schema(parameters=[MERGE_ID], responses=PREVIEWED, filters=False)
    @action(detail=True, url_path=r"merges/(?P<merge_id>\d{1,18})/undo", url_name="undo")
    def undo_preview(self, request: Request, pk: str, merge_id: str) -> Response:
        """What undoing a merge would take along. Nothing happens yet."""
        merge = get_object_or_404(self._merges(), id=int(merge_id))
        return _previewed(request, lambda: identities.preview_undo(merge))

    @extend_schema(
        parameters=[MERGE_ID], request=None, responses=SeparatedSerializer, filters=False
    )
    @undo_preview.mapping.post
    def undo(self, request: Request, pk: str, merge_id: str) -> Response:
        """Undo a merge: who was absorbed stands again, with exactly what is theirs."""
        merge = get_object_or_404(self._merges(), id=int(merge_id))
        return _separated(lambda: identities.undo(merge, by=apikit.actor(request)))

    @extend_schema(parameters=KEY, responses=PREVIEWED, filters=False)
    @action(detail=True, url_path="identifiers/detach", url_name="detach")
    def detach_preview(self, request: Request, pk: str) -> Response:
        """What an identifier would take along. Nothing happens yet."""
        key = _key(request.query_params)
        customer_id = self.get_object().pk
        return _previewed(request, lambda: identities.preview_detach(customer_id, key))

    @extend_schema(request=KeySerializer, responses=SeparatedSerializer, filters=False)
    @detach_preview.mapping.post
    def detach(self, request: Request, pk: str) -> Response:
        """Give an identifier, with exactly what came by it, to a customer of its own."""
        key = _key(request.data)
        customer_id = self.get_object().pk
        return _separated(lambda: identities.detach(customer_id, key, by=apikit.actor(request)))

    def _merges(self) -> QuerySet[Merge]:
        return unmerging.history(self.get_object())


_ENDS = ("now", "stays", "goes")


def _key(data: Any) -> Key:
    asked = KeySerializer(data=data)
    asked.is_valid(raise_exception=True)
    kind, value = asked.validated_data["kind"], asked.validated_data["value"]
    return kind, identity.normalise(kind, value) or value


def _previewed(request: Request, work: Any) -> Response:
    try:
        preview = work()
    except unmerging.CannotSeparateError as error:
        raise _conflict(error) from error
    split, mask = preview.split, Mask(request.user)
    values = [
        {
            "field": name,
            **{key: mask.value(name, value) for key, value in zip(_ENDS, row, strict=True)},
        }
        for name, *row in preview.values
    ]
    return Response(
        {
            "customer": split.kept_id,
            "separated": split.separated_id or None,
            "identifiers": [{"kind": kind, "value": value} for kind, value in split.identifiers],
            "events": preview.events,
            "values": values,
        }
    )


def _separated(work: Any) -> Response:
    try:
        split = work()
    except unmerging.CannotSeparateError as error:
        raise _conflict(error) from error
    found = Customer.objects.prefetch_related("identifiers").in_bulk(
        [split.kept_id, split.separated_id]
    )
    both = {"customer": found[split.kept_id], "separated": found[split.separated_id]}
    return Response(SeparatedSerializer(both).data)


def _conflict(error: unmerging.CannotSeparateError) -> exceptions.APIException:
    return apikit.Conflict(str(error), "cannot_separate")

"""Customers and their fields over HTTP."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db import transaction
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import (
    apikit,
    clock,
    definitions,
    filters,
    finding,
    identity,
    indexing,
    lookups,
    masking,
    search,
    upserts,
)
from customers import fields as customer_fields
from customers.models import Customer, CustomerField, Erasure, FieldChange, Identifier, Merge

MAX_ITEMS = 10_000  # of one bulk request


class CustomerFieldSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = CustomerField
        fields = [
            *("name", "type", "label", "description", "is_personal", "display", "group"),
            *("position", "in_list", "in_filters", "is_indexed", "finds_parts", "created_at"),
        ]
        extra_kwargs = {"type": {"required": True}, "is_personal": {"required": False}}

    def validate_name(self, name: str) -> str:
        if self.instance is not None and name != self.instance.name:
            raise serializers.ValidationError("A name cannot change; create another field.")
        if not name.isprintable():
            raise serializers.ValidationError("A name may not hold control characters.")
        return name


class CustomerFieldViewSet(viewsets.ModelViewSet):
    """The fields that customers can have, by name. Percent-encode the name in the path."""

    resource = "customer-fields"
    model = CustomerField
    queryset = CustomerField.objects.all()
    serializer_class = CustomerFieldSerializer
    lookup_field = "name"
    lookup_value_regex = ".+"
    page_order = ("name",)

    def perform_update(self, serializer: Any) -> None:
        """Change what may change; a type only while no customer has a value."""
        field: CustomerField = serializer.instance
        new_type = serializer.validated_data.get("type", field.type)
        if new_type != field.type:
            try:
                definitions.retype(field, new_type)
            except definitions.HasValuesError as error:
                raise apikit.Conflict(str(error), "has_values") from error
        self.perform_create(serializer)

    def perform_create(self, serializer: Any) -> None:
        serializer.save()
        if {"is_indexed", "finds_parts"} & {*serializer.validated_data}:
            indexing.ask()

    def perform_destroy(self, instance: CustomerField) -> None:
        """Remove the field and the values that customers have of it."""
        definitions.start_delete(instance, source=apikit.actor(self.request))


class IdentifierSerializer(serializers.ModelSerializer):
    class Meta:
        model = Identifier
        fields = ["kind", "value"]


class DatedIdentifierSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = Identifier
        fields = ["kind", "value", "created_at"]


@extend_schema_field({"oneOf": [{"type": "string", "minLength": 1}, {"type": "integer"}]})
class CustomerIdField(serializers.Field):
    """A CustomerId to come; a number is taken as its digits."""

    def to_internal_value(self, data: Any) -> str:
        external_id, problem = upserts.read_external_id(data)
        if external_id is None or problem:
            raise serializers.ValidationError(problem and problem.detail, problem and problem.code)
        return external_id


class CustomerSerializer(apikit.StrictSerializer):
    """One person. `id` is ours, `customer_id` the CustomerId of your CRM, null for a visitor."""

    id = serializers.IntegerField(read_only=True)
    customer_id = serializers.CharField(source="external_id", allow_null=True, read_only=True)
    fields = apikit.ValuesField()  # type: ignore[assignment]  # the name is a property's, too
    identifiers = IdentifierSerializer(many=True, read_only=True)
    first_seen = apikit.UtcDateTimeField(source="first_seen_at", allow_null=True, read_only=True)
    last_seen = apikit.UtcDateTimeField(source="last_seen_at", allow_null=True, read_only=True)
    created_at = apikit.UtcDateTimeField(read_only=True)

    def to_representation(self, customer: Customer) -> dict[str, Any]:
        """Answer without asking each field: a thousand take a third of the time."""
        seen = (customer.first_seen_at, customer.last_seen_at, customer.created_at)
        first_seen, last_seen, created_at = (at and apikit.utc(at) for at in seen)
        return {
            "id": customer.pk,
            "customer_id": customer.external_id,
            "fields": customer.fields,
            "identifiers": [
                {"kind": each.kind, "value": each.value} for each in customer.identifiers.all()
            ],
            "first_seen": first_seen,
            "last_seen": last_seen,
            "created_at": created_at,
        }

    def validate_fields(self, raw: Any) -> dict[str, Any]:
        values, problems = upserts.read_values(raw, customer_fields.known())
        if problems:
            faults = {p.name: [exceptions.ErrorDetail(p.detail, p.code)] for p in problems}
            raise serializers.ValidationError(faults)
        return values


class NewCustomerSerializer(CustomerSerializer):
    customer_id = CustomerIdField(source="external_id")  # type: ignore[assignment]
    fields = apikit.ValuesField(default=dict)


class ItemSerializer(serializers.Serializer):
    customer_id = CustomerIdField()
    fields = apikit.ValuesField(required=False)  # type: ignore[assignment]


class ProblemSerializer(serializers.Serializer):
    attr = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField()


class RejectedSerializer(serializers.Serializer):
    index = serializers.IntegerField(help_text="The item's place in the list, from 0.")
    customer_id = serializers.CharField(allow_null=True)
    problems = ProblemSerializer(many=True)


class OutcomeSerializer(serializers.Serializer):
    created = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    errors = RejectedSerializer(many=True)  # type: ignore[assignment]


class MergeSerializer(apikit.StrictModelSerializer):
    identifiers = serializers.SerializerMethodField(help_text="Those that moved.")

    class Meta:
        model = Merge
        fields = [
            "id",
            "survivor_id",
            "absorbed_id",
            "cause",
            "identifiers",
            "at",
            "undone_at",
            "undone_by",
        ]

    def get_identifiers(self, merge: Merge) -> list[dict[str, str]]:
        return [{"kind": kind, "value": value} for kind, value in merge.identifiers]


class FieldChangeSerializer(apikit.StrictModelSerializer):
    changes = serializers.DictField(
        child=serializers.ListField(), help_text="{field: [old, new]}, null for none."
    )

    origin = serializers.IntegerField(
        source="origin_id",
        allow_null=True,
        help_text="The customer it was told of, who was merged with this one since; else null.",
    )

    class Meta:
        model = FieldChange
        fields = ["id", "at", "source", "changes", "origin"]


class CustomerFilters(apikit.StrictFilterSet):
    """Besides these, `field.NAME=VALUE`: customers who have that value, or none if it is empty.

    And `field.NAME[OP]=VALUE` with an operator of the field's type, as in `[at_least]`.
    """

    prefixes = (filters.PREFIX,)
    q = django_filters.CharFilter(
        method="by_words", help_text="Words of names, a CustomerId, an e-mail or a phone."
    )
    customer_id = django_filters.CharFilter(method="by_customer_id")
    email = django_filters.CharFilter(
        method="by_email", help_text="Who goes by it, or has it in a field called so."
    )
    identifier = django_filters.CharFilter(method="by_identifier", help_text="KIND:VALUE")
    seen_since = apikit.InstantFilter("last_seen_at", "gte")
    created_since = apikit.InstantFilter("created_at", "gte")

    def by_customer_id(
        self, found: QuerySet[Customer], name: str, value: str
    ) -> QuerySet[Customer]:
        return _known_as(found, identity.CUSTOMER_ID, value)

    def by_email(self, found: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        return _known_as(found, identity.EMAIL, value)

    def by_identifier(self, found: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        kind, colon, text = value.partition(":")
        if not colon:
            raise apikit.refuse(name, "Write KIND:VALUE, as in phone:+41791234567.")
        return _known_as(found, kind, text)

    def by_words(self, found: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        return found.filter(id__in=search.find(value))

    def filter_queryset(self, queryset: QuerySet[Customer]) -> QuerySet[Customer]:
        found: QuerySet[Customer] = super().filter_queryset(queryset)
        if not any(name.startswith(filters.PREFIX) for name in self.data):
            return found
        mask = masking.current()
        known = {n: f for n, f in customer_fields.known().items() if not mask.hides(n)}
        wanted, problems = filters.read(self.data.items(), known)
        if problems:
            first = problems[0]
            raise apikit.refuse(first.parameter[:100], str(first), first.code)
        passing: QuerySet[Customer] = finding.apply(found, wanted, clock.now())
        return passing


def _known_as(found: QuerySet[Customer], kind: str, value: str) -> QuerySet[Customer]:
    """Look up in two steps: identifiers may live elsewhere than customers."""
    return found.filter(id__in=sorted(lookups.known_as(kind, value)))


class CustomerViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Customer]
):
    """Customers. One who was merged into another answers as who they are now."""

    resource = "customers"
    model: Any = Customer
    also_reads: Sequence[str] = ()
    page_order: Sequence[str] = ("-id",)
    serializer_class: Any = CustomerSerializer
    filterset_class: Any = CustomerFilters
    lookup_value_regex = r"\d{1,18}"

    def get_queryset(self) -> QuerySet[Customer]:
        return Customer.objects.current().prefetch_related("identifiers")

    def get_object(self) -> Customer:
        customers = Customer.objects.prefetch_related("identifiers")
        customer = get_object_or_404(customers, pk=self.kwargs["pk"])
        while customer.merged_into_id is not None:
            customer = get_object_or_404(customers, pk=customer.merged_into_id)
        return customer

    def list(self, request: Request) -> Response:
        """Customers, the newest first. `field.NAME=VALUE` finds those who have that value.

        An empty VALUE finds those who have none. `field.NAME[OP]=VALUE` compares otherwise: texts
        by is_not, one_of, none_of (commas), contains, not_contains, starts_with, ends_with;
        numbers by is_not, one_of, at_least, at_most, more_than, less_than; datetimes by from, to,
        before, after, in_last, not_in_last (days); all by exists and missing (true). Case does
        not count. `field.@first_seen[…]` and `field.@last_seen[…]` tell when somebody was seen.
        """
        return super().list(request)

    @extend_schema(request=NewCustomerSerializer, responses={201: CustomerSerializer})
    def create(self, request: Request) -> Response:
        """Create a customer by their CustomerId."""
        new = NewCustomerSerializer(data=request.data)
        new.is_valid(raise_exception=True)
        wanted = new.validated_data
        try:
            with transaction.atomic():
                pk = upserts.create(
                    wanted["external_id"], wanted["fields"], source=apikit.actor(request)
                )
        except upserts.CustomerExistsError as error:
            raise apikit.refuse("customer_id", str(error), "exists") from error
        except upserts.ErasedError as error:
            raise apikit.refuse("customer_id", str(error), "erased") from error
        return self._answer(pk, status.HTTP_201_CREATED)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Set values of some fields; null clears one. The others stay."""
        customer = self.get_object()
        patch = CustomerSerializer(customer, data=request.data, partial=True)
        patch.is_valid(raise_exception=True)
        values = {customer.pk: patch.validated_data.get("fields", {})}
        with transaction.atomic():
            customer_fields.set_values(values, source=apikit.actor(request))
        return self._answer(customer.pk, status.HTTP_200_OK)

    @extend_schema(request=ItemSerializer(many=True), responses=OutcomeSerializer, filters=False)
    def upsert(self, request: Request) -> Response:
        """Create or update up to 10,000 customers by CustomerId; bad items are left out and told.

        Of two items for one customer the later wins. Fields that an item does not name stay;
        null clears one.
        """
        items = request.data
        if not isinstance(items, list):
            raise exceptions.ValidationError("Expected a list of customers.", "not_a_list")
        if len(items) > MAX_ITEMS:
            raise exceptions.ValidationError(f"At most {MAX_ITEMS:,} at once.", "too_many")
        outcome = upserts.apply(items, source=apikit.actor(request))
        return Response(OutcomeSerializer(outcome).data)

    @extend_schema(responses=DatedIdentifierSerializer(many=True), filters=False)
    @action(detail=True, page_order=("kind", "value"))
    def identifiers(self, request: Request, pk: str) -> Response:
        """What the customer is known by."""
        return self._page(self.get_object().identifiers.all(), DatedIdentifierSerializer)

    @extend_schema(responses=FieldChangeSerializer(many=True), filters=False)
    @action(detail=True)
    def changes(self, request: Request, pk: str) -> Response:
        """Where each value came from: every write to the customer's fields, newest first."""
        return self._page(self.get_object().field_changes.all(), FieldChangeSerializer)

    def _page(self, rows: QuerySet[Any], serializer: type[serializers.Serializer]) -> Response:
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True).data)

    def _answer(self, customer_id: int, code: int) -> Response:
        customer = Customer.objects.prefetch_related("identifiers").get(pk=customer_id)
        return Response(CustomerSerializer(customer).data, code)


class ErasureSerializer(apikit.StrictModelSerializer):
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    digests = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Erasure
        fields = ["id", "at", "by", "counts", "digests"]


class ErasureViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Erasure]
):
    """Proofs that somebody was erased, without who that was."""

    resource = "customers"
    model = Erasure
    queryset = Erasure.objects.all()
    serializer_class = ErasureSerializer
    page_order = ("-at", "-id")
    lookup_value_regex = "[0-9a-f-]{32,36}"

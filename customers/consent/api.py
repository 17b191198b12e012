"""Consent over HTTP: purposes, decisions, and addresses that nothing may be sent to."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from customers import apikit, consent, lookups, suppression
from customers.api import RejectedSerializer
from customers.consent import items, purposes
from customers.models import (
    Consent,
    ConsentChange,
    ConsentPurpose,
    Customer,
    Suppression,
    SuppressionRemoval,
)

MAX_ITEMS = 10_000  # of one request


class PurposeSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = ConsentPurpose
        fields = ["key", "label", "channel", "description", "created_at"]

    def validate_key(self, key: str) -> str:
        normal = consent.normalise(key)
        if normal is None:
            raise serializers.ValidationError("A key may not hold control characters.")
        if self.instance is not None and normal != self.instance.key:
            raise serializers.ValidationError("A key cannot change; create another purpose.")
        if self.instance is None and ConsentPurpose.objects.filter(key=normal).exists():
            raise serializers.ValidationError("There is a purpose of this key.", "unique")
        return normal


class ConsentPurposeViewSet(viewsets.ModelViewSet):
    """What customers are asked to agree to. Rules call it `@consent.<key>`.

    A purpose also comes to be with the first decision that names it.
    """

    resource = "consents"
    model = ConsentPurpose
    queryset = ConsentPurpose.objects.all()
    serializer_class = PurposeSerializer
    lookup_value_regex = ".+"
    lookup_field = "key"
    page_order = ("key",)

    def perform_destroy(self, instance: ConsentPurpose) -> None:
        """Remove a purpose that nobody has decided about."""
        try:
            purposes.delete(instance)
        except purposes.HasDecisionsError as error:
            raise apikit.Conflict(str(error), "has_decisions") from error


class ConsentSerializer(apikit.StrictModelSerializer):
    """A customer's present decision about a purpose. `customer` is our id of them."""

    customer = serializers.IntegerField(source="customer_id")

    class Meta:
        model = Consent
        fields = [
            *("customer", "purpose", "granted", "at", "source", "via", "text_version"),
            "recorded_at",
        ]
        read_only_fields = fields


class ConsentChangeSerializer(ConsentSerializer):
    class Meta:
        model = ConsentChange
        fields = ["id", *ConsentSerializer.Meta.fields]
        read_only_fields = fields


class DecisionSerializer(serializers.Serializer):
    """Who decided: one of `customer_id`, `customer` (our id) and `identifier` (KIND:VALUE)."""

    customer_id = serializers.CharField(required=False)
    customer = serializers.IntegerField(required=False)
    identifier = serializers.CharField(required=False)
    purpose = serializers.CharField(max_length=consent.MAX_KEY)
    granted = serializers.BooleanField()
    at = apikit.UtcDateTimeField(required=False, help_text="When they decided; else now.")
    text_version = serializers.CharField(required=False, help_text="Which wording they saw.")
    via = serializers.CharField(required=False, help_text="Where they were asked.")


class RecordedSerializer(serializers.Serializer):
    recorded = serializers.IntegerField()
    errors = RejectedSerializer(many=True)  # type: ignore[assignment]


class ConsentFilters(apikit.StrictFilterSet):
    customer = django_filters.NumberFilter(method="by_customer", help_text="Our id of them.")
    customer_id = django_filters.CharFilter(method="by_customer_id", help_text="The CustomerId.")
    purpose = django_filters.CharFilter(method="by_purpose")
    granted = django_filters.BooleanFilter()

    def by_customer(self, found: QuerySet[Consent], name: str, value: Any) -> QuerySet[Consent]:
        customer_id = int(value) if value == int(value) and 0 < value < 2**63 else 0
        return found.filter(customer__in=[*lookups.current([customer_id]).values()])

    def by_customer_id(self, found: QuerySet[Consent], name: str, value: str) -> QuerySet[Consent]:
        return found.filter(customer__in=[*lookups.by_external_id([value]).values()])

    def by_purpose(self, found: QuerySet[Consent], name: str, value: str) -> QuerySet[Consent]:
        return found.filter(purpose=consent.normalise(value) or "")


class ConsentViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Consent]):
    """Who agreed to what."""

    resource = "consents"
    model = Consent
    part_of = Customer
    queryset = Consent.objects.all()
    serializer_class = ConsentSerializer
    filterset_class = ConsentFilters
    page_order = ("customer_id", "purpose")

    @extend_schema(request=DecisionSerializer, responses={201: ConsentSerializer})
    def create(self, request: Request) -> Response:
        """Record one decision; answer with the present one, which may be a newer.

        What was decided before stays in the history.
        """
        decision: Any = request.data
        outcome = items.apply([decision], source=apikit.actor(request))
        if outcome.errors:
            faults: dict[str, list[Any]] = {}
            for problem in outcome.errors[0].problems:
                name = problem.attr or "non_field_errors"
                detail = exceptions.ErrorDetail(problem.detail, problem.code)
                faults.setdefault(name, []).append(detail)
            raise exceptions.ValidationError(faults)
        present = ConsentSerializer(items.present(decision))
        return Response(present.data, status.HTTP_201_CREATED)

    @extend_schema(
        request=DecisionSerializer(many=True), responses=RecordedSerializer, filters=False
    )
    def upsert(self, request: Request) -> Response:
        """Record up to 10,000 decisions; bad items are left out and told.

        They may come in any order: an older decision never overwrites a newer one.
        """
        if not isinstance(request.data, list):
            raise exceptions.ValidationError("Expected a list of decisions.", "not_a_list")
        if len(request.data) > MAX_ITEMS:
            raise exceptions.ValidationError(f"At most {MAX_ITEMS:,} at once.", "too_many")
        outcome = items.apply(request.data, source=apikit.actor(request))
        return Response(RecordedSerializer(outcome).data)


class SuppressionSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = Suppression
        fields = ["kind", "value", "reason", "source", "at"]
        read_only_fields = fields


class RemovalSerializer(apikit.StrictModelSerializer):
    class Meta:
        model = SuppressionRemoval
        fields = ["kind", "value", "reason", "source", "since", "removed_by", "removed_at"]
        read_only_fields = fields


class AddressesSerializer(apikit.StrictSerializer):
    kind = serializers.ChoiceField(Suppression.Kind.choices)
    values = serializers.ListField(
        child=serializers.CharField(max_length=500), min_length=1, max_length=MAX_ITEMS
    )


class NewSuppressionsSerializer(AddressesSerializer):
    reason = serializers.ChoiceField(Suppression.Reason.choices, default=Suppression.Reason.MANUAL)


class AddedSerializer(serializers.Serializer):
    added = serializers.IntegerField()
    invalid = serializers.ListField(
        child=serializers.CharField(), help_text="Those that are no address of this kind."
    )


class RemovedSerializer(serializers.Serializer):
    removed = serializers.IntegerField()


class SuppressionFilters(apikit.StrictFilterSet):
    kind = django_filters.ChoiceFilter(choices=Suppression.Kind.choices)
    reason = django_filters.ChoiceFilter(choices=Suppression.Reason.choices)
    value = django_filters.CharFilter(method="by_value", help_text="An address, exactly.")

    def by_value(
        self, found: QuerySet[Suppression], name: str, value: str
    ) -> QuerySet[Suppression]:
        return found.filter(value__in=suppression.spellings(value))


class RemovalFilters(apikit.StrictFilterSet):
    kind = django_filters.ChoiceFilter(choices=Suppression.Kind.choices)
    value = django_filters.CharFilter(method="by_value", help_text="An address, exactly.")

    def by_value(
        self, found: QuerySet[SuppressionRemoval], name: str, value: str
    ) -> QuerySet[SuppressionRemoval]:
        return found.filter(value__in=suppression.spellings(value))


class SuppressionViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Any]):
    """Addresses that nothing is sent to, whoever they belong to."""

    resource = "consents"
    model = Suppression
    queryset = Suppression.objects.all()
    serializer_class = SuppressionSerializer
    filterset_class = SuppressionFilters
    page_order = ("kind", "value")

    @extend_schema(request=NewSuppressionsSerializer, responses={200: AddedSerializer})
    def create(self, request: Request) -> Response:
        """Suppress addresses from now on. Those that are suppressed keep their first reason."""
        given = NewSuppressionsSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        added = suppression.add(
            wanted["kind"], wanted["values"], wanted["reason"], apikit.actor(request)
        )
        invalid = suppression.invalid(wanted["kind"], wanted["values"])
        return Response(AddedSerializer({"added": added, "invalid": invalid}).data)

    @extend_schema(request=AddressesSerializer, responses=RemovedSerializer, filters=False)
    def remove(self, request: Request) -> Response:
        """Let addresses be written to again, where their owners agree."""
        given = AddressesSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = given.validated_data
        removed = suppression.remove(wanted["kind"], wanted["values"], apikit.actor(request))
        return Response(RemovedSerializer({"removed": removed}).data)

    @extend_schema(responses=RemovalSerializer(many=True), filters=True)
    @action(detail=False, filterset_class=RemovalFilters, page_order=("-id",))
    def removals(self, request: Request) -> Response:
        """Addresses that were taken off the list, by whom, and when; the latest first."""
        rows = self.paginate_queryset(self.filter_queryset(SuppressionRemoval.objects.all()))
        return self.get_paginated_response(RemovalSerializer(rows, many=True).data)

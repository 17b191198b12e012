"""What the API of every floor shares: strict bodies and filters, texts that help, UTC."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from django_filters.utils import translate_validation
from drf_spectacular.utils import extend_schema_field
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request

from customers import spelling

PAGE_PARAMETERS = {"cursor", "page_size"}
VALUE_SCHEMA = {"type": ["string", "number", "boolean", "null"]}


def utc(at: datetime) -> str:
    """Write an instant as ISO 8601 in UTC, ending in Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def refuse(attr: str, detail: str, code: str = "invalid") -> exceptions.ValidationError:
    """Return the 400 that blames one member of the request."""
    return exceptions.ValidationError({attr: [exceptions.ErrorDetail(detail, code)]})


def actor(request: Request) -> str:
    """Name who is asking, for the provenance of what they change."""
    user: Any = request.user
    full_name = getattr(user, "get_full_name", str)
    return full_name() or str(user)


class Conflict(exceptions.APIException):
    """What was asked does not fit the present state of things."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class UtcDateTimeField(serializers.DateTimeField):
    """Answers in UTC; reads a time without an offset in the workspace's time zone."""

    def to_representation(self, value: datetime) -> str:
        return utc(value)


@extend_schema_field({"type": "object", "additionalProperties": VALUE_SCHEMA})
class ValuesField(serializers.Field):
    """{field name: value}, each value checked by whoever knows the fields."""

    default_error_messages = {"not_an_object": "Expected an object of field names and values."}

    def to_internal_value(self, data: Any) -> Mapping[str, Any]:
        if not isinstance(data, dict):
            self.fail("not_an_object")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class StrictSerializer(serializers.Serializer):
    """Refuses members that it does not know, so that a misspelt one is not lost in silence.

    Members that can only be read are let through and ignored: what was read may be sent back.
    """

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            _refuse_unknown(data, self.fields)
        return super().to_internal_value(data)


class StrictModelSerializer(StrictSerializer, serializers.ModelSerializer):
    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        field: UtcDateTimeField
        for field, of_drf in serializers.ModelSerializer.serializer_field_mapping.items()
        if of_drf is serializers.DateTimeField
    }


def _refuse_unknown(given: Iterable[Any], known: Collection[str]) -> None:
    """Raise the 400 that names each key that is not known, and what it may have been meant for."""
    faults = {
        str(key)[:100]: [exceptions.ErrorDetail(spelling.unknown(str(key), known), "unknown")]
        for key in given
        if key not in known
    }
    if faults:
        raise exceptions.ValidationError(faults)


class InstantField(IsoDateTimeField):
    """ISO 8601, brought to UTC: PostgreSQL reads fewer offsets than Python."""

    def to_python(self, value: Any) -> datetime | None:
        instant: datetime | None = super().to_python(value)
        try:
            return instant and instant.astimezone(UTC)
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], "invalid") from None


class InstantFilter(django_filters.IsoDateTimeFilter):
    """Compares with an instant; one without an offset is in the workspace's time zone."""

    field_class = InstantField


class StrictFilterSet(django_filters.FilterSet):
    """Refuses query parameters that it does not know; else a misspelt filter lists everything."""

    prefixes: tuple[str, ...] = ()  # of parameters with free names, such as "field."

    def is_valid(self) -> bool:
        named = [key for key in self.data if not key.startswith(self.prefixes or ("\0",))]
        _refuse_unknown(named, self.filters.keys() | PAGE_PARAMETERS)
        return bool(super().is_valid())


def filtered(filters: django_filters.FilterSet) -> QuerySet[Any]:
    """Return the rows that pass; raises the 400 that names each filter that cannot be read."""
    if not filters.is_valid():
        raise translate_validation(filters.errors)
    found: QuerySet[Any] = filters.qs
    return found


class StrictFilterBackend(DjangoFilterBackend):
    """django-filter for lists, also for those without filters; a single thing is not filtered."""

    filterset_base = StrictFilterSet

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Any], view: Any
    ) -> QuerySet[Any]:
        if getattr(view, "detail", False):
            return queryset
        if self.get_filterset_class(view, queryset) is None:
            _refuse_unknown(request.query_params, PAGE_PARAMETERS)
        found: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return found

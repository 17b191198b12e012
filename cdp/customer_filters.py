"""What customers and members of segments are filtered by in the API, across the floors."""

import django_filters
from django.db.models import QuerySet

from customers import api as customers_api
from customers import apikit, spelling
from customers.models import Customer
from segments.models import Membership, Segment


class CustomerFilters(customers_api.CustomerFilters):
    segment = django_filters.CharFilter(method="by_segment", help_text="The key of a segment.")

    def by_segment(self, found: QuerySet[Customer], name: str, value: str) -> QuerySet[Customer]:
        members = Membership.objects.filter(segment=segment_of(value))
        return found.filter(id__in=members.values("customer_id"))


class MemberFilters(apikit.StrictFilterSet):
    """Of memberships of one segment, which must be named."""

    segment = django_filters.CharFilter(
        method="by_segment", required=True, help_text="The key of a segment."
    )
    since = apikit.InstantFilter("entered_at", "gte")
    until = apikit.InstantFilter("entered_at", "lt")

    def by_segment(
        self, found: QuerySet[Membership], name: str, value: str
    ) -> QuerySet[Membership]:
        return found.filter(segment=segment_of(value))


def segment_of(key: str) -> Segment:
    """Return the segment; raises the 400 that says which key may have been meant."""
    segment = Segment.objects.filter(key=key).first() if "\0" not in key else None
    if segment is None:
        hint = spelling.suggestion(key, Segment.objects.values_list("key", flat=True))
        raise apikit.refuse("segment", f"There is no segment of this key.{hint}", "unknown")
    return segment

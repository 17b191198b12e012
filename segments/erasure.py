"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection

from django.db.models import Count

from segments import sql
from segments.models import Membership, MembershipChange, Recheck


def forget(customer_ids: Collection[int]) -> None:
    """Remove these customers from all segments, with the history; nobody is told.

    Call it inside a transaction that holds them, after the floor above has forgotten them.
    """
    members = Membership.objects.filter(customer__in=customer_ids).order_by()
    counted = members.values_list("segment").annotate(count=Count("customer"))
    sql.change_sizes({segment_id: -count for segment_id, count in counted})
    for model in (Membership, MembershipChange, Recheck):
        model.objects.filter(customer__in=customer_ids).delete()

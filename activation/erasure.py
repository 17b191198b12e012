"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection

from activation.models import Turn
from activation.sql import pruning


def forget(customer_ids: Collection[int]) -> None:
    """Remove what was sent about these customers, and what was yet to be sent.

    Call it inside a transaction that holds them.
    """
    pruning.delete_deliveries_of(customer_ids)
    Turn.objects.filter(customer_id__in=customer_ids).delete()

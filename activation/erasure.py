"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection

from activation.models import Attempt, Delivery, Turn


def forget(customer_ids: Collection[int]) -> None:
    """Remove what was sent about these customers, and what was yet to be sent.

    Call it inside a transaction that holds them.
    """
    Attempt.objects.filter(delivery__customer_id__in=customer_ids).delete()
    Delivery.objects.filter(customer_id__in=customer_ids).delete()
    Turn.objects.filter(customer_id__in=customer_ids).delete()

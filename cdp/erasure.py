"""Forget a person: the top floor first, then down."""

from collections.abc import Collection

from django.db import transaction

from activation import erasure as activation_erasure
from customers import erasure as customers_erasure
from events import erasure as events_erasure
from segments import erasure as segments_erasure


@transaction.atomic
def forget(customer_ids: Collection[int]) -> None:
    """Remove customers, those merged into them, and all that every floor keeps of them."""
    everyone = [*customer_ids, *customers_erasure.absorbed_by(customer_ids)]
    customers_erasure.hold(everyone)
    activation_erasure.forget(everyone)
    segments_erasure.forget(everyone)
    events_erasure.forget(everyone)
    customers_erasure.forget(everyone)

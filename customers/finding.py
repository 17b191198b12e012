"""Finding customers by filters, by the index of parts of texts where that is the quicker way."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from customers import filters
from customers.filters import Filter
from customers.models import Customer
from customers.sql import lists

RARE = 20_000  # customers; of more, some are met soon on the way through all


def apply(
    found: QuerySet[Customer], wanted: Iterable[Filter], now: datetime, *, is_large: bool = True
) -> Any:
    """Keep the customers that pass every filter at this instant.

    Asks the planner about each filter that looks for a part of a text, if customers are many.
    """
    given = [*wanted]
    found = filters.apply(found, given, now)
    for one in given if is_large else ():
        if filters.has_parts(one) and _is_rare(one, now):
            found = filters.narrow(found, one)
    return found


def _is_rare(one: Filter, now: datetime) -> bool:
    alone: QuerySet[Customer] = filters.apply(Customer.objects.all(), [one], now)
    return lists.planned_rows(alone) < RARE

"""Pages of customers that cost the same wherever they are: each begins behind a customer."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.db.models.lookups import (
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    IsNull,
    LessThan,
    LessThanOrEqual,
)

from customers import filters
from customers.models import Customer, CustomerField

_NEVER = datetime(1, 1, 2, tzinfo=UTC)


class Order(NamedTuple):
    """By what customers are sorted, and those of equal value by id in the same direction.

    Without a `value` it is the id alone: when they were added. Sorted by a field, customers
    without a value of it are left out.
    """

    value: Any = None
    is_descending: bool = True
    field: CustomerField | None = None


class Page(NamedTuple):
    rows: list[Customer]
    has_before: bool
    has_after: bool


LAST_ADDED = Order()
LAST_SEEN = Order(Coalesce(F("last_seen_at"), Value(_NEVER)))


def by_field(field: CustomerField, *, is_descending: bool) -> Order:
    return Order(filters.value_of(field), is_descending, field)


def take(
    rows: "QuerySet[Customer]",
    order: Order,
    size: int,
    *,
    after: int | None = None,
    before: int | None = None,
) -> Page:
    """Return the page behind the customer with the id `after`, or that in front of `before`.

    Where that customer is no more, it is the first page.
    """
    is_backwards = before is not None
    start = before if is_backwards else after
    is_descending = order.is_descending != is_backwards
    if order.field is not None:
        rows = rows.filter(IsNull(order.value, False))
    beyond = None if start is None else _beyond(order, start, is_descending=is_descending)
    if beyond is None:
        start, is_backwards, is_descending = None, False, order.is_descending
    else:
        rows = rows.filter(beyond)
    found = list(rows.order_by(*_sorting(order, is_descending=is_descending))[: size + 1])
    has_more = len(found) > size
    found = found[:size][:: -1 if is_backwards else 1]
    has_before = has_more if is_backwards else start is not None
    return Page(found, has_before, True if is_backwards else has_more)


def _sorting(order: Order, *, is_descending: bool) -> list[Any]:
    by_id = F("id").desc() if is_descending else F("id").asc()
    if order.value is None:
        return [by_id]
    value = order.value
    return [value.desc() if is_descending else value.asc(), by_id]


def _beyond(order: Order, customer_id: int, *, is_descending: bool) -> Q | None:
    """The condition on what comes after a customer; None if there is no such customer."""
    lookup: Any = LessThan if is_descending else GreaterThan
    beyond_id = Q(lookup(F("id"), customer_id))
    if order.value is None:
        return beyond_id
    found = Customer.objects.filter(pk=customer_id).values_list(order.value)
    value = found.first()
    if value is None or value[0] is None:
        return None
    is_same = Q(Exact(order.value, value[0])) & beyond_id
    # What holds of both sides of the OR lets an index begin where the page does.
    reaches: Any = LessThanOrEqual if is_descending else GreaterThanOrEqual
    return Q(reaches(order.value, value[0])) & (Q(lookup(order.value, value[0])) | is_same)

"""The statements of taking events back."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from customers import arrays


class Row(NamedTuple):
    """An event that an import brought. `at` is when its customer was seen by it."""

    customer_id: int
    id: int
    message_id: str
    at: datetime


def select_imported(import_id: int, source_id: int, low: int, high: int) -> list[Row]:
    """Return the events with an id in (low, high] that an import of this source brought."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, id, message_id, least(occurred_at, received_at)
            FROM events_event
            WHERE id > %s AND id <= %s AND source_id = %s
              AND context @> jsonb_build_object('import', %s::bigint)
            ORDER BY id
            """,
            [low, high, source_id, import_id],
        )
        return [Row(*row) for row in cursor.fetchall()]


def select_remaining(customer_ids: Sequence[int]) -> dict[int, tuple[datetime, datetime]]:
    """Return when customers were seen by the events that they have: the first and last time."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, min(least(occurred_at, received_at)),
                   max(least(occurred_at, received_at))
            FROM events_event
            WHERE customer_id = ANY(%s::bigint[])
            GROUP BY customer_id
            """,
            [arrays.of_numbers(customer_ids)],
        )
        return {customer_id: (first, last) for customer_id, first, last in cursor.fetchall()}

"""What has become true of whom, until the segments have followed."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from customers import arrays


def insert_changes(rows: Sequence[tuple[int, str, int | None]]) -> None:
    """Append (customer id, fact, event id) to the queue of changes and notify the pipeline."""
    customer_ids, facts, event_ids = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH woken AS (SELECT pg_notify('cdp', ''))
            INSERT INTO customers_change (customer_id, fact, event_id)
            SELECT changed.*
            FROM woken, unnest(%s::bigint[], %s::text[], %s::bigint[]) AS changed
            """,
            [
                arrays.of_numbers(customer_ids),
                arrays.of_texts(facts),
                arrays.of_numbers(event_ids),
            ],
        )


def notify() -> None:
    """Notify the pipeline, once the transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY cdp")


def take_changes(limit: int) -> list[Any]:
    """Remove up to `limit` of the oldest changes, skipping what others hold.

    Returns (customer id, fact, event id), oldest first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
                SELECT id FROM customers_change WHERE error = ''
                ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
            ), taken AS (
                DELETE FROM customers_change USING oldest
                WHERE customers_change.id = oldest.id
                RETURNING customers_change.id, customer_id, fact, event_id
            )
            SELECT customer_id, fact, event_id FROM taken ORDER BY id
            """,
            [limit],
        )
        return cursor.fetchall()


def set_change_aside(error: str) -> None:
    """Mark the oldest change, so that it is no longer taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_change SET error = %s
            WHERE id = (SELECT min(id) FROM customers_change WHERE error = '')
            """,
            [error],
        )

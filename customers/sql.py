"""Every raw statement of this app, one per function, named after what it does."""

from collections.abc import Sequence
from typing import Any

from django.db import connection


def insert_changes(rows: Sequence[tuple[int, str, int | None]]) -> None:
    """Append (customer id, fact, event id) to the queue of changes and notify the pipeline."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH woken AS (SELECT pg_notify('cdp', ''))
            INSERT INTO customers_change (customer_id, fact, event_id)
            SELECT changed.*
            FROM woken, unnest(%s::bigint[], %s::text[], %s::bigint[]) AS changed
            """,
            columns,
        )


def take_changes(limit: int) -> list[Any]:
    """Remove up to `limit` of the oldest changes, skipping what others hold.

    Returns (customer id, fact, event id), oldest first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
                SELECT id FROM customers_change ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
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


def estimate_rows(table: str) -> int:
    """Return the planner's estimate of the rows of a table; 0 if it was never analyzed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)
            """,
            [table],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0

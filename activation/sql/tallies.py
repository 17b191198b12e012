"""How many messages were delivered, and failed for good: counted as it happens."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection


def counting(rows: str, sign: str = "") -> str:
    """Write the statement that counts deliveries, or with a minus counts them no more.

    `rows` names those whose state changes, with trigger_id, is_test, delivered_at, dead_at.
    """
    return f"""
        INSERT INTO activation_tally AS t (trigger_id, hour, delivered, failed)
        SELECT trigger_id, date_trunc('hour', COALESCE(delivered_at, dead_at), 'UTC'),
               {sign}count(delivered_at), {sign}count(dead_at)
        FROM {rows}
        WHERE NOT is_test AND COALESCE(delivered_at, dead_at) IS NOT NULL
        GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (trigger_id, hour) DO UPDATE
        SET delivered = t.delivered + excluded.delivered, failed = t.failed + excluded.failed
    """  # noqa: S608 (constants)


def sums(trigger_ids: Sequence[int], since: datetime) -> list[tuple[int, int, int]]:
    """Return (trigger id, delivered, failed) of triggers since the hour of an instant."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT trigger_id, sum(delivered), sum(failed)
            FROM unnest(%s::bigint[]) AS wanted (id)
            JOIN activation_tally ON trigger_id = id
             AND hour >= date_trunc('hour', %s::timestamptz, 'UTC')
            GROUP BY 1
            """,
            [[*trigger_ids], since],
        )
        return cursor.fetchall()


def totals(since: datetime) -> tuple[int, int]:
    """Return how many were delivered, and failed, since the hour of an instant."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT COALESCE(sum(delivered), 0), COALESCE(sum(failed), 0) FROM activation_tally
            WHERE hour >= date_trunc('hour', %s::timestamptz, 'UTC')
            """,
            [since],
        )
        row = cursor.fetchone()
        return int(row[0]), int(row[1])

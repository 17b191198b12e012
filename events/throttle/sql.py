"""The statements of the limits of sources."""

from django.db import connection


def select_limit(write_key: str) -> tuple[int, int] | None:
    """Return (source id, events a second) of the source with this key, if it has a limit."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, rate_limit FROM events_source
            WHERE write_key = %s AND rate_limit IS NOT NULL
            """,
            [write_key],
        )
        row: tuple[int, int] | None = cursor.fetchone()
        return row


def take_allowance(source_id: int, cost: float, burst: float) -> bool:
    """Put off by `cost` the time at which a source is free; False if that is too far ahead.

    That is, more than `burst` ahead of now, or what costs more, that it is not free now. Both are
    seconds.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_allowance AS known (source_id, free_at)
            VALUES (%(source)s, statement_timestamp() + make_interval(secs => %(cost)s))
            ON CONFLICT (source_id) DO UPDATE
            SET free_at = greatest(
                known.free_at + make_interval(secs => %(cost)s), excluded.free_at
            )
            WHERE known.free_at <= excluded.free_at + make_interval(secs => %(slack)s)
            """,
            {"source": source_id, "cost": cost, "slack": max(burst - cost, 0) - cost},
        )
        return int(cursor.rowcount) == 1


def select_wait(source_id: int, cost: float, burst: float) -> float:
    """Return in how many seconds the source may send what costs so much."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT extract(
                epoch FROM free_at - statement_timestamp() - make_interval(secs => %s)
            )::float
            FROM events_allowance WHERE source_id = %s
            """,
            [max(burst - cost, 0), source_id],
        )
        row = cursor.fetchone()
        return float(row[0]) if row else 0.0

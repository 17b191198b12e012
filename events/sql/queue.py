"""The inbox: requests as they came, until the pipeline takes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection


def insert_inbox_by_key(write_key: str, call: str, body: bytes) -> bool:
    """Put a request into the inbox of the source with this key; False if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_inbox (source_id, call, body)
            SELECT id, %s, %s FROM events_source WHERE write_key = %s
            """,
            [call, body, write_key],
        )
        return int(cursor.rowcount) == 1


def insert_inbox(source_id: int, call: str, body: bytes, received_at: datetime | None) -> None:
    """Put a request into the inbox of a source; it was received now unless said otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH stored AS (
                INSERT INTO events_inbox (source_id, call, body, received_at)
                VALUES (%s, %s, %s, coalesce(%s, statement_timestamp()))
                RETURNING id
            )
            SELECT pg_notify('cdp_inbox', '') FROM stored
            """,
            [source_id, call, body, received_at],
        )


def notify() -> None:
    """Notify who takes requests in, once the transaction commits, which no disk need confirm.

    Transactions that notify commit one by one: each would keep the next, the pipeline's included,
    waiting for the disk. In a transaction that has something to keep, it would not be kept.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT set_config('synchronous_commit', 'off', true), pg_notify('cdp_inbox', '')
            """
        )


def take_inbox(limit: int, max_bytes: int) -> list[Any]:
    """Remove up to `limit` of the oldest requests, skipping what others hold.

    Stops once they have `max_bytes` together, at least one is taken. Returns (source id,
    received_at, call, body), oldest first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
                SELECT id, octet_length(body) AS size
                FROM events_inbox
                WHERE error = ''
                ORDER BY id
                LIMIT %s
                FOR UPDATE SKIP LOCKED
            ), counted AS (
                SELECT id, sum(size) OVER (ORDER BY id) - size AS bytes_before FROM oldest
            ), taken AS (
                DELETE FROM events_inbox USING counted
                WHERE events_inbox.id = counted.id AND counted.bytes_before < %s
                RETURNING events_inbox.id, source_id, received_at, call, body
            )
            SELECT source_id, received_at, call, body FROM taken ORDER BY id
            """,
            [limit, max_bytes],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def set_inbox_aside(error: str) -> None:
    """Mark the oldest request, so that it is no longer taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE events_inbox SET error = %s
            WHERE id = (SELECT min(id) FROM events_inbox WHERE error = '')
            """,
            [error],
        )


def lock_inbox_with(texts: Sequence[bytes]) -> list[Any]:
    """Return (id, call, body) of requests in which one of these occurs; held by us from now on.

    Those that others hold are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, call, body FROM events_inbox
            WHERE EXISTS (
                SELECT FROM unnest(%s::bytea[]) AS wanted (text) WHERE position(text IN body) > 0
            )
            FOR UPDATE SKIP LOCKED
            """,
            [list(texts)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows

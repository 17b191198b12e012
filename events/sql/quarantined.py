"""The quarantine: events that could not be taken, until somebody replays them."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from customers import arrays


def insert_quarantined(rows: Sequence[tuple[Any, ...]]) -> None:
    """Set aside (source id, received_at, call, code, message, body, digest).

    One that waits with the same digest is there already; null is nothing's digest.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_quarantine
                (source_id, received_at, call, code, message, body, digest)
            SELECT * FROM unnest(
                %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],
                %s::bigint[]
            )
            ON CONFLICT DO NOTHING
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def take_quarantined(ids: Sequence[int]) -> list[Any]:
    """Mark those not replayed yet as replayed; return (id, source id, received_at, call, body)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE events_quarantine SET replayed_at = statement_timestamp()
            WHERE id = ANY(%s::bigint[]) AND replayed_at IS NULL
            RETURNING id, source_id, received_at, call, code, body
            """,
            [[*ids]],
        )
        rows: list[Any] = cursor.fetchall()
        return sorted(rows)


def select_quarantined_with(texts: Sequence[str]) -> list[Any]:
    """Return (id, call, body) of events set aside in which one of these occurs."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, call, body FROM events_quarantine
            WHERE EXISTS (
                SELECT FROM unnest(%s::text[]) AS wanted (text) WHERE position(text IN body) > 0
            )
            """,
            [arrays.of_texts(texts)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows

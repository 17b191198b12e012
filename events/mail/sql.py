"""The statements about recipients of e-mails."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection


def insert_waiting(rows: Sequence[tuple[str, int, datetime, str]]) -> None:
    """Keep (e-mail, source id, received_at, event as JSON)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_waiting (email, source_id, received_at, body)
            SELECT * FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[], %s::text[])
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def take_waiting(emails: Sequence[str]) -> list[tuple[int, datetime, str]]:
    """Remove what waits for these e-mails; return (source id, received_at, event), in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM events_waiting WHERE email = ANY(%s::text[])
            RETURNING id, source_id, received_at, body
            """,
            [[*emails]],
        )
        return [row[1:] for row in sorted(cursor.fetchall())]


def forget_waiting(before: datetime | None, at_most: int, at_once: int) -> None:
    """Remove of the `at_once` oldest those received before, and those beyond `at_most` events.

    How many there are is told by their ids, which are given in turn.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM events_waiting
            USING (
                SELECT id FROM events_waiting ORDER BY id LIMIT %(at_once)s
            ) AS oldest
            WHERE events_waiting.id = oldest.id AND (
                received_at < %(before)s::timestamptz
                OR events_waiting.id <= (SELECT max(id) FROM events_waiting) - %(at_most)s
            )
            """,
            {"before": before, "at_most": at_most, "at_once": at_once},
        )


def select_emails(customer_ids: Sequence[int]) -> list[str]:
    """Return the e-mails of these customers: identifiers, and fields that are called so."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT value FROM customers_identifier
            WHERE kind = 'email' AND customer_id = ANY(%(ids)s::bigint[])
            UNION
            SELECT lower(value)
            FROM customers_customer, jsonb_each_text(fields) AS held (name, value)
            WHERE id = ANY(%(ids)s::bigint[]) AND name ~* 'e-?mail' AND value <> ''
            """,
            {"ids": [*customer_ids]},
        )
        return [email for (email,) in cursor.fetchall()]

"""The statements about recipients of e-mails."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from customers import search


def find_by_field(emails: Sequence[str]) -> dict[str, str]:
    """Return the CustomerId of who has the e-mail in a field that is called so, by e-mail."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT wanted.email, found.external_id
            FROM unnest(%s::text[]) AS wanted (email)
            CROSS JOIN LATERAL (
                SELECT external_id
                FROM customers_searchentry AS entry
                JOIN customers_customer AS customer ON customer.id = entry.customer_id
                WHERE words @@ plainto_tsquery('simple', translate(wanted.email, %s, %s))
                  AND external_id IS NOT NULL AND merged_into_id IS NULL
                  AND EXISTS (
                      SELECT 1 FROM jsonb_each_text(fields) AS held (name, value)
                      WHERE name ~* 'e-?mail' AND lower(value) = wanted.email
                  )
                ORDER BY customer.id LIMIT 1
            ) AS found
            """,
            [[*emails], search.FOLDED, search.PLAIN],
        )
        return dict(cursor.fetchall())


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

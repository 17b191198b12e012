"""The statements of decisions about consent, one per function."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from customers import arrays


def add_purposes(keys: Sequence[str], limit: int) -> None:
    """Add purposes by key, in order, while there are fewer than `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_consentpurpose (key, channel)
            SELECT key, 'other'
            FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS wanted (key, number)
            WHERE number <= %(limit)s - (SELECT count(*) FROM customers_consentpurpose)
            ORDER BY key
            ON CONFLICT (key) DO NOTHING
            """,
            {"keys": arrays.of_texts(keys), "limit": limit},
        )


def append_changes(
    rows: Sequence[tuple[int, str, bool, datetime, str, str]], source: str, now: datetime
) -> None:
    """Add (customer id, purpose, granted, at, via, text version) to the history."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_consentchange
                (customer_id, origin_id, purpose, granted, at, via, text_version, source,
                 recorded_at)
            SELECT given.customer_id, given.*, %s, %s
            FROM unnest(%s::bigint[], %s::text[], %s::boolean[], %s::timestamptz[], %s::text[],
                        %s::text[]) AS given (customer_id, purpose, granted, at, via, text_version)
            """,
            [source, now, *_columns(rows)],
        )


def put_decisions(
    rows: Sequence[tuple[int, str, bool, datetime, str, str]], source: str, now: datetime
) -> list[tuple[int, str]]:
    """Store (customer id, purpose, granted, at, via, text version) where nothing newer stands.

    At the same instant a refusal counts as the newer. A purpose may come once for a customer.
    Returns (customer id, purpose) where granted is not what it was before. The customers must be
    held.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH given AS MATERIALIZED (
                SELECT *
                FROM unnest(%(customer_ids)s::bigint[], %(purposes)s::text[],
                            %(granted)s::boolean[], %(times)s::timestamptz[], %(vias)s::text[],
                            %(versions)s::text[])
                     AS given (customer_id, purpose, granted, at, via, text_version)
            ), before AS MATERIALIZED (
                SELECT customer_id, purpose, present.granted
                FROM given JOIN customers_consent AS present USING (customer_id, purpose)
            ), stored AS (
                INSERT INTO customers_consent AS present
                    (customer_id, purpose, granted, at, via, text_version, source, recorded_at)
                SELECT *, %(source)s, %(now)s FROM given ORDER BY customer_id, purpose
                ON CONFLICT (customer_id, purpose) DO UPDATE
                SET granted = excluded.granted, at = excluded.at, via = excluded.via,
                    text_version = excluded.text_version, source = excluded.source,
                    recorded_at = excluded.recorded_at
                WHERE (excluded.at, NOT excluded.granted) > (present.at, NOT present.granted)
                RETURNING customer_id, purpose, granted
            )
            SELECT customer_id, purpose
            FROM stored LEFT JOIN before USING (customer_id, purpose)
            WHERE stored.granted IS DISTINCT FROM before.granted
            ORDER BY customer_id, purpose
            """,
            dict(
                zip(
                    ("customer_ids", "purposes", "granted", "times", "vias", "versions"),
                    _columns(rows),
                    strict=True,
                )
            )
            | {"source": source, "now": now},
        )
        return cursor.fetchall()


def _columns(rows: Sequence[tuple[int, str, bool, datetime, str, str]]) -> list[Any]:
    customer_ids, purposes, granted, times, vias, versions = zip(*rows, strict=True)
    return [
        arrays.of_numbers(customer_ids),
        arrays.of_texts(purposes),
        [*granted],
        arrays.of_times(times),
        arrays.of_texts(vias),
        arrays.of_texts(versions),
    ]


def move(pairs: Sequence[tuple[int, int]]) -> bool:
    """Carry the history from each absorbed customer to the survivor; say whether there was any.

    The present of the absorbed goes. In steps: the customer is what the tables are distributed
    by and cannot be updated.
    """
    columns = [arrays.of_numbers(ids) for ids in zip(*pairs, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_consentchange
                (customer_id, id, origin_id, purpose, granted, at, via, text_version, source,
                 recorded_at)
            SELECT merge.survivor_id, id, origin_id, purpose, granted, at, via, text_version,
                   source, recorded_at
            FROM customers_consentchange
            JOIN unnest(%s::bigint[], %s::bigint[]) AS merge (absorbed_id, survivor_id)
              ON customers_consentchange.customer_id = merge.absorbed_id
            ON CONFLICT DO NOTHING
            """,
            columns,
        )
        if not cursor.rowcount:
            return False  # whoever has a decision has a history
        cursor.execute(
            "DELETE FROM customers_consentchange WHERE customer_id = ANY(%s::bigint[])", columns[:1]
        )
        cursor.execute(
            "DELETE FROM customers_consent WHERE customer_id = ANY(%s::bigint[])", columns[:1]
        )
    return True


def move_back(survivor_id: int, absorbed_id: int, origin_ids: Sequence[int]) -> None:
    """Give the history of those origins, now the survivor's, back to the absorbed customer."""
    parameters: dict[str, Any] = {
        "survivor_id": survivor_id,
        "absorbed_id": absorbed_id,
        "origin_ids": arrays.of_numbers(origin_ids),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_consentchange
                (customer_id, id, origin_id, purpose, granted, at, via, text_version, source,
                 recorded_at)
            SELECT %(absorbed_id)s, id, origin_id, purpose, granted, at, via, text_version, source,
                   recorded_at
            FROM customers_consentchange
            WHERE customer_id = %(survivor_id)s AND origin_id = ANY(%(origin_ids)s::bigint[])
            """,
            parameters,
        )
        cursor.execute(
            """
            DELETE FROM customers_consentchange
            WHERE customer_id = %(survivor_id)s AND origin_id = ANY(%(origin_ids)s::bigint[])
            """,
            parameters,
        )


def forget(customer_ids: Sequence[int], via: str) -> bool:
    """Remove from the history of these customers what came by one way; say if there was any."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM customers_consentchange WHERE customer_id = ANY(%s::bigint[]) AND via = %s
            """,
            [arrays.of_numbers(customer_ids), via],
        )
        return cursor.rowcount > 0


def derive(customer_ids: Sequence[int]) -> None:
    """Make the present decisions of these customers what their history says. Hold them."""
    ids = arrays.of_numbers(customer_ids)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM customers_consent WHERE customer_id = ANY(%s::bigint[])", [ids])
        cursor.execute(
            """
            INSERT INTO customers_consent
                (customer_id, purpose, granted, at, via, text_version, source, recorded_at)
            SELECT DISTINCT ON (customer_id, purpose)
                   customer_id, purpose, granted, at, via, text_version, source, recorded_at
            FROM customers_consentchange
            WHERE customer_id = ANY(%s::bigint[])
            ORDER BY customer_id, purpose, at DESC, granted, id
            """,
            [ids],
        )


def count_by_purpose() -> list[Any]:
    """Return (purpose, how many agreed, how many refused)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT purpose, count(*) FILTER (WHERE granted), count(*) FILTER (WHERE NOT granted)
            FROM customers_consent GROUP BY purpose
            """
        )
        rows: list[Any] = cursor.fetchall()
        return rows

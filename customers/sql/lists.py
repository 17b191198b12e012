"""How customers are found, counted and listed among a million."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from customers import arrays


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


def find_by_identifier(
    keys: Sequence[tuple[str, str]], text: str, limit: int, *, is_clear: bool
) -> list[int]:
    """Return ids of customers with one of the (kind, value), or an id or e-mail that begins so.

    Unless all is clear, the beginning of what is an address does not count.
    """
    kinds, values = [kind for kind, _ in keys], [value for _, value in keys]
    beginning = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id FROM customers_identifier
            WHERE (kind, value) IN (SELECT * FROM unnest(%(kinds)s::text[], %(values)s::text[]))
            UNION
            (SELECT customer_id FROM customers_identifier
             WHERE kind = 'customer_id' AND value LIKE %(beginning)s
               AND (%(is_clear)s OR value !~ '@|^[+]') LIMIT %(limit)s)
            UNION
            (SELECT customer_id FROM customers_identifier
             WHERE kind = 'email' AND %(is_clear)s AND value LIKE lower(%(beginning)s)
             LIMIT %(limit)s)
            LIMIT %(limit)s
            """,
            {
                "kinds": kinds,
                "values": values,
                "beginning": beginning,
                "limit": limit,
                "is_clear": is_clear,
            },
        )
        return [row[0] for row in cursor.fetchall()]


def find_by_words(whole: str, begun: str, parts: str, limit: int) -> list[int]:
    """Return ids of customers whose words match queries of PostgreSQL's text search.

    First by `whole`; by `begun` as well while these are fewer than `limit`; by `parts`, which costs
    the most, if there is nobody at all. By the index only: the planner takes a number of which
    nobody has more than one for frequent, and would read everybody.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            """
            WITH whole AS MATERIALIZED (
                SELECT customer_id FROM customers_searchentry
                WHERE words @@ to_tsquery('simple', %(whole)s) LIMIT %(limit)s
            ), begun AS MATERIALIZED (
                SELECT customer_id FROM customers_searchentry
                WHERE (SELECT count(*) FROM whole) < %(limit)s
                  AND words @@ to_tsquery('simple', %(begun)s) LIMIT %(limit)s
            )
            SELECT customer_id FROM whole
            UNION ALL
            SELECT customer_id FROM begun
            UNION ALL
            (SELECT customer_id FROM customers_searchentry
             WHERE NOT EXISTS (SELECT FROM whole) AND NOT EXISTS (SELECT FROM begun)
               AND words @@ to_tsquery('simple', %(parts)s) LIMIT %(limit)s)
            """,
            {"whole": whole, "begun": begun, "parts": parts, "limit": limit},
        )
        found = [row[0] for row in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_seqscan = on")
        return [*dict.fromkeys(found)][:limit]


def select_by_words(texts: Sequence[str]) -> list[Any]:
    """Return (place of the text, from 1; customer id; fields as JSON text), up to 20 of each.

    Those with a CustomerId come first, then the oldest. By the index only, as above.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            """
            SELECT place, found.id, found.fields::text
            FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (words, place)
            CROSS JOIN LATERAL (
                SELECT customer.id, customer.fields
                FROM customers_searchentry AS entry
                JOIN customers_customer AS customer ON customer.id = entry.customer_id
                WHERE words @@ plainto_tsquery('simple', wanted.words) AND merged_into_id IS NULL
                ORDER BY external_id IS NULL, customer.id
                LIMIT 20
            ) AS found
            ORDER BY place, 2
            """,
            [arrays.of_texts(texts)],
        )
        rows: list[Any] = cursor.fetchall()
        cursor.execute("SET LOCAL enable_seqscan = on")
        return rows


def keep_search_entries(customer_ids: Sequence[int], folded: str, plain: str) -> None:
    """Bring the search entries of these customers up to date.

    The letters `folded` count as those of `plain`. Of what looks like a phone number all digits
    are kept, and the last nine: the number without its country.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            WITH present AS MATERIALIZED (
                SELECT id, coalesce(words, '') AS words
                FROM customers_customer
                CROSS JOIN LATERAL (
                    SELECT to_tsvector('simple', translate(
                               lower(string_agg(left(value, 200), ' ')), %(folded)s, %(plain)s))
                           || coalesce(array_to_tsvector(
                               array_agg(digits) FILTER (WHERE digits <> '')
                               || array_agg(right(digits, 9)) FILTER (WHERE digits <> '')), '')
                           AS words
                    FROM jsonb_each(fields) AS held (name, json),
                         LATERAL (SELECT json #>> '{}') AS text (value),
                         LATERAL (SELECT CASE WHEN value ~ '^[+(]?[0-9][0-9 ()/.-]{6,24}$'
                                  THEN regexp_replace(value, '\D', '', 'g') ELSE '' END
                                 ) AS number (digits)
                    WHERE jsonb_typeof(json) = 'string' AND value NOT LIKE '____-__-__T__:__:__%%Z'
                ) AS own
                WHERE id = ANY(%(ids)s::bigint[]) AND merged_into_id IS NULL
            ), gone AS (
                DELETE FROM customers_searchentry
                WHERE customer_id = ANY(%(ids)s::bigint[])
                  AND customer_id NOT IN (SELECT id FROM present WHERE words <> '')
            )
            INSERT INTO customers_searchentry (customer_id, words)
            SELECT id, words FROM present WHERE words <> '' ORDER BY id
            ON CONFLICT (customer_id) DO UPDATE SET words = excluded.words
            WHERE customers_searchentry.words <> excluded.words
            """,
            {"ids": arrays.of_numbers(customer_ids), "folded": folded, "plain": plain},
        )


def field_indexes() -> dict[str, bool]:
    """Return the indexes made for filters by name, and whether each is complete."""
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            SELECT class.relname, index.indisvalid
            FROM pg_index AS index JOIN pg_class AS class ON class.oid = index.indexrelid
            WHERE index.indrelid = 'customers_customer'::regclass
              AND class.relname ~ '^customer_(field|seen)_'
            """
        )
        return dict(cursor.fetchall())


def try_lock_indexes() -> bool:
    """Let one session at a time build indexes; false if another one does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('customers.indexing'))")
        return bool(cursor.fetchone()[0])


def unlock_indexes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtext('customers.indexing'))")


def drop_index(name: str) -> None:
    """Remove an index without holding up writers. Call it outside a transaction."""
    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(name)
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}")


def analyze_customers() -> None:
    """Let the planner know what the values of indexed fields are like."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE customers_customer")


def planned_rows(rows: Any) -> int:
    """Return how many rows the planner believes that a queryset has."""
    plan = json.loads(rows.explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def limit_time(milliseconds: int) -> None:
    """Let each statement of the transaction take so long, then be cancelled."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])


def count_values() -> dict[str, int]:
    """Count for each name of a field the customers who have a value. Reads all customers."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, count(*)
            FROM customers_customer, jsonb_object_keys(fields) AS name
            WHERE merged_into_id IS NULL
            GROUP BY name
            """
        )
        return dict(cursor.fetchall())


def select_values(name: str, percent: float) -> list[tuple[str, int]]:
    """Return the distinct values of a field as JSON text, and how many customers have each.

    From a sample of so many percent of the customers, scaled up; 100 reads everyone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (fields -> %(name)s)::text, round(count(*) * 100.0 / %(percent)s)::bigint
            FROM customers_customer TABLESAMPLE SYSTEM (%(percent)s)
            WHERE merged_into_id IS NULL AND fields ? %(name)s
            GROUP BY 1 ORDER BY 2 DESC, 1
            """,
            {"name": name, "percent": percent},
        )
        return cursor.fetchall()

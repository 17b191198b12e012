"""The raw statements of filling, one per function, named after what it does."""

from collections.abc import Mapping
from typing import Any

from django.db import connection

from segments.sql import evaluating


def next_customers(after: int, until: int, limit: int) -> int:
    """Return the id that ends the next `limit` customers after an id, `until` if they are fewer."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT CASE WHEN count(*) < %(limit)s THEN %(until)s ELSE max(id) END
            FROM (
                SELECT id FROM customers_customer WHERE id > %(after)s AND id <= %(until)s
                ORDER BY id LIMIT %(limit)s
            ) AS following
            """,
            {"after": after, "until": until, "limit": limit},
        )
        number: int = cursor.fetchone()[0]
        return number


def fill(
    source: str, truth: tuple[str, str], scope: str, parameters: Mapping[str, Any]
) -> tuple[int, int]:
    """Have those in scope belong to a segment by its rule, with history and re-checks.

    `truth` is the SQL of holds and of next for the FROM clause `source`; %(segment)s is the
    segment, and %(at)s when they enter or leave. Who is not in `source` stays as he is. Returns how
    many entered, and left.
    """
    holds, following = truth
    with evaluating() as cursor:
        # The numbers of entries are looked up by an index, even where statistics are missing.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"""
            WITH different AS MATERIALIZED (
                SELECT v.customer_id, v.holds, v.holds <> (m.customer_id IS NOT NULL) AS is_news,
                       NULLIF(v.due_at, 'infinity') AS due_at, r.due_at AS noted_at
                FROM (
                    SELECT c.id AS customer_id, {holds} AS holds, {following} AS due_at
                    FROM {source} OFFSET 0
                ) v
                LEFT JOIN segments_membership m
                    ON m.customer_id = v.customer_id AND m.segment_id = %(segment)s
                    AND {scope.format(id="m.customer_id")}
                LEFT JOIN segments_recheck r
                    ON r.customer_id = v.customer_id AND r.segment_id = %(segment)s
                    AND {scope.format(id="r.customer_id")}
                WHERE v.holds <> (m.customer_id IS NOT NULL)
                   OR v.due_at <> COALESCE(r.due_at, 'infinity')
            ), settled AS (
                DELETE FROM segments_recheck r USING different d
                WHERE r.customer_id = d.customer_id AND r.segment_id = %(segment)s
                  AND d.due_at IS NULL AND d.noted_at IS NOT NULL
                  AND {scope.format(id="r.customer_id")}
            ), awaited AS (
                INSERT INTO segments_recheck (customer_id, segment_id, due_at)
                SELECT customer_id, %(segment)s, due_at FROM different
                WHERE due_at IS DISTINCT FROM noted_at AND due_at IS NOT NULL
                ON CONFLICT (customer_id, segment_id) DO UPDATE SET due_at = excluded.due_at
            ), member AS (
                INSERT INTO segments_membership
                    (customer_id, segment_id, entered_at, entry_no, cause)
                SELECT customer_id, %(segment)s, %(at)s, 1 + COALESCE((
                    SELECT max(entry_no) FROM segments_membershipchange h
                    WHERE h.customer_id = d.customer_id AND h.segment_id = %(segment)s
                ), 0), 'rule'
                FROM different d WHERE is_news AND holds
                ON CONFLICT DO NOTHING
                RETURNING customer_id, entry_no
            ), gone AS (
                DELETE FROM segments_membership m USING different d
                WHERE m.customer_id = d.customer_id AND m.segment_id = %(segment)s
                  AND d.is_news AND NOT d.holds AND {scope.format(id="m.customer_id")}
                RETURNING m.customer_id, m.entry_no
            ), noted AS (
                INSERT INTO segments_membershipchange
                    (customer_id, segment_id, entered, at, cause, entry_no)
                SELECT customer_id, %(segment)s, true, %(at)s, 'rule', entry_no FROM member
                UNION ALL
                SELECT customer_id, %(segment)s, false, %(at)s, 'rule', entry_no FROM gone
            )
            SELECT (SELECT count(*) FROM member), (SELECT count(*) FROM gone)
            """,
            parameters,
        )
        entered, left = cursor.fetchone()
        cursor.execute("SET LOCAL enable_seqscan = on")
        return entered, left

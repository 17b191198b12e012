"""Every raw statement of this app, one per function, named after what it does.

Statements around a compiled rule take its text from `compiler`, whose values are all parameters.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction

EVALUATORS = 0x5E6  # advisory lock: shared by refreshes, exclusive for a fill or an edited rule
REFRESHES = 0x5E7  # advisory lock: one refresh at a time


def lock_evaluation(*, exclusive: bool) -> None:
    """Keep fills and edits of rules apart from refreshes until the transaction ends."""
    function = "pg_advisory_xact_lock" if exclusive else "pg_advisory_xact_lock_shared"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [EVALUATORS])


def lock_refresh() -> None:
    """Keep other refreshes away, and fills and edits of rules, until the transaction ends.

    Of two refreshes for the same customer, the one that read first might write last.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s), pg_advisory_xact_lock_shared(%s)",
            [REFRESHES, EVALUATORS],
        )


@contextlib.contextmanager
def evaluating() -> Iterator[Any]:
    """A cursor that joins by hash only.

    Every table that a compiled rule reads is narrowed to the same customers before it is joined,
    so nested loops can win little; but where statistics are missing or old, as after an import,
    the planner takes thousands of rows for one and loops for minutes.
    """
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        yield cursor
        cursor.execute("SET LOCAL enable_nestloop = on")


def diff(
    source: str, rows: Sequence[tuple[int, str, str]], scope: str, parameters: Mapping[str, Any]
) -> list[tuple[int, int, bool]]:
    """Evaluate segments for the customers in scope and note when to look again.

    `rows` holds (segment id, SQL of holds, SQL of next) for the FROM clause `source`. Writes the
    re-checks that differ from those noted; returns (segment id, customer id, belongs) where that
    differs from the membership. Call it while `evaluating`.
    """
    with connection.cursor() as cursor:
        cursor.execute(diff_text(source, rows, scope), parameters)
        return cursor.fetchall()


def diff_text(
    source: str, rows: Sequence[tuple[int, str, str]], scope: str, *, by_pairs: bool = False
) -> str:
    """The statement of `diff`.

    With `by_pairs` only for each customer of %(asked_of)s the segment beside it in %(asked_for)s.
    """
    ids, holds, due = (", ".join(map(str, column)) for column in zip(*rows, strict=True))
    asked = """
            JOIN unnest(%(asked_of)s::bigint[], %(asked_for)s::bigint[])
                AS asked (customer_id, segment_id)
                ON asked.customer_id = c.id AND asked.segment_id = v.segment_id
    """
    return f"""
        WITH different AS MATERIALIZED (
            SELECT c.id AS customer_id, v.segment_id, v.holds,
                   v.holds <> (m.customer_id IS NOT NULL) AS is_news,
                   NULLIF(v.due_at, 'infinity') AS due_at, r.due_at AS noted_at
            FROM {source}
            -- arrays: each row of a VALUES list would be prepared anew for each customer
            CROSS JOIN LATERAL unnest(
                ARRAY[{ids}]::bigint[], ARRAY[{holds}], ARRAY[{due}]
            ) AS v (segment_id, holds, due_at)
            {asked if by_pairs else ""}
            LEFT JOIN segments_membership m
                ON m.customer_id = c.id AND m.segment_id = v.segment_id
                AND {scope.format(id="m.customer_id")}
            LEFT JOIN segments_recheck r
                ON r.customer_id = c.id AND r.segment_id = v.segment_id
                AND {scope.format(id="r.customer_id")}
            WHERE v.holds <> (m.customer_id IS NOT NULL)
               OR v.due_at <> COALESCE(r.due_at, 'infinity')
        ), settled AS (
            DELETE FROM segments_recheck r USING different d
            WHERE r.customer_id = d.customer_id AND r.segment_id = d.segment_id
              AND d.due_at IS NULL AND d.noted_at IS NOT NULL
              AND {scope.format(id="r.customer_id")}
        ), awaited AS (
            INSERT INTO segments_recheck (customer_id, segment_id, due_at)
            SELECT customer_id, segment_id, due_at FROM different
            WHERE due_at IS DISTINCT FROM noted_at AND due_at IS NOT NULL
            ON CONFLICT (customer_id, segment_id) DO UPDATE SET due_at = excluded.due_at
        )
        SELECT segment_id, customer_id, holds FROM different WHERE is_news
        ORDER BY customer_id, segment_id
    """


def enter(
    rows: Sequence[tuple[int, int, str, int | None]], at: datetime
) -> dict[tuple[int, int], int]:
    """Make members of (customer id, segment id, cause, event id), with history.

    Returns the number of this entry by (customer id, segment id): 1 at the first, then counting up.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    customer_ids, segment_ids = ([*{*ids}] for ids in columns[:2])
    with evaluating() as cursor:
        cursor.execute(
            """
            WITH earlier AS (
                SELECT customer_id, segment_id, max(entry_no) AS entry_no
                FROM segments_membershipchange
                WHERE customer_id = ANY(%s::bigint[]) AND segment_id = ANY(%s::bigint[])
                GROUP BY customer_id, segment_id
            ), entering AS MATERIALIZED (
                SELECT n.*, 1 + COALESCE(earlier.entry_no, 0) AS entry_no
                FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[])
                    AS n (customer_id, segment_id, cause, event_id)
                LEFT JOIN earlier USING (customer_id, segment_id)
            ), member AS (
                INSERT INTO segments_membership
                    (customer_id, segment_id, entered_at, entry_no, cause)
                SELECT customer_id, segment_id, %s, entry_no, cause FROM entering
                ON CONFLICT DO NOTHING
                RETURNING customer_id, segment_id, entered_at, entry_no, cause
            ), noted AS (
                INSERT INTO segments_membershipchange
                    (customer_id, segment_id, entered, at, cause, entry_no, event_id)
                SELECT customer_id, segment_id, true, m.entered_at, m.cause, m.entry_no, n.event_id
                FROM member m JOIN entering n USING (customer_id, segment_id)
            )
            SELECT customer_id, segment_id, entry_no FROM member
            """,
            [customer_ids, segment_ids, *columns, at],
        )
        return {(customer, segment): entry for customer, segment, entry in cursor.fetchall()}


def leave(
    rows: Sequence[tuple[int, int, str, int | None]], at: datetime
) -> dict[tuple[int, int], int]:
    """End the membership of (customer id, segment id, cause, event id), with history.

    Returns the number of the entry that ends by (customer id, segment id).
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH leaving AS (
                SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[])
                    AS n (customer_id, segment_id, cause, event_id)
            ), gone AS (
                DELETE FROM segments_membership m USING leaving n
                WHERE m.customer_id = n.customer_id AND m.segment_id = n.segment_id
                RETURNING m.customer_id, m.segment_id, m.entry_no, n.cause, n.event_id
            ), noted AS (
                INSERT INTO segments_membershipchange
                    (customer_id, segment_id, entered, at, cause, entry_no, event_id)
                SELECT customer_id, segment_id, false, %s, cause, entry_no, event_id FROM gone
            )
            SELECT customer_id, segment_id, entry_no FROM gone
            """,
            [*columns, at],
        )
        return {(customer, segment): entry for customer, segment, entry in cursor.fetchall()}


def change_sizes(by: Mapping[int, int]) -> None:
    """Add to the kept number of members of each segment, by its id."""
    rows = sorted(by.items())  # a fixed order, lest two writers wait for each other
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO segments_size AS kept (segment_id, members)
            SELECT * FROM unnest(%s::bigint[], %s::bigint[])
            ON CONFLICT (segment_id) DO UPDATE SET members = kept.members + excluded.members
            """,
            [[segment_id for segment_id, _ in rows], [change for _, change in rows]],
        )


def size_at(segment_id: int, at: datetime) -> int:
    """Return how many members a segment had at a past instant: now, less what came since."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT COALESCE((SELECT members FROM segments_size WHERE segment_id = %(segment)s), 0)
                 - COALESCE(sum(CASE WHEN entered THEN 1 ELSE -1 END), 0)
            FROM segments_membershipchange
            WHERE segment_id = %(segment)s AND at >= %(at)s
            """,
            {"segment": segment_id, "at": at},
        )
        size: int = cursor.fetchone()[0]
        return size


def take_due_rechecks(now: datetime, limit: int) -> list[tuple[int, int]]:
    """Remove up to `limit` re-checks that are due, first due first; (customer id, segment id)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH due AS (
                SELECT customer_id, segment_id FROM segments_recheck
                WHERE due_at <= %s ORDER BY due_at LIMIT %s
            )
            DELETE FROM segments_recheck r USING due
            WHERE r.customer_id = due.customer_id AND r.segment_id = due.segment_id
            RETURNING r.customer_id, r.segment_id
            """,
            [now, limit],
        )
        return cursor.fetchall()


def next_due() -> datetime | None:
    """Return when the first re-check is due."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(due_at) FROM segments_recheck")
        return cursor.fetchone()[0]


def counts(
    source: str,
    rule: str,
    conditions: Sequence[str],
    parameters: Mapping[str, Any],
    *,
    sample: int,
    members: int,
) -> tuple[Any, ...]:
    """Evaluate a rule for everyone in `source`.

    Returns (customers, members, then one count for each condition, sample of ids, ids of members
    or null).
    """
    each = "".join(f", count(*) FILTER (WHERE {condition})" for condition in conditions)
    listed = "NULL"
    if members:
        listed = f"(array_agg(c.id ORDER BY c.id) FILTER (WHERE {rule}))[1:{int(members)}]"
    with evaluating() as cursor:
        cursor.execute(
            f"""
            SELECT count(*), count(*) FILTER (WHERE {rule}){each},
                   (array_agg(c.id) FILTER (WHERE {rule}))[1:{int(sample)}], {listed}
            FROM {source}
            """,
            parameters,
        )
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def count_customers() -> int:
    """Count the customers who were not merged, from two indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM customers_customer)
                 - (SELECT count(*) FROM customers_customer WHERE merged_into_id IS NOT NULL)
            """
        )
        number: int = cursor.fetchone()[0]
        return number


def plan(
    source: str, rule: str, parameters: Mapping[str, Any], *, analyze: bool
) -> tuple[str, str]:
    """Return the statement that finds all members of a rule, and the plan for it."""
    text = f"SELECT c.id FROM {source}\nWHERE {rule}"
    how = "EXPLAIN (ANALYZE, BUFFERS)" if analyze else "EXPLAIN"
    with evaluating() as cursor:
        written = cursor.mogrify(text, parameters)
        cursor.execute(f"{how} {text}", parameters)
        return written, "\n".join(line for (line,) in cursor.fetchall())


def values_of(
    source: str, columns: Sequence[str], parameters: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    """Read SQL expressions over the one customer of `source`."""
    with evaluating() as cursor:
        cursor.execute(
            f"""
            SELECT {", ".join(columns)} FROM {source}
            """,
            parameters,
        )
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def limit_time(seconds: int) -> None:
    """Let each statement of the transaction take so many seconds, then be cancelled."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])


def differences(
    source: str, rule: str, parameters: Mapping[str, Any], segment_id: int
) -> tuple[int, int]:
    """Evaluate a rule for everyone; return how many would enter the segment, and leave it."""
    with evaluating() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FILTER (WHERE {rule} AND m.customer_id IS NULL),
                   count(*) FILTER (WHERE NOT {rule} AND m.customer_id IS NOT NULL)
            FROM {source}
            LEFT JOIN segments_membership m
                ON m.customer_id = c.id AND m.segment_id = %(segment_id)s
            """,
            {**parameters, "segment_id": segment_id},
        )
        entering, leaving = cursor.fetchone()
        return entering, leaving

"""Every raw statement by which memberships follow merges, and merges that are undone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from customers import arrays


def select_unfollowed(survivors: Sequence[int]) -> list[tuple[int, int]]:
    """Return (customer, who that is now) of those merged into these whose rows are still theirs."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.merged_into_id
            FROM customers_customer c
            WHERE c.merged_into_id = ANY(%s::bigint[]) AND (
                EXISTS (SELECT FROM segments_membership m WHERE m.customer_id = c.id)
                OR EXISTS (SELECT FROM segments_membershipchange h WHERE h.customer_id = c.id)
            )
            """,
            [arrays.of_numbers(survivors)],
        )
        return cursor.fetchall()


def carry_history(absorbed: Sequence[int], survivors: Sequence[int]) -> None:
    """Give the history of merged customers to their survivors; it remembers whose it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH merging AS (
                SELECT * FROM unnest(%(absorbed)s::bigint[], %(survivors)s::bigint[])
                    AS pair (absorbed_id, survivor_id)
            ), old AS (
                DELETE FROM segments_membershipchange h USING merging
                WHERE h.customer_id = merging.absorbed_id
                RETURNING survivor_id, h.*
            )
            INSERT INTO segments_membershipchange
                (customer_id, id, segment_id, entered, at, cause, entry_no, event_id,
                 absorbed_id, is_double)
            SELECT survivor_id, id, segment_id, entered, at, cause, entry_no, event_id,
                   COALESCE(absorbed_id, customer_id), is_double
            FROM old
            """,
            {"absorbed": [*absorbed], "survivors": [*survivors]},
        )


def carry_memberships(absorbed: Sequence[int], survivors: Sequence[int], at: datetime) -> list[Any]:
    """Give the memberships of merged customers to their survivors; nobody enters.

    Where both were members the survivor's membership stands, and the other ends with cause merge.
    Returns (segment id, by how many members it has changed).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH merging AS (
                SELECT * FROM unnest(%(absorbed)s::bigint[], %(survivors)s::bigint[])
                    AS pair (absorbed_id, survivor_id)
            ), awaited AS (
                DELETE FROM segments_recheck r USING merging WHERE r.customer_id = absorbed_id
            ), old AS (
                DELETE FROM segments_membership m USING merging
                WHERE m.customer_id = absorbed_id
                RETURNING m.*, survivor_id
            ), carried AS (
                INSERT INTO segments_membership
                    (customer_id, segment_id, entered_at, entry_no, cause)
                SELECT DISTINCT ON (survivor_id, segment_id)
                       survivor_id, segment_id, entered_at, entry_no, cause
                FROM old ORDER BY survivor_id, segment_id, entered_at, customer_id
                ON CONFLICT DO NOTHING
                RETURNING customer_id, segment_id
            ), ranked AS (
                SELECT *, row_number() OVER (
                    PARTITION BY survivor_id, segment_id ORDER BY entered_at, customer_id
                ) AS place FROM old
            ), ended AS (
                INSERT INTO segments_membershipchange
                    (customer_id, segment_id, entered, at, cause, entry_no, absorbed_id, is_double)
                SELECT o.survivor_id, o.segment_id, false, %(at)s, 'merge', o.entry_no,
                       o.customer_id, true
                FROM ranked o
                LEFT JOIN carried c
                    ON c.customer_id = o.survivor_id AND c.segment_id = o.segment_id
                WHERE c.customer_id IS NULL OR o.place > 1
                RETURNING segment_id
            )
            SELECT segment_id, -count(*) FROM ended GROUP BY segment_id
            """,
            {"absorbed": [*absorbed], "survivors": [*survivors], "at": at},
        )
        return cursor.fetchall()


def return_history(kept: Sequence[int], separated: Sequence[int]) -> None:
    """Give customers who were separated again their own history back, but doubles."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH undoing AS (
                SELECT * FROM unnest(%(kept)s::bigint[], %(separated)s::bigint[])
                    AS pair (kept_id, separated_id)
            ), theirs AS (
                SELECT kept_id, separated_id, separated_id AS member_id FROM undoing
                UNION ALL
                SELECT kept_id, separated_id, c.id
                FROM undoing JOIN customers_customer c ON c.merged_into_id = separated_id
            ), old AS (
                DELETE FROM segments_membershipchange h USING theirs
                WHERE h.customer_id = kept_id AND h.absorbed_id = member_id
                RETURNING separated_id, h.*
            )
            INSERT INTO segments_membershipchange
                (customer_id, id, segment_id, entered, at, cause, entry_no, event_id,
                 absorbed_id, is_double)
            SELECT separated_id, id, segment_id, entered, at, cause, entry_no, event_id,
                   NULLIF(absorbed_id, separated_id), is_double
            FROM old WHERE NOT (is_double AND absorbed_id = separated_id)
            """,
            {"kept": [*kept], "separated": [*separated]},
        )


def return_ends(kept: Sequence[int], separated: Sequence[int]) -> None:
    """Give them also what ended an entry of theirs while they were one with another."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH undoing AS (
                SELECT * FROM unnest(%(kept)s::bigint[], %(separated)s::bigint[])
                    AS pair (kept_id, separated_id)
            ), entries AS (
                SELECT DISTINCT ON (h.customer_id, h.segment_id) kept_id, separated_id, h.*
                FROM segments_membershipchange h JOIN undoing ON h.customer_id = separated_id
                ORDER BY h.customer_id, h.segment_id, h.at DESC, h.id DESC
            ), ends AS (
                SELECT DISTINCT ON (k.customer_id, k.segment_id) k.customer_id, k.id, separated_id
                FROM entries o
                JOIN segments_membershipchange k
                    ON k.customer_id = kept_id AND k.segment_id = o.segment_id
                    AND NOT k.entered AND NOT k.is_double
                    AND k.entry_no = o.entry_no AND k.id > o.id
                WHERE o.entered AND NOT EXISTS (
                    SELECT FROM segments_membershipchange e
                    WHERE e.customer_id = k.customer_id AND e.segment_id = k.segment_id
                      AND e.entered AND e.entry_no = k.entry_no AND e.id < k.id
                )
                ORDER BY k.customer_id, k.segment_id, k.id
            ), old AS (
                DELETE FROM segments_membershipchange h USING ends
                WHERE h.customer_id = ends.customer_id AND h.id = ends.id
                RETURNING separated_id, h.*
            )
            INSERT INTO segments_membershipchange
                (customer_id, id, segment_id, entered, at, cause, entry_no, event_id)
            SELECT separated_id, id, segment_id, entered, at, cause, entry_no, event_id FROM old
            """,
            {"kept": [*kept], "separated": [*separated]},
        )


def restore_memberships(customer_ids: Sequence[int]) -> list[Any]:
    """Make customers members exactly where their own history says so; nobody enters or leaves.

    Returns (segment id, by how many members it has changed).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH concerned AS (
                SELECT unnest(%s::bigint[]) AS customer_id
            ), inside AS (
                SELECT h.customer_id, h.segment_id,
                       max(h.id) FILTER (WHERE h.entered) AS entry_id
                FROM segments_membershipchange h JOIN concerned USING (customer_id)
                GROUP BY h.customer_id, h.segment_id
                HAVING sum(CASE WHEN h.entered THEN 1 ELSE -1 END) > 0
            ), restored AS (
                INSERT INTO segments_membership
                    (customer_id, segment_id, entered_at, entry_no, cause)
                SELECT h.customer_id, h.segment_id, h.at, h.entry_no, h.cause
                FROM inside JOIN segments_membershipchange h
                    ON h.customer_id = inside.customer_id AND h.id = entry_id
                ON CONFLICT DO NOTHING
                RETURNING segment_id, 1 AS change
            ), dropped AS (
                DELETE FROM segments_membership m USING concerned
                WHERE m.customer_id = concerned.customer_id AND NOT EXISTS (
                    SELECT FROM inside
                    WHERE inside.customer_id = m.customer_id
                      AND inside.segment_id = m.segment_id
                )
                RETURNING m.segment_id, -1 AS change
            )
            SELECT segment_id, sum(change)::bigint
            FROM (SELECT * FROM restored UNION ALL SELECT * FROM dropped) AS changed
            GROUP BY segment_id
            """,
            [[*customer_ids]],
        )
        return cursor.fetchall()

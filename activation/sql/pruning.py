"""Forgetting messages, but not whose turn it was."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db import connection

from activation.sql.tallies import counting


def prune(before: UUID, limit: int) -> int:
    """Delete messages that are over and were made before a moment; return how many.

    The latest of each trigger and customer is kept as their turn.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH old AS MATERIALIZED (
                SELECT id FROM activation_delivery
                WHERE id < %(before)s AND (
                    delivered_at IS NOT NULL OR dead_at IS NOT NULL OR cancelled_at IS NOT NULL
                )
                ORDER BY id LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            ), gone AS (
                DELETE FROM activation_delivery d USING old WHERE d.id = old.id
                RETURNING d.id, d.customer_id, d.trigger_id, d.entry_no, d.created_at,
                          d.cancelled_at, d.is_test
            ), forgotten AS (
                DELETE FROM activation_attempt a USING gone WHERE a.delivery_id = gone.id
            ), remembered AS (
                INSERT INTO activation_turn AS t (customer_id, trigger_id, entry_no, at)
                SELECT customer_id, trigger_id, max(entry_no), max(created_at) FROM gone
                WHERE cancelled_at IS NULL AND NOT is_test
                GROUP BY 1, 2 ORDER BY 1, 2
                ON CONFLICT (customer_id, trigger_id) DO UPDATE
                SET entry_no = greatest(t.entry_no, excluded.entry_no),
                    at = greatest(t.at, excluded.at)
            )
            SELECT count(*) FROM gone
            """,
            {"before": before, "limit": limit},
        )
        return int(cursor.fetchone()[0])


def delete_deliveries(trigger_id: int) -> int:
    """Delete all messages of a trigger with their attempts; return how many messages.

    A million of them may take a minute, and are given it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', '10min', true)")
        cursor.execute(
            """
            WITH gone AS (
                DELETE FROM activation_delivery WHERE trigger_id = %(trigger_id)s RETURNING id
            ), forgotten AS (
                DELETE FROM activation_attempt USING gone WHERE delivery_id = gone.id
            ), freed AS (
                DELETE FROM activation_turn WHERE trigger_id = %(trigger_id)s
            ), uncounted AS (
                DELETE FROM activation_tally WHERE trigger_id = %(trigger_id)s
            )
            SELECT count(*) FROM gone
            """,
            {"trigger_id": trigger_id},
        )
        return int(cursor.fetchone()[0])


def delete_deliveries_of(customer_ids: Collection[int]) -> None:
    """Delete all messages to customers with their attempts, and do not count them any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH gone AS (
                DELETE FROM activation_delivery WHERE customer_id = ANY(%s::bigint[])
                RETURNING id, trigger_id, is_test, delivered_at, dead_at
            ), forgotten AS (
                DELETE FROM activation_attempt USING gone WHERE delivery_id = gone.id
            ), uncounted AS ({counting("gone", "-")})
            SELECT count(*) FROM gone
            """,  # noqa: S608 (constants)
            [[*customer_ids]],
        )


def delete_tallies(before: datetime) -> None:
    """Forget how many messages there were before an instant."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM activation_tally WHERE hour < %s", [before])

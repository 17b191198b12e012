"""What waits in the outbox, and what is made to wait again: cancelled, moved, sent again."""

from uuid import UUID

from django.db import connection

WAITS = "{0}.delivered_at IS NULL AND {0}.dead_at IS NULL AND {0}.cancelled_at IS NULL"
_OF_A_TRIGGER = f"""
    SELECT w.id FROM activation_delivery w
    WHERE w.trigger_id = %(trigger_id)s AND {WAITS.format("w")}
    ORDER BY w.id
    FOR UPDATE
"""  # noqa: S608 (constants)


def cancel_waiting(trigger_id: int, reason: str, note: str) -> int:
    """Cancel what a trigger has waiting, which gives back the turns; return how many that were."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH waiting AS MATERIALIZED ({_OF_A_TRIGGER}), cancelled AS (
                UPDATE activation_delivery d
                SET cancelled_at = statement_timestamp(), reason = %(reason)s, last_error = %(note)s
                FROM waiting
                WHERE d.id = waiting.id
                RETURNING d.customer_id, d.trigger_id, d.entry_no
            ), freed AS (
                DELETE FROM activation_turn t USING cancelled c
                WHERE t.customer_id = c.customer_id AND t.trigger_id = c.trigger_id
                  AND t.entry_no = c.entry_no
            )
            SELECT count(*) FROM cancelled
            """,  # noqa: S608 (constants)
            {"trigger_id": trigger_id, "reason": reason, "note": note},
        )
        return int(cursor.fetchone()[0])


def move_waiting(trigger_id: int, destination_id: int) -> int:
    """Have what a trigger has waiting go to another destination; return how many that were."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH waiting AS MATERIALIZED ({_OF_A_TRIGGER})
            UPDATE activation_delivery SET destination_id = %(destination_id)s, sent = ''
            FROM waiting
            WHERE activation_delivery.id = waiting.id
            """,  # noqa: S608 (constants)
            {"trigger_id": trigger_id, "destination_id": destination_id},
        )
        return cursor.rowcount


_AGAIN = f"""
    UPDATE activation_delivery d
    SET due_at = statement_timestamp(), last_error = '', reason = '', sent = '',
        destination_id = t.destination_id,
        attempts_made = CASE
            WHEN {WAITS.format("d")}
            THEN d.attempts_made ELSE 0 END,
        delivered_at = NULL, dead_at = NULL, cancelled_at = NULL
    FROM activation_trigger t
    WHERE t.id = d.trigger_id AND NOT d.is_test AND d.body <> ''
      AND (d.leased_until IS NULL OR d.leased_until <= statement_timestamp())
"""  # noqa: S608 (constants)


def send_again(delivery_id: UUID) -> int | None:
    """Make a message due, however it ended, unless it is on its way; return its destination."""
    with connection.cursor() as cursor:
        cursor.execute(_AGAIN + " AND d.id = %s RETURNING d.destination_id", [delivery_id])
        row = cursor.fetchone()
        return row[0] if row else None


def send_dead_again(trigger_id: int | None, destination_id: int | None) -> int:
    """Make the dead messages of a trigger, a destination, or of all due; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            _AGAIN
            + """
            AND d.dead_at IS NOT NULL
            AND (%(trigger_id)s::bigint IS NULL OR d.trigger_id = %(trigger_id)s)
            AND (%(destination_id)s::bigint IS NULL OR d.destination_id = %(destination_id)s)
            """,
            {"trigger_id": trigger_id, "destination_id": destination_id},
        )
        return cursor.rowcount

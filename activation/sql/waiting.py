"""What waits in the outbox, and what is made to wait again: cancelled, moved, sent again."""

from datetime import datetime
from uuid import UUID

from django.db import connection

from activation.sql.tallies import counting

WAITS = "{0}.delivered_at IS NULL AND {0}.dead_at IS NULL AND {0}.cancelled_at IS NULL"
_OF_A_TRIGGER = f"""
    SELECT w.id FROM activation_delivery w
    WHERE w.trigger_id = %(trigger_id)s AND {WAITS.format("w")}
"""  # noqa: S608 (constants)


def cancel_waiting(
    trigger_id: int, reason: str, note: str, limit: int, until: UUID | None = None
) -> int:
    """Cancel the oldest that a trigger has waiting, up to one of them; return how many that were.

    That gives back the turns.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH waiting AS MATERIALIZED (
                {_OF_A_TRIGGER} AND (%(until)s::uuid IS NULL OR w.id <= %(until)s)
                ORDER BY w.id LIMIT %(limit)s
                FOR UPDATE
            ), cancelled AS (
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
            {
                "trigger_id": trigger_id,
                "reason": reason,
                "note": note,
                "limit": limit,
                "until": until,
            },
        )
        return int(cursor.fetchone()[0])


def last_waiting(trigger_id: int) -> UUID | None:
    """Return the newest message that a trigger has waiting."""
    with connection.cursor() as cursor:
        cursor.execute(f"{_OF_A_TRIGGER} ORDER BY w.id DESC LIMIT 1", {"trigger_id": trigger_id})
        row = cursor.fetchone()
        return row[0] if row else None


def move_waiting(trigger_id: int, destination_id: int) -> int:
    """Have what a trigger has waiting go to another destination; return how many that were."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH waiting AS MATERIALIZED ({_OF_A_TRIGGER} ORDER BY w.id FOR UPDATE)
            UPDATE activation_delivery SET destination_id = %(destination_id)s, sent = ''
            FROM waiting
            WHERE activation_delivery.id = waiting.id
            """,  # noqa: S608 (constants)
            {"trigger_id": trigger_id, "destination_id": destination_id},
        )
        return cursor.rowcount


def look_again(trigger_id: int, after: UUID, limit: int) -> UUID | None:
    """Make due in a moment what quiet hours of a trigger hold, behind a message; return the last.

    Before it is sent, it is asked again whether it is quiet; by then, whoever sends knows the new
    hours.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH held AS MATERIALIZED (
                SELECT w.id FROM activation_delivery w
                WHERE w.trigger_id = %(trigger_id)s AND w.reason = 'quiet' AND w.id > %(after)s
                  AND w.due_at > statement_timestamp() AND {WAITS.format("w")}
                ORDER BY w.id
                LIMIT %(limit)s
                FOR UPDATE
            ), due AS (
                UPDATE activation_delivery d
                SET due_at = statement_timestamp() + interval '2 seconds'
                FROM held WHERE d.id = held.id
            )
            SELECT id FROM held ORDER BY id DESC LIMIT 1
            """,  # noqa: S608 (constants)
            {"trigger_id": trigger_id, "after": after, "limit": limit},
        )
        row = cursor.fetchone()
        return row[0] if row else None


# What ended is counted as ended no more. `{which}` may end in an order and a limit.
_AGAIN = f"""
    WITH chosen AS MATERIALIZED (
        SELECT d.id, d.trigger_id, d.is_test, d.delivered_at, d.dead_at, t.destination_id
        FROM activation_delivery d JOIN activation_trigger t ON t.id = d.trigger_id
        WHERE NOT d.is_test AND d.body <> ''
          AND (d.leased_until IS NULL OR d.leased_until <= statement_timestamp())
          AND {{which}}
        FOR UPDATE OF d
    ), uncounted AS ({counting("chosen", "-")}), again AS (
        UPDATE activation_delivery d
        SET due_at = statement_timestamp(), last_error = '', reason = '', sent = '',
            destination_id = chosen.destination_id,
            attempts_made = CASE WHEN {WAITS.format("d")} THEN d.attempts_made ELSE 0 END,
            delivered_at = NULL, dead_at = NULL, cancelled_at = NULL
        FROM chosen
        WHERE d.id = chosen.id
    )
"""  # noqa: S608 (constants)


_ONE_AGAIN = f"{_AGAIN.format(which='d.id = %s')} SELECT destination_id FROM chosen"  # noqa: S608
_OF_THE_DEAD = """
    d.dead_at <= %(until)s
    AND d.id > COALESCE(%(after)s, '00000000-0000-0000-0000-000000000000'::uuid)
    AND (%(trigger_id)s::bigint IS NULL OR d.trigger_id = %(trigger_id)s)
    AND (%(destination_id)s::bigint IS NULL OR d.destination_id = %(destination_id)s)
    ORDER BY d.id LIMIT %(limit)s
"""
_DEAD_AGAIN = f"{_AGAIN.format(which=_OF_THE_DEAD)} SELECT count(*), max(id::text) FROM chosen"  # noqa: S608


def send_again(delivery_id: UUID) -> int | None:
    """Make a message due, however it ended, unless it is on its way; return its destination."""
    with connection.cursor() as cursor:
        cursor.execute(_ONE_AGAIN, [delivery_id])
        row = cursor.fetchone()
        return row[0] if row else None


def send_dead_again(
    trigger_id: int | None,
    destination_id: int | None,
    until: datetime,
    after: UUID | None,
    limit: int,
) -> tuple[int, UUID | None]:
    """Make the oldest messages due that were dead by an instant, behind the one with an id.

    Those of a trigger, a destination, or of all. Returns how many, and the last of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _DEAD_AGAIN,
            {
                "trigger_id": trigger_id,
                "destination_id": destination_id,
                "until": until,
                "after": after,
                "limit": limit,
            },
        )
        count, last = cursor.fetchone()
        return count, last and UUID(last)

"""Every raw statement of this app, one per function, named after what it does.

Where text is put together, it is of constants that two statements share.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from django.db import connection

NewDelivery: TypeAlias = tuple[UUID, int, int, int, int, str]

_SENDER = 7_104_001  # of our choice: the advisory lock of the one task that sends


def lock_triggers(segment_ids: Sequence[int]) -> list[Any]:
    """Return the triggers of these segments, none of which can be edited until we commit.

    So whoever switches one on knows that all who entered before have been passed by, and who
    switches one off that nothing more is queued. Returns (id, key, on, is enabled, destination
    id, segment id, segment key, segment name).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT t.id, t.key, t.on, t.is_enabled, t.destination_id, s.id, s.key, s.name
            FROM activation_trigger t
            JOIN segments_segment s ON s.id = t.segment_id
            WHERE t.segment_id = ANY(%s::bigint[])
            ORDER BY t.id
            FOR SHARE OF t
            """,
            [[*segment_ids]],
        )
        return cursor.fetchall()


def read_customers(customer_ids: Sequence[int]) -> list[Any]:
    """Return (id, CustomerId, fields as JSON text) of those of these customers that exist."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.external_id, c.fields
            FROM unnest(%s::bigint[]) AS wanted (id)
            JOIN customers_customer c ON c.id = wanted.id
            """,
            [[*customer_ids]],
        )
        return cursor.fetchall()


def read_identifiers(customer_ids: Sequence[int]) -> list[Any]:
    """Return (customer id, kind, value) of these customers, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.customer_id, i.kind, i.value
            FROM unnest(%s::bigint[]) AS wanted (id)
            JOIN customers_identifier i ON i.customer_id = wanted.id
            ORDER BY i.created_at, i.kind, i.value
            """,
            [[*customer_ids]],
        )
        return cursor.fetchall()


def read_events(customer_ids: Sequence[int], event_ids: Sequence[int]) -> list[Any]:
    """Return these events of these customers, pair by pair.

    Columns: id, message id, name, occurred at, received at, source key, channel, amount,
    currency, properties as JSON text.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT e.id, e.message_id, n.name, e.occurred_at, e.received_at,
                   s.key, s.channel, e.amount, e.currency, e.properties
            FROM unnest(%s::bigint[], %s::bigint[]) AS wanted (customer_id, id)
            JOIN events_event e ON e.customer_id = wanted.customer_id AND e.id = wanted.id
            JOIN events_eventname n ON n.id = e.name_id
            LEFT JOIN events_source s ON s.id = e.source_id
            """,
            [[*customer_ids], [*event_ids]],
        )
        return cursor.fetchall()


def read_entries(
    segment_ids: Sequence[int], customer_ids: Sequence[int], entry_nos: Sequence[int]
) -> list[Any]:
    """Return (segment id, customer id, entry no, when it was entered) of past entries."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.segment_id, c.customer_id, c.entry_no, max(c.at)
            FROM unnest(%s::bigint[], %s::bigint[], %s::int[])
                AS wanted (segment_id, customer_id, entry_no)
            JOIN segments_membershipchange c USING (segment_id, customer_id, entry_no)
            WHERE c.entered
            GROUP BY 1, 2, 3
            """,
            [[*segment_ids], [*customer_ids], [*entry_nos]],
        )
        return cursor.fetchall()


def read_members(
    segment_id: int, after_at: datetime | None, after_id: int, limit: int
) -> list[Any]:
    """Return the next members in the order they entered, with the event that brought them in.

    Columns: customer id, entered at, entry no, cause, event id.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT m.customer_id, m.entered_at, m.entry_no, m.cause, entry.event_id
            FROM segments_membership m
            LEFT JOIN LATERAL (
                SELECT c.event_id FROM segments_membershipchange c
                WHERE c.customer_id = m.customer_id AND c.segment_id = m.segment_id
                  AND c.entry_no = m.entry_no AND c.entered
                ORDER BY c.id DESC LIMIT 1
            ) entry ON true
            WHERE m.segment_id = %(segment_id)s
              AND (m.entered_at, m.customer_id)
                  > (COALESCE(%(after_at)s::timestamptz, '-infinity'), %(after_id)s::bigint)
            ORDER BY m.entered_at, m.customer_id
            LIMIT %(limit)s
            """,
            {
                "segment_id": segment_id,
                "after_at": after_at,
                "after_id": after_id,
                "limit": limit,
            },
        )
        return cursor.fetchall()


def insert_deliveries(rows: Sequence[NewDelivery]) -> int:
    """Queue messages, leaving out those that were queued before; return how many are new.

    Each is (id, trigger id, destination id, customer id, entry no, body).
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO activation_delivery
                (id, trigger_id, destination_id, customer_id, entry_no, body,
                 is_test, attempts_made, last_error)
            SELECT new.*, false, 0, ''
            FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])
                AS new
            ON CONFLICT DO NOTHING
            """,
            columns,
        )
        return cursor.rowcount


# A destination takes part unless it is switched off or held. `room` is how many more it can have
# in flight: one while its breaker is half open, and never so many that their failing together
# would be more than the breaker bears.
_ROOM = """
    SELECT d.id, d.failures_in_a_row,
           CASE WHEN d.failures_in_a_row >= %(to_open)s THEN 1
                ELSE least(%(each)s, %(to_open)s - d.failures_in_a_row) END
           - (SELECT count(*) FROM activation_delivery f
              WHERE f.destination_id = d.id AND f.leased_until > %(now)s) AS room
    FROM activation_destination d
    WHERE d.is_enabled AND (d.held_until IS NULL OR d.held_until <= %(now)s)
"""
_DUE = """
    SELECT w.id FROM activation_delivery w
    WHERE w.destination_id = open.id AND w.due_at <= %(now)s
      AND w.delivered_at IS NULL AND w.dead_at IS NULL AND w.cancelled_at IS NULL
      AND (w.leased_until IS NULL OR w.leased_until <= %(now)s)
    ORDER BY w.due_at
"""


def lease_due(
    token: UUID, now: datetime, until: datetime, *, limit: int, each: int, to_open: int
) -> list[Any]:
    """Reserve due messages until an instant, for the holder of the token.

    At most `limit`, and for a destination at most `each` in flight at a time; healthy ones first.
    Returns (id, destination id, body, attempts made).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH open AS MATERIALIZED ({_ROOM}), due AS (
                SELECT next.id
                FROM open
                CROSS JOIN LATERAL (
                    {_DUE} LIMIT greatest(open.room, 0) FOR UPDATE SKIP LOCKED
                ) next
                ORDER BY open.failures_in_a_row
                LIMIT %(limit)s
            )
            UPDATE activation_delivery
            SET lease = %(token)s, leased_until = %(until)s
            FROM due
            WHERE activation_delivery.id = due.id
            RETURNING activation_delivery.id, destination_id, body, attempts_made
            """,  # noqa: S608 (constants)
            {
                "token": token,
                "now": now,
                "until": until,
                "limit": limit,
                "each": each,
                "to_open": to_open,
            },
        )
        return cursor.fetchall()


def has_due(now: datetime, *, each: int, to_open: int) -> bool:
    """Say whether there is a message that could be leased now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT EXISTS (
                SELECT FROM ({_ROOM}) AS open WHERE open.room > 0 AND EXISTS ({_DUE})
            )
            """,  # noqa: S608 (constants)
            {"now": now, "each": each, "to_open": to_open},
        )
        return bool(cursor.fetchone()[0])


def note_attempts(rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """Write down attempts, but only of messages whose lease is still ours; return their ids.

    Each is (delivery id, token of our lease, at, status, ms, error, response, delivered at, dead
    at, due at), the last three null where that did not happen.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH attempt AS (
                SELECT * FROM unnest(
                    %s::uuid[], %s::uuid[], %s::timestamptz[], %s::int[], %s::int[], %s::text[],
                    %s::text[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[]
                ) AS a (id, token, at, status, ms, error, response,
                        delivered_at, dead_at, due_at)
            ), mine AS MATERIALIZED (
                SELECT d.id FROM activation_delivery d
                JOIN attempt ON attempt.id = d.id AND attempt.token = d.lease
                ORDER BY d.id
                FOR UPDATE OF d
            ), noted AS (
                UPDATE activation_delivery d
                SET attempts_made = d.attempts_made + 1, lease = NULL, leased_until = NULL,
                    last_error = attempt.error, due_at = COALESCE(attempt.due_at, d.due_at),
                    delivered_at = attempt.delivered_at,
                    dead_at = CASE WHEN d.cancelled_at IS NULL THEN attempt.dead_at END,
                    cancelled_at = CASE WHEN attempt.delivered_at IS NULL THEN d.cancelled_at END
                FROM mine JOIN attempt USING (id)
                WHERE d.id = mine.id AND d.lease = attempt.token
                RETURNING d.id
            )
            INSERT INTO activation_attempt (delivery_id, at, status, ms, error, response)
            SELECT id, at, status, ms, error, response FROM attempt JOIN noted USING (id)
            RETURNING delivery_id
            """,
            columns,
        )
        return {delivery_id for (delivery_id,) in cursor.fetchall()}


def cancel_waiting(trigger_id: int, reason: str) -> int:
    """Cancel what a trigger has waiting; return how many that were."""
    return _change_waiting(
        trigger_id, "cancelled_at = statement_timestamp(), last_error = %(value)s", reason
    )


def move_waiting(trigger_id: int, destination_id: int) -> int:
    """Have what a trigger has waiting go to another destination; return how many that were."""
    return _change_waiting(trigger_id, "destination_id = %(value)s", destination_id)


def _change_waiting(trigger_id: int, change: str, value: int | str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH waiting AS MATERIALIZED (
                SELECT id FROM activation_delivery
                WHERE trigger_id = %(trigger_id)s
                  AND delivered_at IS NULL AND dead_at IS NULL AND cancelled_at IS NULL
                ORDER BY id
                FOR UPDATE
            )
            UPDATE activation_delivery SET {change}
            FROM waiting
            WHERE activation_delivery.id = waiting.id
            """,  # noqa: S608 (constants)
            {"trigger_id": trigger_id, "value": value},
        )
        return cursor.rowcount


_AGAIN = """
    UPDATE activation_delivery d
    SET due_at = statement_timestamp(), last_error = '', destination_id = t.destination_id,
        attempts_made = CASE
            WHEN d.delivered_at IS NULL AND d.dead_at IS NULL AND d.cancelled_at IS NULL
            THEN d.attempts_made ELSE 0 END,
        delivered_at = NULL, dead_at = NULL, cancelled_at = NULL
    FROM activation_trigger t
    WHERE t.id = d.trigger_id AND NOT d.is_test
      AND (d.leased_until IS NULL OR d.leased_until <= statement_timestamp())
"""


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


def delete_deliveries(trigger_id: int) -> int:
    """Delete all messages of a trigger with their attempts; return how many messages."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH gone AS (
                DELETE FROM activation_delivery WHERE trigger_id = %s RETURNING id
            ), forgotten AS (
                DELETE FROM activation_attempt USING gone WHERE delivery_id = gone.id
            )
            SELECT count(*) FROM gone
            """,
            [trigger_id],
        )
        return int(cursor.fetchone()[0])


def ask_to_wake() -> bool:
    """Say that a task must send what we are about to commit; return whether to queue one.

    False if one is queued or at work. It cannot finish before we commit, so it will see our rows.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO activation_wakeup (id) VALUES (1)
            ON CONFLICT (id) DO UPDATE SET id = 1
            RETURNING xmax = 0
            """
        )
        return bool(cursor.fetchone()[0])


def note_awake() -> None:
    """Say that the task has started, when all who have asked for it have committed."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE activation_wakeup SET started_at = statement_timestamp()")


def forget_wake_up() -> None:
    """Say that no task is queued or at work, when all who have asked for one have committed."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM activation_wakeup")


def stands_wake_up(asked_before: datetime) -> bool:
    """Say whether a task is at work, or was asked for since then and may still begin."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT FROM activation_wakeup
                WHERE started_at IS NULL AND asked_at >= %(asked_before)s
                   OR started_at IS NOT NULL AND EXISTS (
                       SELECT FROM pg_locks
                       WHERE locktype = 'advisory' AND classid = 0 AND objid = %(lock)s
                         AND objsubid = 1 AND database = (
                             SELECT oid FROM pg_database WHERE datname = current_database()
                         )
                   )
            )
            """,
            {"asked_before": asked_before, "lock": _SENDER},
        )
        return bool(cursor.fetchone()[0])


def lock_sending() -> bool:
    """Become the one who sends, for this session; say whether nobody else is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_SENDER])
        return bool(cursor.fetchone()[0])


def unlock_sending() -> None:
    """Leave the sending to others."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [_SENDER])

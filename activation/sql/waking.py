"""Who sends: the one task that was asked for, or is at work."""

from datetime import datetime

from django.db import connection

_SENDER = 7_104_001  # of our choice: the advisory lock of the one task that sends


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

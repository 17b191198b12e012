"""Every raw statement of the roof."""

from django.db import connection

_QUEUE_LOCK = 7_103_001  # of our choice; held, shared, by every living cluster of the queue


def lock_queue_alone() -> bool:
    """Take the lock of the queue for this session alone; say whether nobody else held it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_QUEUE_LOCK])
        return bool(cursor.fetchone()[0])


def share_queue_lock(*, is_alone: bool) -> None:
    """Hold the lock of the queue together with others until the session ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s)", [_QUEUE_LOCK])
        if is_alone:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_QUEUE_LOCK])

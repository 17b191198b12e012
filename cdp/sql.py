"""Every raw statement of the roof."""

from datetime import date, datetime
from decimal import Decimal

from django.db import connection

# Of our choice; with the name of a cluster it is held, shared, by every living one of that name.
_QUEUE_LOCK = 7_103_001


def allow_seconds(seconds: int) -> None:
    """Let each statement of the transaction take and wait so long, whatever the session allows."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT set_config('statement_timeout', %(most)s, true),
                   set_config('lock_timeout', %(most)s, true)
            """,
            {"most": f"{seconds}s"},
        )


def lock_queue_alone(cluster: str) -> bool:
    """Take the lock of a cluster for this session alone; say whether nobody else held it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_QUEUE_LOCK, cluster])
        return bool(cursor.fetchone()[0])


def share_queue_lock(cluster: str, *, is_alone: bool) -> None:
    """Hold the lock of a cluster together with others until the session ends."""
    key = (_QUEUE_LOCK, cluster)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(%s, hashtext(%s))", key)
        if is_alone:
            cursor.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


def sum_windows(
    since: datetime, middle: datetime, until: datetime, revenue_names: list[str], currency: str
) -> list[tuple[bool, int, int, Decimal]]:
    """Sum up the events of two neighbouring windows: from `since` to `middle`, and to `until`.

    Returns (is the later window, events, customers, revenue in the currency); a window without
    events has no row.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT occurred_at >= %(middle)s AS is_later, count(*), count(DISTINCT customer_id),
                   coalesce(sum(amount) FILTER (WHERE currency = %(currency)s AND name_id = ANY (
                       SELECT id FROM events_eventname WHERE name = ANY (%(names)s))), 0)
            FROM events_event
            WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
            GROUP BY is_later
            """,
            {
                "since": since,
                "middle": middle,
                "until": until,
                "names": revenue_names,
                "currency": currency,
            },
        )
        return cursor.fetchall()


def count_by_day(since: datetime, until: datetime, zone: str) -> list[tuple[date, str, int]]:
    """Count events by day (of the zone) and name. Returns (day, name, events)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH counted AS (
                SELECT (occurred_at AT TIME ZONE %(zone)s)::date AS day, name_id, count(*) AS events
                FROM events_event
                WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
                GROUP BY 1, 2
            )
            SELECT day, name, events
            FROM counted JOIN events_eventname ON events_eventname.id = name_id
            """,
            {"since": since, "until": until, "zone": zone},
        )
        return cursor.fetchall()

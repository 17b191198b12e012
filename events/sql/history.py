"""Events: stored once, carried along when their customer becomes another, looked back at."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from customers import arrays


def insert_receipts(keys: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Note (source id, message id) as received; return those that were not known before.

    They must be sorted: who inserts in another order may deadlock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_receipt (source_id, message_id)
            SELECT * FROM unnest(%s::bigint[], %s::text[])
            ON CONFLICT (source_id, message_id) DO NOTHING
            RETURNING source_id, message_id
            """,
            [
                arrays.of_numbers(source_id for source_id, _ in keys),
                arrays.of_texts(message_id for _, message_id in keys),
            ],
        )
        return set(cursor.fetchall())


def reserve_event_ids(count: int) -> list[int]:
    """Return so many ids for new events, ascending."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('events_event_id_seq') FROM generate_series(1, %s)", [count])
        return [event_id for (event_id,) in cursor.fetchall()]


def copy_events(rows: str) -> None:
    """Store events with ids, given in COPY's text format: a quarter cheaper than by INSERT.

    In order of the customer they cost another quarter less: indexes begin with that.
    """
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(
            """
            COPY events_event (
                customer_id, id, name_id, source_id, message_id, came_by, occurred_at,
                received_at, amount, currency, properties, context
            ) FROM STDIN
            """
        ) as copy,
    ):
        copy.write(rows)


def move_events(pairs: Sequence[tuple[int, int]]) -> None:
    """Carry the events of each absorbed customer to the survivor; `pairs` has both ids.

    In two steps: the customer is what the table is distributed by and cannot be updated.
    """
    columns = [list(ids) for ids in zip(*pairs, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_event (
                customer_id, id, name_id, source_id, message_id, came_by, occurred_at,
                received_at, amount, currency, properties, context, origin_id
            )
            SELECT
                merge.survivor_id, id, name_id, source_id, message_id, came_by, occurred_at,
                received_at, amount, currency, properties, context,
                coalesce(origin_id, merge.absorbed_id)
            FROM events_event
            JOIN unnest(%s::bigint[], %s::bigint[]) AS merge (absorbed_id, survivor_id)
              ON events_event.customer_id = merge.absorbed_id
            ON CONFLICT DO NOTHING
            """,
            columns,
        )
        cursor.execute(
            "DELETE FROM events_event WHERE customer_id = ANY(%s::bigint[])", columns[:1]
        )


def latest_event_id() -> int:
    """Return the highest id that an event was given so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM events_event_id_seq")
        return int(cursor.fetchone()[0])


def separate_events(
    from_id: int,
    to_id: int,
    members: Sequence[int],
    keys: Sequence[str],
    after_id: int,
    others: Sequence[int],
) -> tuple[int, datetime | None, datetime | None]:
    """Carry events to another customer: those that were of `members` before a merge, and those
    above `after_id` that came by one of `keys`. Those that were of `others` still are.

    Returns how many, and when the first and the last of them were seen. In two steps: the customer
    is what the table is distributed by and cannot be updated.
    """
    parameters: dict[str, Any] = {
        "from_id": from_id,
        "to_id": to_id,
        "members": arrays.of_numbers(members),
        "keys": arrays.of_texts(keys),
        "after_id": after_id,
        "others": arrays.of_numbers(others),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH leaving AS (
                INSERT INTO events_event (
                    customer_id, id, name_id, source_id, message_id, came_by, occurred_at,
                    received_at, amount, currency, properties, context, origin_id
                )
                SELECT
                    %(to_id)s, id, name_id, source_id, message_id, came_by, occurred_at,
                    received_at, amount, currency, properties, context,
                    CASE WHEN origin_id = ANY(%(others)s::bigint[]) THEN origin_id END
                FROM events_event
                WHERE customer_id = %(from_id)s AND (
                    origin_id = ANY(%(members)s::bigint[])
                    OR (id > %(after_id)s AND came_by = ANY(%(keys)s::text[]))
                )
                RETURNING least(occurred_at, received_at) AS at
            )
            SELECT count(*), min(at), max(at) FROM leaving
            """,
            parameters,
        )
        moved: tuple[int, datetime | None, datetime | None] = cursor.fetchone()
        cursor.execute(
            """
            DELETE FROM events_event
            WHERE customer_id = %(from_id)s AND (
                origin_id = ANY(%(members)s::bigint[])
                OR (id > %(after_id)s AND came_by = ANY(%(keys)s::text[]))
            )
            """,
            parameters,
        )
    return moved


def seen_in_events(customer_id: int) -> tuple[datetime | None, datetime | None]:
    """Return when the events of a customer say that they were seen first and last."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT min(least(occurred_at, received_at)), max(least(occurred_at, received_at))
            FROM events_event WHERE customer_id = %s
            """,
            [customer_id],
        )
        seen: tuple[datetime | None, datetime | None] = cursor.fetchone()
        return seen


def count_leaving_events(
    customer_id: int, members: Sequence[int], keys: Sequence[str], after_id: int
) -> dict[str, int]:
    """Count by name the events that `separate_events` would carry along; the most come first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT events_eventname.name, count(*)
            FROM events_event JOIN events_eventname ON events_eventname.id = name_id
            WHERE customer_id = %s AND (
                origin_id = ANY(%s::bigint[])
                OR (events_event.id > %s AND came_by = ANY(%s::text[]))
            )
            GROUP BY events_eventname.name
            ORDER BY count(*) DESC, events_eventname.name
            """,
            [customer_id, arrays.of_numbers(members), after_id, arrays.of_texts(keys)],
        )
        return dict(cursor.fetchall())


def select_origins(keys: Sequence[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """Return which source the present value of a field came from, by (customer id, field)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT wanted.customer_id, wanted.name, latest.source
            FROM unnest(%s::bigint[], %s::text[]) AS wanted (customer_id, name)
            CROSS JOIN LATERAL (
                SELECT source
                FROM customers_fieldchange
                JOIN customers_customer AS owner ON owner.id = customer_id
                WHERE customer_id = wanted.customer_id
                  -- not what a merge did not let stand
                  AND changes -> wanted.name -> 1 = owner.fields -> wanted.name
                ORDER BY customers_fieldchange.id DESC LIMIT 1
            ) AS latest
            """,
            [[customer_id for customer_id, _ in keys], [name for _, name in keys]],
        )
        return {(customer_id, name): source for customer_id, name, source in cursor.fetchall()}


def last_received(among: int) -> dict[int, datetime]:
    """Return when each source sent something, by its id, among so many of the latest events."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT source_id, max(received_at)
            FROM (SELECT source_id, received_at FROM events_event ORDER BY id DESC LIMIT %s) AS late
            GROUP BY source_id
            """,
            [among],
        )
        return dict(cursor.fetchall())

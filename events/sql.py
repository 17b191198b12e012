"""Every raw statement of this app, one per function, named after what it does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from customers import arrays


def insert_inbox_by_key(write_key: str, call: str, body: bytes) -> bool:
    """Put a request into the inbox of the source with this key; False if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_inbox (source_id, call, body)
            SELECT id, %s, %s FROM events_source WHERE write_key = %s
            """,
            [call, body, write_key],
        )
        return int(cursor.rowcount) == 1


def insert_inbox(source_id: int, call: str, body: bytes, received_at: datetime | None) -> None:
    """Put a request into the inbox of a source; it was received now unless said otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH stored AS (
                INSERT INTO events_inbox (source_id, call, body, received_at)
                VALUES (%s, %s, %s, coalesce(%s, statement_timestamp()))
                RETURNING id
            )
            SELECT pg_notify('cdp', '') FROM stored
            """,
            [source_id, call, body, received_at],
        )


def take_inbox(limit: int, max_bytes: int) -> list[Any]:
    """Remove up to `limit` of the oldest requests, skipping what others hold.

    Stops once they have `max_bytes` together, at least one is taken. Returns (source id,
    received_at, call, body), oldest first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
                SELECT id, octet_length(body) AS size
                FROM events_inbox
                WHERE error = ''
                ORDER BY id
                LIMIT %s
                FOR UPDATE SKIP LOCKED
            ), counted AS (
                SELECT id, sum(size) OVER (ORDER BY id) - size AS bytes_before FROM oldest
            ), taken AS (
                DELETE FROM events_inbox USING counted
                WHERE events_inbox.id = counted.id AND counted.bytes_before < %s
                RETURNING events_inbox.id, source_id, received_at, call, body
            )
            SELECT source_id, received_at, call, body FROM taken ORDER BY id
            """,
            [limit, max_bytes],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def set_inbox_aside(error: str) -> None:
    """Mark the oldest request, so that it is no longer taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE events_inbox SET error = %s
            WHERE id = (SELECT min(id) FROM events_inbox WHERE error = '')
            """,
            [error],
        )


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


def insert_names(names: Sequence[str]) -> None:
    """Add event names to the catalogue, unless they are there. They must be sorted."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_eventname (name) SELECT * FROM unnest(%s::text[])
            ON CONFLICT (name) DO NOTHING
            """,
            [[*names]],
        )


def note_names_seen(name_ids: Sequence[int]) -> None:
    """Note that events of these names arrived now. They must be sorted."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH held AS (
                SELECT id FROM events_eventname WHERE id = ANY(%s::int[]) ORDER BY id FOR UPDATE
            )
            UPDATE events_eventname SET last_seen_at = statement_timestamp()
            FROM held WHERE events_eventname.id = held.id
            """,
            [arrays.of_numbers(name_ids)],
        )


def learn_properties(rows: Sequence[tuple[int, str, str, str]], at_most: int) -> None:
    """Remember (name id, path, type, example), sorted; `at_most` different paths of a name."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_eventproperty AS known (name_id, path, types, example)
            SELECT name_id, path, array_agg(DISTINCT type), min(example)
            FROM unnest(%s::int[], %s::text[], %s::text[], %s::text[])
                AS told (name_id, path, type, example)
            WHERE (
                SELECT count(*) FROM events_eventproperty AS others
                WHERE others.name_id = told.name_id
            ) < %s
            GROUP BY name_id, path ORDER BY name_id, path
            ON CONFLICT (name_id, path) DO UPDATE SET
                last_seen_at = excluded.last_seen_at,
                types = ARRAY(
                    SELECT DISTINCT unnest(known.types || excluded.types) ORDER BY 1
                )
            """,
            [*(list(column) for column in zip(*rows, strict=True)), at_most],
        )


def forget_examples(customer_ids: Sequence[int]) -> None:
    """Blank the examples of the catalogue that an event of one of these customers bears out."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE events_eventproperty AS known SET example = 'null'
            FROM events_event AS event
            WHERE event.customer_id = ANY(%s) AND event.name_id = known.name_id
                AND known.example <> 'null'
                AND starts_with(
                    coalesce(
                        event.properties ->> known.path,
                        event.properties #>> string_to_array(known.path, '.')
                    ),
                    known.example::jsonb #>> '{}'
                )
            """,
            [list(customer_ids)],
        )


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


def lock_inbox_with(texts: Sequence[bytes]) -> list[Any]:
    """Return (id, call, body) of requests in which one of these occurs; held by us from now on.

    Those that others hold are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, call, body FROM events_inbox
            WHERE EXISTS (
                SELECT FROM unnest(%s::bytea[]) AS wanted (text) WHERE position(text IN body) > 0
            )
            FOR UPDATE SKIP LOCKED
            """,
            [list(texts)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def select_quarantined_with(texts: Sequence[str]) -> list[Any]:
    """Return (id, call, body) of events set aside in which one of these occurs."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, call, body FROM events_quarantine
            WHERE EXISTS (
                SELECT FROM unnest(%s::text[]) AS wanted (text) WHERE position(text IN body) > 0
            )
            """,
            [arrays.of_texts(texts)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


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


def sample_properties(name_ids: Sequence[int], sampled: int) -> list[Any]:
    """Return (name id, property, its JSON types, an example as JSON text) of some events each.

    An object or a list is no example.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name_id, key, array_agg(DISTINCT jsonb_typeof(value)),
                   min(value::text) FILTER (WHERE jsonb_typeof(value) NOT IN ('object', 'array'))
            FROM unnest(%s::int[]) AS wanted (name_id)
            CROSS JOIN LATERAL (
                SELECT properties FROM events_event
                WHERE events_event.name_id = wanted.name_id
                LIMIT %s
            ) AS sample
            CROSS JOIN LATERAL jsonb_each(properties)
            WHERE value <> 'null'
            GROUP BY name_id, key
            ORDER BY name_id, key
            """,
            [arrays.of_numbers(name_ids), sampled],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


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


def insert_discovered(rows: Sequence[tuple[str, int, str, str]], at_most: int) -> None:
    """Remember (name, source id, type, example) of unknown traits, `at_most` different ones.

    One that is known is touched once an hour.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_discoveredfield AS known (name, source_id, type, example)
            SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[])
            WHERE (SELECT count(*) FROM events_discoveredfield) < %s
            ON CONFLICT (name) DO UPDATE
            SET last_seen_at = excluded.last_seen_at, example = excluded.example
            WHERE known.last_seen_at < excluded.last_seen_at - interval '1 hour'
            """,
            [*(list(column) for column in zip(*rows, strict=True)), at_most],
        )


def insert_quarantined(rows: Sequence[tuple[Any, ...]]) -> None:
    """Set aside (source id, received_at, call, code, message, body, digest).

    One that waits with the same digest is there already; null is nothing's digest.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO events_quarantine
                (source_id, received_at, call, code, message, body, digest)
            SELECT * FROM unnest(
                %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[],
                %s::bigint[]
            )
            ON CONFLICT DO NOTHING
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def take_quarantined(ids: Sequence[int]) -> list[Any]:
    """Mark those not replayed yet as replayed; return (id, source id, received_at, call, body)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE events_quarantine SET replayed_at = statement_timestamp()
            WHERE id = ANY(%s::bigint[]) AND replayed_at IS NULL
            RETURNING id, source_id, received_at, call, code, body
            """,
            [[*ids]],
        )
        rows: list[Any] = cursor.fetchall()
        return sorted(rows)


def event_name_shares() -> tuple[int, dict[int, float]]:
    """Return the planner's estimate of all events, and each name's share of them by its id.

    Names too rare to be noticed by the last analyze are missing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT greatest(reltuples, 0)::bigint,
                   most_common_vals::text::bigint[], most_common_freqs
            FROM pg_class LEFT JOIN pg_stats
                ON tablename = relname AND schemaname = relnamespace::regnamespace::text
                AND attname = 'name_id'
            WHERE oid = to_regclass('events_event')
            """
        )
        rows, values, frequencies = cursor.fetchone()
    return rows, dict(zip(values or [], frequencies or [], strict=True))


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

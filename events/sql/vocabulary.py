"""The catalogue: names of events, what properties they have, traits that are no fields yet."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from customers import arrays


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

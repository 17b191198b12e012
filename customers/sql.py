"""Every raw statement of this app, one per function, named after what it does."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction

from customers import arrays, exact


def insert_changes(rows: Sequence[tuple[int, str, int | None]]) -> None:
    """Append (customer id, fact, event id) to the queue of changes and notify the pipeline."""
    customer_ids, facts, event_ids = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH woken AS (SELECT pg_notify('cdp', ''))
            INSERT INTO customers_change (customer_id, fact, event_id)
            SELECT changed.*
            FROM woken, unnest(%s::bigint[], %s::text[], %s::bigint[]) AS changed
            """,
            [
                arrays.of_numbers(customer_ids),
                arrays.of_texts(facts),
                arrays.of_numbers(event_ids),
            ],
        )


def notify() -> None:
    """Notify the pipeline, once the transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute("NOTIFY cdp")


def take_changes(limit: int) -> list[Any]:
    """Remove up to `limit` of the oldest changes, skipping what others hold.

    Returns (customer id, fact, event id), oldest first.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH oldest AS (
                SELECT id FROM customers_change WHERE error = ''
                ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
            ), taken AS (
                DELETE FROM customers_change USING oldest
                WHERE customers_change.id = oldest.id
                RETURNING customers_change.id, customer_id, fact, event_id
            )
            SELECT customer_id, fact, event_id FROM taken ORDER BY id
            """,
            [limit],
        )
        return cursor.fetchall()


def personal_fields() -> list[str]:
    """Return the names of the fields that hold personal data."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM customers_customerfield WHERE is_personal")
        return [name for (name,) in cursor.fetchall()]


def estimate_rows(table: str) -> int:
    """Return the planner's estimate of the rows of a table; 0 if it was never analyzed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass(%s)
            """,
            [table],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def set_change_aside(error: str) -> None:
    """Mark the oldest change, so that it is no longer taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_change SET error = %s
            WHERE id = (SELECT min(id) FROM customers_change WHERE error = '')
            """,
            [error],
        )


def clock_timestamp() -> Any:
    """Return the database's clock at this very moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def lock_customers(customer_ids: Sequence[int]) -> list[tuple[int, int | None]]:
    """Lock these customers against other evaluators, in order of id; return (id, merged into).

    Writers of events and identifiers, which only refer to a customer, are not held up.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.merged_into_id
            FROM customers_customer c
            JOIN unnest(%s::bigint[]) AS wanted (id) ON wanted.id = c.id
            ORDER BY c.id
            FOR NO KEY UPDATE OF c
            """,
            [arrays.of_numbers(customer_ids)],
        )
        return cursor.fetchall()


class Written(NamedTuple):
    """What became of one customer's new values: the fields that changed, or who they are now."""

    customer_id: int
    merged_into: int | None
    names: list[str]


def set_fields(
    rows: Sequence[tuple[int, str, str | None]], source: str, import_id: int | None = None
) -> list[Written]:
    """Merge (customer id, {field: value or null} as JSON, identifier it came by) into customers.

    What changed is logged as coming from `source`, and from the import if one did it.

    Customers whose values are so already are neither locked nor written; those merged into
    another are locked and returned, but not written. Returns customer id, merged into, names of
    the fields that changed. Locks in the order of ids.
    """
    members = [
        f'{{"id":{customer_id},"fields":{fields}}}'
        if came_by is None
        else f'{{"id":{customer_id},"fields":{fields},"came_by":{exact.dumps(came_by)}}}'
        for customer_id, fields, came_by in rows
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH wanted AS (
                SELECT * FROM json_to_recordset(%(rows)s)
                    AS wanted (id bigint, fields jsonb, came_by text)
            ), locked AS MATERIALIZED (
                SELECT c.id, c.merged_into_id, c.fields AS old, wanted.fields AS new, came_by
                FROM wanted JOIN customers_customer AS c USING (id)
                WHERE c.merged_into_id IS NOT NULL OR NOT c.fields @> wanted.fields
                ORDER BY c.id
                FOR NO KEY UPDATE OF c
            ), changed AS MATERIALIZED (
                SELECT locked.*, difference.changes
                FROM locked, LATERAL (
                    SELECT jsonb_object_agg(key, jsonb_build_array(old -> key, value)) AS changes
                    FROM jsonb_each(new)
                    WHERE coalesce(old -> key, 'null') <> value AND merged_into_id IS NULL
                ) AS difference
                WHERE changes IS NOT NULL OR merged_into_id IS NOT NULL
            ), updated AS (
                UPDATE customers_customer AS c
                SET fields = jsonb_strip_nulls(changed.old || changed.new)
                FROM changed
                WHERE c.id = changed.id AND changed.merged_into_id IS NULL
            ), logged AS (
                INSERT INTO customers_fieldchange
                    (customer_id, source, changes, came_by, import_id)
                SELECT id, %(source)s, changes, came_by, %(import_id)s
                FROM changed WHERE merged_into_id IS NULL
            )
            SELECT id, merged_into_id, ARRAY(SELECT jsonb_object_keys(changes)) FROM changed
            """,
            {
                "rows": f"[{','.join(members)}]",
                "source": source,
                "import_id": import_id,
            },
        )
        return [Written(*row) for row in cursor.fetchall()]


def select_owners(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return {(kind, value): customer id} of those identifiers that are known."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT wanted.kind, wanted.value, owner.customer_id
            FROM unnest(%s::text[], %s::text[]) AS wanted (kind, value)
            CROSS JOIN LATERAL (
                -- each by itself: where statistics are missing, a join reads the whole table
                SELECT customer_id FROM customers_identifier AS known
                WHERE known.kind = wanted.kind AND known.value = wanted.value
                LIMIT 1
            ) AS owner
            """,
            [
                arrays.of_texts(kind for kind, _ in keys),
                arrays.of_texts(value for _, value in keys),
            ],
        )
        return {(kind, value): customer_id for kind, value, customer_id in cursor.fetchall()}


IDENTITIES = 0x1D5  # the advisory lock that orders separations with everything that identifies


def hold_identities(*, exclusive: bool) -> None:
    """Wait until nobody separates customers, or, if exclusive, until nobody identifies them.

    Held until the transaction ends.
    """
    statement = (
        "SELECT pg_advisory_xact_lock(%s)"
        if exclusive
        else "SELECT pg_advisory_xact_lock_shared(%s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [IDENTITIES])


def select_separated(customer_ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return pairs of these customers that somebody has separated, by who they are now."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT coalesce(one.merged_into_id, one.id),
                            coalesce(other.merged_into_id, other.id)
            FROM customers_merge AS merge
            JOIN customers_customer AS one ON one.id = merge.survivor_id
            JOIN customers_customer AS other ON other.id = merge.absorbed_id
            WHERE merge.undone_at IS NOT NULL
              AND coalesce(one.merged_into_id, one.id) = ANY(%(ids)s::bigint[])
              AND coalesce(other.merged_into_id, other.id) = ANY(%(ids)s::bigint[])
            """,
            {"ids": arrays.of_numbers(customer_ids)},
        )
        return cursor.fetchall()


def lock_profiles(customer_ids: Sequence[int]) -> list[Any]:
    """Hold these customers until the transaction ends, in order of id.

    Returns (id, external_id, merged_into_id) as they are once held.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, external_id, merged_into_id
            FROM customers_customer
            WHERE id = ANY(%s::bigint[])
            ORDER BY id
            FOR NO KEY UPDATE
            """,
            [arrays.of_numbers(customer_ids)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def insert_customers(rows: Sequence[tuple[Any, Any, Any]]) -> list[int]:
    """Create customers from (external_id, first_seen_at, last_seen_at); return ids in order."""
    external_ids, firsts, lasts = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_customer (external_id, first_seen_at, last_seen_at)
            SELECT * FROM unnest(%s::text[], %s::timestamptz[], %s::timestamptz[])
            RETURNING id
            """,
            [arrays.of_texts(external_ids), arrays.of_times(firsts), arrays.of_times(lasts)],
        )
        return sorted(customer_id for (customer_id,) in cursor.fetchall())


def insert_identifiers(rows: Sequence[tuple[str, str, int]]) -> int:
    """Add (kind, value, customer id) unless the identifier exists; return how many were new.

    Rows must be sorted: who inserts in another order may deadlock.
    """
    kinds, values, customer_ids = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_identifier (kind, value, customer_id)
            SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[])
            ON CONFLICT (kind, value) DO NOTHING
            """,
            [arrays.of_texts(kinds), arrays.of_texts(values), arrays.of_numbers(customer_ids)],
        )
        return int(cursor.rowcount)


def repoint_identifiers(rows: Sequence[tuple[str, str, int]]) -> None:
    """Let each (kind, value) name this customer id from now on."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_identifier SET customer_id = given.customer_id
            FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS given (kind, value, customer_id)
            WHERE customers_identifier.kind = given.kind
              AND customers_identifier.value = given.value
            """,
            columns,
        )


def inherit_identifiers(pairs: Sequence[tuple[int, int]]) -> list[Any]:
    """Let all identifiers of each absorbed customer name the survivor; `pairs` has both ids.

    Returns (kind, value, absorbed id).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_identifier SET customer_id = merge.survivor_id
            FROM unnest(%s::bigint[], %s::bigint[]) AS merge (absorbed_id, survivor_id)
            WHERE customers_identifier.customer_id = merge.absorbed_id
            RETURNING kind, value, merge.absorbed_id
            """,
            [list(ids) for ids in zip(*pairs, strict=True)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def set_external_ids(rows: Sequence[tuple[int, str | None]]) -> None:
    """Give each customer id its external id."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_customer SET external_id = given.external_id
            FROM unnest(%s::bigint[], %s::text[]) AS given (id, external_id)
            WHERE customers_customer.id = given.id
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def note_seen(rows: Sequence[tuple[int, Any, Any]]) -> list[int]:
    """Widen the time in which each customer was seen to hold (id, first, last).

    Returns the ids of those for whom that changed something.
    """
    ids, firsts, lasts = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_customer
            SET first_seen_at = least(first_seen_at, seen.first),
                last_seen_at = greatest(last_seen_at, seen.last)
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[])
                AS seen (id, first, last)
            WHERE customers_customer.id = seen.id
              AND (first_seen_at IS NULL OR first_seen_at > seen.first OR last_seen_at < seen.last)
            RETURNING customers_customer.id
            """,
            [arrays.of_numbers(ids), arrays.of_times(firsts), arrays.of_times(lasts)],
        )
        return [customer_id for (customer_id,) in cursor.fetchall()]


def select_profiles(customer_ids: Sequence[int]) -> list[Any]:
    """Return (id, fields as JSON text, first_seen_at, last_seen_at) of these customers."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, fields::text, first_seen_at, last_seen_at
            FROM customers_customer
            WHERE id = ANY(%s::bigint[])
            """,
            [[*customer_ids]],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def select_last_writes(customer_ids: Sequence[int]) -> list[Any]:
    """Return (customer id, field, when it was last written or cleared) for these customers."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, field, max(at)
            FROM customers_fieldchange
            CROSS JOIN LATERAL jsonb_object_keys(changes) AS field
            WHERE customer_id = ANY(%s::bigint[])
            GROUP BY customer_id, field
            """,
            [[*customer_ids]],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def update_profiles(rows: Sequence[tuple[int, str, Any, Any]]) -> None:
    """Replace (id, fields as JSON text, first_seen_at, last_seen_at) of customers."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_customer
            SET fields = given.fields,
                first_seen_at = given.first_seen_at,
                last_seen_at = given.last_seen_at
            FROM unnest(%s::bigint[], %s::jsonb[], %s::timestamptz[], %s::timestamptz[])
                AS given (id, fields, first_seen_at, last_seen_at)
            WHERE customers_customer.id = given.id
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def move_field_changes(pairs: Sequence[tuple[int, int]]) -> None:
    """Carry the history of fields of each absorbed customer to the survivor.

    In two steps: the customer is what the table is distributed by and cannot be updated.
    """
    columns = [list(ids) for ids in zip(*pairs, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_fieldchange
                (customer_id, id, at, source, changes, came_by, import_id, origin_id)
            SELECT merge.survivor_id, id, at, source, changes, came_by, import_id,
                   coalesce(origin_id, merge.absorbed_id)
            FROM customers_fieldchange
            JOIN unnest(%s::bigint[], %s::bigint[]) AS merge (absorbed_id, survivor_id)
              ON customers_fieldchange.customer_id = merge.absorbed_id
            ON CONFLICT DO NOTHING
            """,
            columns,
        )
        cursor.execute(
            "DELETE FROM customers_fieldchange WHERE customer_id = ANY(%s::bigint[])", columns[:1]
        )


def leave_signposts(pairs: Sequence[tuple[int, int]]) -> None:
    """Mark each absorbed customer, and all that it had absorbed, as merged into the survivor."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_customer SET merged_into_id = merge.survivor_id, external_id = NULL
            FROM unnest(%s::bigint[], %s::bigint[]) AS merge (absorbed_id, survivor_id)
            WHERE customers_customer.id = merge.absorbed_id
               OR customers_customer.merged_into_id = merge.absorbed_id
            """,
            [list(ids) for ids in zip(*pairs, strict=True)],
        )


def insert_merges(rows: Sequence[tuple[int, int, str, str]]) -> None:
    """Record merges: (survivor id, absorbed id, cause, identifiers as JSON text).

    Call it before anything else of the merge is written: it notes how things were.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_merge (
                survivor_id, absorbed_id, cause, identifiers, external_id,
                survivor_first_seen_at, survivor_last_seen_at, last_change_id
            )
            SELECT survivor_id, absorbed_id, cause, identifiers, absorbed.external_id,
                   survivor.first_seen_at, survivor.last_seen_at,
                   (SELECT last_value FROM customers_fieldchange_id_seq)
            FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::jsonb[])
                WITH ORDINALITY AS merge (survivor_id, absorbed_id, cause, identifiers, place)
            JOIN customers_customer AS survivor ON survivor.id = survivor_id
            JOIN customers_customer AS absorbed ON absorbed.id = absorbed_id
            ORDER BY place
            """,
            [list(column) for column in zip(*rows, strict=True)],
        )


def find_by_identifier(keys: Sequence[tuple[str, str]], text: str, limit: int) -> list[int]:
    """Return ids of customers with one of the (kind, value), or an id or e-mail that begins so."""
    kinds, values = [kind for kind, _ in keys], [value for _, value in keys]
    beginning = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id FROM customers_identifier
            WHERE (kind, value) IN (SELECT * FROM unnest(%(kinds)s::text[], %(values)s::text[]))
            UNION
            (SELECT customer_id FROM customers_identifier
             WHERE kind = 'customer_id' AND value LIKE %(beginning)s LIMIT %(limit)s)
            UNION
            (SELECT customer_id FROM customers_identifier
             WHERE kind = 'email' AND value LIKE lower(%(beginning)s) LIMIT %(limit)s)
            LIMIT %(limit)s
            """,
            {"kinds": kinds, "values": values, "beginning": beginning, "limit": limit},
        )
        return [row[0] for row in cursor.fetchall()]


def find_by_words(query: str, limit: int) -> list[int]:
    """Return ids of customers whose words match a query of PostgreSQL's text search.

    By the index only: the planner takes a number of which nobody has more than one for frequent,
    and would read everybody.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            """
            SELECT customer_id FROM customers_searchentry
            WHERE words @@ to_tsquery('simple', %s) LIMIT %s
            """,
            [query, limit],
        )
        found = [row[0] for row in cursor.fetchall()]
        cursor.execute("SET LOCAL enable_seqscan = on")
        return found


def keep_search_entries(customer_ids: Sequence[int], folded: str, plain: str) -> None:
    """Bring the search entries of these customers up to date.

    The letters `folded` count as those of `plain`. Of what looks like a phone number all digits
    are kept, and the last nine: the number without its country.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            WITH present AS MATERIALIZED (
                SELECT id, coalesce(words, '') AS words
                FROM customers_customer
                CROSS JOIN LATERAL (
                    SELECT to_tsvector('simple', translate(
                               lower(string_agg(left(value, 200), ' ')), %(folded)s, %(plain)s))
                           || coalesce(array_to_tsvector(
                               array_agg(digits) FILTER (WHERE digits <> '')
                               || array_agg(right(digits, 9)) FILTER (WHERE digits <> '')), '')
                           AS words
                    FROM jsonb_each(fields) AS held (name, json),
                         LATERAL (SELECT json #>> '{}') AS text (value),
                         LATERAL (SELECT CASE WHEN value ~ '^[+(]?[0-9][0-9 ()/.-]{6,24}$'
                                  THEN regexp_replace(value, '\D', '', 'g') ELSE '' END
                                 ) AS number (digits)
                    WHERE jsonb_typeof(json) = 'string' AND value NOT LIKE '____-__-__T__:__:__%%Z'
                ) AS own
                WHERE id = ANY(%(ids)s::bigint[]) AND merged_into_id IS NULL
            ), gone AS (
                DELETE FROM customers_searchentry
                WHERE customer_id = ANY(%(ids)s::bigint[])
                  AND customer_id NOT IN (SELECT id FROM present WHERE words <> '')
            )
            INSERT INTO customers_searchentry (customer_id, words)
            SELECT id, words FROM present WHERE words <> '' ORDER BY id
            ON CONFLICT (customer_id) DO UPDATE SET words = excluded.words
            WHERE customers_searchentry.words <> excluded.words
            """,
            {"ids": arrays.of_numbers(customer_ids), "folded": folded, "plain": plain},
        )


def field_indexes() -> dict[str, bool]:
    """Return the indexes on single customer fields by name, and whether each is complete."""
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            SELECT class.relname, index.indisvalid
            FROM pg_index AS index JOIN pg_class AS class ON class.oid = index.indexrelid
            WHERE index.indrelid = 'customers_customer'::regclass
              AND class.relname LIKE 'customer\_field\_%'
            """
        )
        return dict(cursor.fetchall())


def drop_index(name: str) -> None:
    """Remove an index without holding up writers. Call it outside a transaction."""
    with connection.cursor() as cursor:
        quoted = connection.ops.quote_name(name)
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}")


def analyze_customers() -> None:
    """Let the planner know what the values of indexed fields are like."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE customers_customer")


def planned_rows(rows: Any) -> int:
    """Return how many rows the planner believes that a queryset has."""
    plan = json.loads(rows.explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


def limit_time(milliseconds: int) -> None:
    """Let each statement of the transaction take so long, then be cancelled."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])


def count_values() -> dict[str, int]:
    """Count for each name of a field the customers who have a value. Reads all customers."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT name, count(*)
            FROM customers_customer, jsonb_object_keys(fields) AS name
            WHERE merged_into_id IS NULL
            GROUP BY name
            """
        )
        return dict(cursor.fetchall())


def select_values(name: str, percent: float) -> list[tuple[str, int]]:
    """Return the distinct values of a field as JSON text, and how many customers have each.

    From a sample of so many percent of the customers, scaled up; 100 reads everyone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (fields -> %(name)s)::text, round(count(*) * 100.0 / %(percent)s)::bigint
            FROM customers_customer TABLESAMPLE SYSTEM (%(percent)s)
            WHERE merged_into_id IS NULL AND fields ? %(name)s
            GROUP BY 1 ORDER BY 2 DESC, 1
            """,
            {"name": name, "percent": percent},
        )
        return cursor.fetchall()

"""What is known of customers, and what they become."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection

from customers import arrays, exact


def personal_fields() -> list[str]:
    """Return the names of the fields that hold personal data."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM customers_customerfield WHERE is_personal")
        return [name for (name,) in cursor.fetchall()]


def clock_timestamp() -> Any:
    """Return the database's clock at this very moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def lock_customers(customer_ids: Sequence[int]) -> list[tuple[int, int | None]]:
    """Lock these customers against other writers, in order of id; return (id, merged into).

    Who only refers to a customer, or evaluates segments, is not held up.
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


def hold_customers(customer_ids: Sequence[int]) -> list[tuple[int, int | None]]:
    """Keep these customers from being merged, separated or erased; return (id, merged into).

    Whoever writes what they do and have is not held up. Holds them in order of id.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.merged_into_id
            FROM customers_customer c
            JOIN unnest(%s::bigint[]) AS wanted (id) ON wanted.id = c.id
            ORDER BY c.id
            FOR KEY SHARE OF c
            """,
            [arrays.of_numbers(customer_ids)],
        )
        return cursor.fetchall()


def lock_persons(customer_ids: Sequence[int]) -> None:
    """Lock customers who are about to become one, or two, also against who `hold_customers`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id FROM customers_customer WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE
            """,
            [arrays.of_numbers(customer_ids)],
        )


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


def narrow_seen(rows: Sequence[tuple[int, Any, Any, Any, Any]]) -> None:
    """Replace when customers were seen, by (id, first taken back, last, first remaining, last)."""
    ids, *times = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE customers_customer
            SET first_seen_at = CASE WHEN first_seen_at = taken.first THEN taken.next_first
                                     ELSE first_seen_at END,
                last_seen_at = CASE WHEN last_seen_at = taken.last THEN taken.next_last
                                    ELSE last_seen_at END
            FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
                        %s::timestamptz[]) AS taken (id, first, last, next_first, next_last)
            WHERE customers_customer.id = taken.id
              AND (first_seen_at = taken.first OR last_seen_at = taken.last)
            """,
            [arrays.of_numbers(ids), *map(arrays.of_times, times)],
        )


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
    """Return (customer id, field, when, source) of the writes that gave these customers' values.

    A field that was cleared has one, too. What a merge did not let stand has none.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT ON (customer_id, told.key) customer_id, told.key, at, source
            FROM customers_fieldchange
            JOIN customers_customer AS owner ON owner.id = customer_id
            CROSS JOIN LATERAL jsonb_each(changes) AS told
            WHERE customer_id = ANY(%s::bigint[])
              AND told.value -> 1 = coalesce(owner.fields -> told.key, 'null')
            ORDER BY customer_id, told.key, at DESC, customers_fieldchange.id DESC
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

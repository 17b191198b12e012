"""The raw statements of the search for duplicates, one per function, named after what it does."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection

from customers import arrays


def copy_keys(rows: Iterable[tuple[int, int]]) -> None:
    """Store (key, customer id); no row may be there already."""
    statement = "COPY customers_duplicatekey (key, customer_id) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def select_contacts(customer_ids: Sequence[int]) -> list[Any]:
    """Return (customer id, kind, value) of the e-mails and phones these customers go by."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, kind, value
            FROM customers_identifier
            WHERE customer_id = ANY(%s::bigint[]) AND kind IN ('email', 'phone')
            """,
            [arrays.of_numbers(customer_ids)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def forget_keys() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE customers_duplicatekey")


def analyze_keys() -> None:
    """Tell the planner of the keys; else it would read and sort all of them for each few."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE customers_duplicatekey")


def select_blocks(after_key: int, limit: int, at_most: int) -> list[Any]:
    """Return the next keys, above one, that 2 to `at_most` customers share: (key, customer ids)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT key, array_agg(customer_id)
            FROM customers_duplicatekey
            WHERE key > %s
            GROUP BY key
            HAVING count(*) BETWEEN 2 AND %s
            ORDER BY key
            LIMIT %s
            """,
            [after_key, at_most, limit],
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def select_separated(pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return those pairs (the lesser id first) that somebody has separated."""
    ones, others = zip(*pairs, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT one, other
            FROM unnest(%s::bigint[], %s::bigint[]) AS pair (one, other)
            JOIN customers_merge AS merge
              ON least(survivor_id, absorbed_id) = one
             AND greatest(survivor_id, absorbed_id) = other
            WHERE merge.undone_at IS NOT NULL
            """,
            [arrays.of_numbers(ones), arrays.of_numbers(others)],
        )
        return {*cursor.fetchall()}


def forget_customers(customer_ids: Sequence[int]) -> None:
    """Remove pairs and keys of these customers."""
    ids = arrays.of_numbers(customer_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM customers_possibleduplicate
            WHERE one_id = ANY(%s::bigint[]) OR other_id = ANY(%s::bigint[])
            """,
            [ids, ids],
        )
        cursor.execute(
            "DELETE FROM customers_duplicatekey WHERE customer_id = ANY(%s::bigint[])", [ids]
        )

"""The raw statements of imports, one per function, named after what it does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.db import connection

from customers import arrays

IMPORTS = 0x1A9  # class of the advisory locks by which one process at a time runs an import


def try_lock(import_id: int) -> bool:
    """Reserve an import for this connection until `unlock` or the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s::int)", [IMPORTS, import_id])
        return bool(cursor.fetchone()[0])


def unlock(import_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s::int)", [IMPORTS, import_id])


def select_owners(customer_ids: Sequence[str]) -> dict[str, int]:
    """Return the id of the customer by each of these CustomerIds that is known.

    Each is looked up by itself: while a file fills an empty table, nobody knows yet how many rows
    it has, and a join would read all of them for each chunk.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT value, customer_id
            FROM unnest(%s::text[]) AS wanted (value)
            CROSS JOIN LATERAL (
                SELECT customer_id FROM customers_identifier AS known
                WHERE known.kind = 'customer_id' AND known.value = wanted.value
                LIMIT 1
            ) AS owner
            """,
            [arrays.of_texts(customer_ids)],
        )
        return dict(cursor.fetchall())


def claim_customer_ids(customer_ids: Sequence[str]) -> dict[str, int]:
    """Make each CustomerId, unless it is known by now, the identifier of a customer to be created.

    Returns the id which that customer must have. They must be sorted: who claims in another order
    may deadlock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ids AS MATERIALIZED (
                SELECT pg_get_serial_sequence('customers_customer', 'id')::regclass AS sequence
            )
            INSERT INTO customers_identifier (kind, value, customer_id)
            SELECT 'customer_id', value, nextval(sequence)
            FROM ids, unnest(%s::text[]) WITH ORDINALITY AS wanted (value, place)
            ORDER BY place
            ON CONFLICT (kind, value) DO NOTHING
            RETURNING value, customer_id
            """,
            [arrays.of_texts(customer_ids)],
        )
        return dict(cursor.fetchall())


def copy_customers(rows: Iterable[tuple[int, str, str]]) -> None:
    """Store (id, CustomerId, fields as JSON) of new customers."""
    _copy("COPY customers_customer (id, external_id, fields) FROM STDIN", rows)


def copy_field_changes(rows: Iterable[tuple[int, str, str]]) -> None:
    """Store (customer id, source, changes as JSON)."""
    _copy("COPY customers_fieldchange (customer_id, source, changes) FROM STDIN", rows)


def copy_changes(rows: Iterable[tuple[int, Iterable[str]]]) -> None:
    """Append (customer id, facts) to the queue of changes.

    These are by far the most rows of an import, so their text is put together here.
    """
    end_of = _Ends()
    statement = "COPY customers_change (customer_id, fact) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for customer_id, facts in rows:
            copy.write("".join([f"{customer_id}{end_of[fact]}" for fact in facts]))


class _Ends(dict[str, str]):
    """What follows the first column, in COPY's text format, by the value of the second."""

    escapes: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

    def __missing__(self, text: str) -> str:
        self[text] = end = f"\t{text.translate(self.escapes)}\n"
        return end


def copy_problems(rows: Iterable[tuple[int, int, str, str, str]]) -> None:
    """Store (import id, line, code, message, cells as JSON)."""
    _copy("COPY customers_importproblem (source_id, line, code, message, row) FROM STDIN", rows)


def _copy(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def select_seen(import_id: int, keys: Sequence[int]) -> dict[int, int]:
    """Return what the import remembers under these keys, each looked up by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT key, what
            FROM unnest(%s::bigint[]) AS wanted (key)
            CROSS JOIN LATERAL (
                SELECT what FROM customers_importseen AS seen
                WHERE seen.source_id = %s AND seen.key = wanted.key
                LIMIT 1
            ) AS remembered
            """,
            [arrays.of_numbers(keys), import_id],
        )
        return {key: int(what) for key, what in cursor.fetchall()}


def remember_seen(import_id: int, what_by_key: Mapping[int, int]) -> None:
    """Let the import remember this from now on."""
    keys = sorted(what_by_key)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_importseen (source_id, key, what)
            SELECT %s, key, what FROM unnest(%s::bigint[], %s::numeric[]) AS seen (key, what)
            ON CONFLICT (source_id, key) DO UPDATE SET what = excluded.what
            """,
            [
                import_id,
                arrays.of_numbers(keys),
                arrays.of_numbers(what_by_key[key] for key in keys),
            ],
        )

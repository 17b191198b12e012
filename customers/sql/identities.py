"""Who is who: identifiers, whose they are, and customers that are one."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from customers import arrays


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


def count_identifiers(
    customer_ids: Sequence[int], kinds: Sequence[str]
) -> dict[int, dict[str, int]]:
    """Count the identifiers of these kinds that each of these customers has, by id and kind."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, kind, count(*)
            FROM customers_identifier
            WHERE customer_id = ANY(%s::bigint[]) AND kind = ANY(%s::text[])
            GROUP BY customer_id, kind
            """,
            [arrays.of_numbers(customer_ids), arrays.of_texts(kinds)],
        )
        held: dict[int, dict[str, int]] = {}
        for customer_id, kind, count in cursor.fetchall():
            held.setdefault(customer_id, {})[kind] = count
        return held


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

"""The raw statements of separations, one per function, named after what it does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from customers import arrays


def now() -> datetime:
    """Return the time at which this statement began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        at: datetime = cursor.fetchone()[0]
        return at


def select_field_changes(
    customer_id: int,
    members: Sequence[int],
    keys: Sequence[str],
    after_id: int,
    *,
    takes_unnamed: bool,
) -> list[Any]:
    """Return (id, whether it goes along, changes as JSON text) of a customer, oldest first.

    A change goes along that was one of `members`' before a merge, or that is above `after_id` and
    came by one of `keys`, or by none if `takes_unnamed`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id,
                   coalesce(origin_id = ANY(%(members)s::bigint[]), false)
                   OR (id > %(after_id)s AND (
                       coalesce(came_by = ANY(%(keys)s::text[]), false)
                       OR (%(takes_unnamed)s AND came_by IS NULL AND origin_id IS NULL)
                   )),
                   changes::text
            FROM customers_fieldchange
            WHERE customer_id = %(customer_id)s
            ORDER BY at, id
            """,
            {
                "customer_id": customer_id,
                "members": arrays.of_numbers(members),
                "keys": arrays.of_texts(keys),
                "after_id": after_id,
                "takes_unnamed": takes_unnamed,
            },
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def move_field_changes(
    from_id: int, to_id: int, change_ids: Sequence[int], others: Sequence[int]
) -> None:
    """Carry these changes from one customer to another; those that were of `others` still are.

    In two steps: the customer is what the table is distributed by and cannot be updated.
    """
    parameters: dict[str, Any] = {
        "from_id": from_id,
        "to_id": to_id,
        "ids": arrays.of_numbers(change_ids),
        "others": arrays.of_numbers(others),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_fieldchange
                (customer_id, id, at, source, changes, came_by, import_id, origin_id)
            SELECT %(to_id)s, id, at, source, changes, came_by, import_id,
                   CASE WHEN origin_id = ANY(%(others)s::bigint[]) THEN origin_id END
            FROM customers_fieldchange
            WHERE customer_id = %(from_id)s AND id = ANY(%(ids)s::bigint[])
            """,
            parameters,
        )
        cursor.execute(
            """
            DELETE FROM customers_fieldchange
            WHERE customer_id = %(from_id)s AND id = ANY(%(ids)s::bigint[])
            """,
            parameters,
        )

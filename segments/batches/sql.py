"""The raw statements around those that were made ready: preparing, executing, forgetting them."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection, transaction


@contextlib.contextmanager
def evaluating() -> Iterator[None]:
    """Plan once, by hash joins and indexes only.

    Every table is narrowed to the customers of the batch by an index of theirs. A plan that is kept
    must also hold when the tables have grown since, so it may read none from end to end.
    """
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL enable_nestloop = off; SET LOCAL enable_seqscan = off;"
            " SET LOCAL plan_cache_mode = force_generic_plan"
        )
        yield
        cursor.execute(
            "SET LOCAL enable_nestloop = on; SET LOCAL enable_seqscan = on;"
            " SET LOCAL plan_cache_mode = auto"
        )


def prepare(name: str, types: Sequence[str], text: str) -> None:
    """Have the connection hold a statement ready; a transaction that fails does not undo it."""
    with connection.cursor() as cursor:
        cursor.execute(f"PREPARE {name} ({', '.join(types)}) AS {text}")


def execute(name: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement that was prepared; returns its rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXECUTE {name} ({', '.join(['%s'] * len(values))})", values)
        return cursor.fetchall()


def deallocate(name: str) -> None:
    """Forget a statement that was prepared."""
    with connection.cursor() as cursor:
        cursor.execute(f"DEALLOCATE {name}")

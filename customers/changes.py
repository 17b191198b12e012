"""What has changed about whom: the one mouth by which every writer joins the river."""

from collections.abc import Iterable
from typing import NamedTuple

from customers.sql import queue

NEW = "new"
NEW_WITH_FIELDS = "new:fields"  # a new customer, identified, all of whose fields are new too


class Fact(NamedTuple):
    """Something that became true of a customer, and the event that made it so, if one did."""

    customer_id: int
    name: str
    event_id: int | None = None


def event(name: str) -> str:
    return f"event:{name}"


def field(name: str) -> str:
    return f"field:{name}"


def merged(absorbed_id: int) -> str:
    return f"merged:{absorbed_id}"


def unmerged(separated_id: int) -> str:
    return f"unmerged:{separated_id}"


def clock(segment_id: int) -> str:
    return f"clock:{segment_id}"


def record(facts: Iterable[Fact]) -> None:
    """Queue facts for the segments, in the caller's transaction, and wake the pipeline."""
    rows = [*facts]
    if rows:
        queue.insert_changes(rows)


def wake() -> None:
    """Wake the pipeline when the caller's transaction commits."""
    queue.notify()


def claim(limit: int) -> list[Fact]:
    """Take up to `limit` of the oldest facts off the queue; they return if the caller rolls back.

    Rows that another pipeline holds are skipped. Call it inside a transaction.
    """
    return [Fact(*row) for row in queue.take_changes(limit)]


def set_aside(error: str) -> None:
    """Keep the oldest fact out of the queue, with the error that its evaluation met."""
    queue.set_change_aside(error or "unknown")

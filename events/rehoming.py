"""Events of customers who turn out to be one person, or two: they follow."""

from collections.abc import Mapping
from typing import NamedTuple

from customers import merging
from customers.unmerging import Seen, Split
from events.sql import history


class Moved(NamedTuple):
    """How many events went along, and when those and the ones that stayed happened."""

    events: int
    seen: Seen
    left: Seen


def follow(merged: Mapping[int, int]) -> None:
    """Carry the events of each absorbed customer to the survivor, marked with whose they were.

    Call it in the transaction of the merges.
    """
    history.move_events(sorted(merged.items()))
    merging.note_latest_event([*merged], history.latest_event_id())


def separate(split: Split) -> Moved:
    """Carry along the events of a customer who leaves another. Call it in that transaction."""
    others = [member for member in split.members if member != split.separated_id]
    count, *seen = history.separate_events(
        split.kept_id, split.separated_id, split.members, split.keys, split.after_event_id, others
    )
    return Moved(count, Seen(*seen), Seen(*history.seen_in_events(split.kept_id)))


def count_leaving(split: Split) -> dict[str, int]:
    """Count by name the events that would go along, the most frequent first."""
    return history.count_leaving_events(
        split.kept_id, split.members, split.keys, split.after_event_id
    )

"""Evaluating segments for the customers of a batch, by statements that are made ready once."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from customers import arrays
from segments import evaluation
from segments.affected import Group
from segments.batches import ready, sql
from segments.compiled import clock
from segments.models import Segment

AT_ONCE = 200  # segments in one statement


def differing(
    groups: Iterable[Group], by_id: Mapping[int, Segment], now: datetime
) -> dict[tuple[int, int], bool]:
    """Whether a customer belongs to a segment, by the ids of both, where that is news."""
    names = evaluation.names()
    instants = clock(now, evaluation.zone())
    found = {}
    with sql.evaluating():
        for group in groups:
            values = instants | {
                "ids": arrays.of_numbers(group.customer_ids),
                "asked_of": arrays.of_numbers(customer_id for customer_id, _ in group.pairs),
                "asked_for": arrays.of_numbers(segment_id for _, segment_id in group.pairs),
            }
            segments = [by_id[pk] for pk in sorted(group.segment_ids)]
            for start in range(0, len(segments), AT_ONCE):
                some = evaluation.readable(segments[start : start + AT_ONCE])
                for statement in ready.statements(some, names, by_pairs=bool(group.pairs)):
                    for segment_id, customer_id, belongs in statement.run(values):
                        found[customer_id, segment_id] = belongs
    return found

"""Which segments must be evaluated for whom, after a batch of facts."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from customers import changes
from customers.changes import Fact
from segments.models import Segment

# So many evaluations in vain, of a customer for a segment, take as long as one more statement.
IN_VAIN = 200


class Group(NamedTuple):
    """Segments, and the customers for whom they are evaluated, in one statement."""

    segments: list[Segment]
    customer_ids: list[int]


def concerns(segment: Segment, fact: str) -> bool:
    """Whether a fact may change who belongs to a segment."""
    if fact in segment.facts or fact == changes.clock(segment.pk):
        return True
    if fact == changes.NEW_WITH_FIELDS:
        return any(own == changes.NEW or own.startswith("field:") for own in segment.facts)
    if fact.startswith(("merged:", "unmerged:", "everything")):
        return True
    return any(own.endswith("*") and fact.startswith(own[:-1]) for own in segment.facts)


def groups(segments: Sequence[Segment], told: Mapping[int, Iterable[Fact]]) -> list[Group]:
    """Sort customers, by what they were told, to the segments which that concerns.

    A customer who was told several things can be in several groups, and a segment too: the two
    may meet more than once. Few customers with few segments share a group, evaluated in vain
    where nothing is new, so that there are not too many statements.
    """
    names = {fact.name for facts in told.values() for fact in facts}
    affected = {name: frozenset(s.pk for s in segments if concerns(s, name)) for name in names}
    customers: dict[frozenset[int], set[int]] = defaultdict(set)
    for customer_id, facts in told.items():
        for segment_ids in _largest({affected[fact.name] for fact in facts}):
            customers[segment_ids].add(customer_id)
    by_id = {segment.pk: segment for segment in segments}
    return [
        Group([by_id[pk] for pk in sorted(segment_ids)], sorted(customer_ids))
        for segment_ids, customer_ids in _joined(customers)
    ]


def _largest(sets: Collection[frozenset[int]]) -> list[frozenset[int]]:
    """Those that are not empty and not part of another."""
    if len(sets) == 1:
        return [one for one in sets if one]
    return [one for one in sets if one and not any(one < other for other in sets)]


def _joined(
    customers: Mapping[frozenset[int], set[int]],
) -> list[tuple[frozenset[int], set[int]]]:
    """Put groups together, the smallest first, while that costs less than a statement."""
    joined: list[tuple[frozenset[int], set[int]]] = []
    for segment_ids, customer_ids in sorted(customers.items(), key=lambda item: len(item[1])):
        if joined:
            last_segments, last_customers = joined[-1]
            in_vain = len(last_customers) * len(segment_ids - last_segments)
            in_vain += len(customer_ids) * len(last_segments - segment_ids)
            if in_vain <= IN_VAIN:
                joined[-1] = last_segments | segment_ids, last_customers | customer_ids
                continue
        joined.append((segment_ids, customer_ids))
    return joined

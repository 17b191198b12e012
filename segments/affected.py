"""Which segments must be evaluated for whom, after a batch of facts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from customers import changes
from customers.changes import Fact
from segments.models import Segment

BLOCK = 16  # segments that are evaluated together for what the clock asks of one of them
MAX_REMEMBERED = 10_000  # facts; anybody who sends events can invent names
SegmentIds: TypeAlias = frozenset[int]


class Group(NamedTuple):
    """Segments, and the customers for whom they are evaluated, in one statement.

    Only for the `pairs` of (customer id, segment id), if there are any; else for all of them.
    """

    segment_ids: SegmentIds
    customer_ids: list[int]
    pairs: Sequence[tuple[int, int]] = ()


class Index:
    """Who is concerned by what, among some segments."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._ids = [segment.pk for segment in segments]
        self._by_fact: dict[str, set[int]] = defaultdict(set)
        self._prefixes: list[tuple[str, int]] = []
        for segment in segments:
            for fact in segment.facts:
                self._by_fact[fact].add(segment.pk)
                if fact.endswith("*"):
                    self._prefixes.append((fact[:-1], segment.pk))
        self._all = frozenset(self._ids)
        self._with_fields = frozenset(
            segment_id
            for fact, segment_ids in self._by_fact.items()
            if fact == changes.NEW or fact.startswith("field:")
            for segment_id in segment_ids
        )
        self._known: dict[str, SegmentIds] = {}
        self._block_of = {
            segment_id: frozenset(self._ids[start : start + BLOCK])
            for start in range(0, len(self._ids), BLOCK)
            for segment_id in self._ids[start : start + BLOCK]
        }

    def concerned(self, fact: str) -> SegmentIds:
        """The segments that a fact may put a customer into, or out of."""
        if fact.startswith(("merged:", "unmerged:", "everything")):
            return self._all
        if fact.startswith(_CLOCK):
            return self._all & {int(fact.removeprefix(_CLOCK))}
        if fact not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[fact] = self._look_up(fact)
        return self._known[fact]

    def _look_up(self, fact: str) -> SegmentIds:
        found = {pk for prefix, pk in self._prefixes if fact.startswith(prefix)}
        if fact == changes.NEW_WITH_FIELDS:
            found |= self._with_fields
        return frozenset(found | self._by_fact.get(fact, set()))

    def block(self, segment_id: int) -> SegmentIds:
        """The segments that are evaluated with one that the clock asks for."""
        return self._block_of[segment_id]


_CLOCK = changes.clock(0).removesuffix("0")


def groups(index: Index, told: Mapping[int, Iterable[Fact]]) -> list[Group]:
    """Sort customers, by what they were told, to the segments which that concerns.

    There is a group for each set of segments that some fact concerns, whoever is in it: batches
    meet the same groups again and again, and what was made ready for one serves the next. The
    clock asks for any segment of any customer; these go to fixed blocks of segments. A customer
    who was told several things can be in several groups, and a segment too: the two may meet
    more than once.
    """
    customers: dict[SegmentIds, list[int]] = defaultdict(list)
    due: dict[SegmentIds, list[tuple[int, int]]] = defaultdict(list)
    for customer_id, facts in told.items():
        concerned: set[SegmentIds] = set()
        asked: SegmentIds = frozenset()
        for fact in facts:
            if fact.name.startswith(_CLOCK):
                asked |= index.concerned(fact.name)
            else:
                concerned.add(index.concerned(fact.name))
        for segment_ids in _largest(concerned):
            customers[segment_ids].append(customer_id)
        for segment_id in asked.difference(*concerned):
            due[index.block(segment_id)].append((customer_id, segment_id))
    return [
        *(Group(segment_ids, sorted(whom)) for segment_ids, whom in customers.items()),
        *(Group(block, sorted({pk for pk, _ in pairs}), pairs) for block, pairs in due.items()),
    ]


def _largest(sets: set[SegmentIds]) -> list[SegmentIds]:
    """Those that are not empty and not part of another."""
    if len(sets) == 1:
        return [one for one in sets if one]
    return [one for one in sets if one and not any(one < other for other in sets)]

"""What a batch of changed customers costs: few segments and many, by events and by the clock."""

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from bench import ground, typical
from bench.ground import Row, Size, Spent

BATCH = 1_000
RECHECKS = 100_000
Facts: TypeAlias = list[tuple[int, str]]  # customer id, what became true


def facts(customers: int) -> Facts:
    """Something that each of a batch of customers has done; frequent events are frequent here."""
    chance = random.Random(7)
    ids = chance.sample(range(1, customers + 1), min(BATCH, customers // 2))
    names = [ground.EVENT_NAMES[int(40 ** chance.random()) - 1] for _ in ids]
    return [(pk, f"event:{name}") for pk, name in zip(ids, names, strict=True)]


def refresh(told: Facts) -> None:
    from django.db import transaction

    from customers import changes
    from segments import memberships

    with transaction.atomic():
        memberships.refresh([changes.Fact(*one) for one in told])


def run(size: Size) -> Iterator[Row]:
    """From 20 to 500 segments."""
    from segments.models import Segment

    told = facts(size.customers)
    few, many = 20, 60 if size.is_small else 500
    if Segment.objects.count() > few:  # another row has made more
        typical.remove_segments()
    cost = {}
    for count in (few, 100, many):
        typical.save_segments(count)
        refresh(told)
        costs = [ground.spent(lambda: refresh(told)) for _ in range(5)]
        cost[count] = Spent(*(statistics.median(column) for column in zip(*costs, strict=True)))
    yield Row(
        f"batch of {len(told):,} changed customers, {many} segments",
        f"{cost[many].cpu * 1000:.0f} ms of CPU, {cost[many].wall * 1000:.0f} ms by the clock; "
        f"with 100 segments {cost[100].cpu * 1000:.0f} ms",
        f"{few} segments: {cost[few].cpu * 1000:.0f} ms",
        cost[many].cpu / cost[few].cpu,
        "≤ 3×",
    )
    typical.remove_segments()


def rechecks(size: Size) -> Iterator[Row]:
    """What is due by the clock, against the same customers changed by events."""
    from django.db import connection

    from segments.models import Recheck, Segment

    if not Recheck.objects.exists():
        typical.save_segments(100)
        typical.fill()
    with connection.cursor() as cursor:
        cursor.execute(DUE, {"limit": 1_000 if size.is_small else RECHECKS})
    due = [
        *Recheck.objects.filter(due_at__lt="2001-01-01T00:00Z").values_list(
            "customer_id", "segment_id"
        )
    ]
    event_of = {
        segment.pk: next((fact for fact in segment.facts if fact.startswith("event:")), "new")
        for segment in Segment.objects.all()
    }
    clock = ground.spent(lambda: _drain(_tick))
    by_event = [(customer_id, event_of[segment_id]) for customer_id, segment_id in due]
    ground.analyze()
    events = ground.spent(lambda: _drain(lambda: _record(by_event)))
    yield Row(
        f"{len(due):,} re-checks due by the clock",
        f"{clock.cpu * 1e6 / len(due):.0f} µs of CPU each; {clock.wall:.1f} s by the clock",
        f"by events: {events.cpu * 1e6 / len(due):.0f} µs",
        clock.cpu / events.cpu,
        "≤ 1.2×",
    )


DUE = """
    UPDATE segments_recheck r SET due_at = '2000-01-01Z'
    FROM (SELECT customer_id, segment_id FROM segments_recheck ORDER BY due_at LIMIT %(limit)s) d
    WHERE r.customer_id = d.customer_id AND r.segment_id = d.segment_id
"""


def _tick() -> bool:
    from cdp import pipeline

    return pipeline.tick(pipeline.BATCH) > 0


def _record(waiting: list[tuple[int, str]]) -> bool:
    from django.db import transaction

    from customers import changes

    batch: Sequence[tuple[int, str]] = waiting[:BATCH]
    del waiting[:BATCH]
    with transaction.atomic():
        changes.record(changes.Fact(*one) for one in batch)
    return bool(batch)


def _drain(more: Callable[[], bool]) -> None:
    """Run the stages in turn, as the pipeline does, until nothing is left."""
    from cdp import pipeline

    while more() or pipeline.refresh(pipeline.CHANGES):
        pipeline.refresh(pipeline.CHANGES)

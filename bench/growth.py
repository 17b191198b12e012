"""The same batch of changed customers with few customers stored, and with many."""

import statistics
from collections.abc import Iterator

from bench import ground, refreshing, typical
from bench.ground import Row, Size

FEW = 10_000
SEGMENTS = 100


def run(size: Size) -> Iterator[Row]:
    """Fills an empty database: first with few customers, then with the rest of them.

    The customers of the batch, and what they have done, stay the same.
    """
    few = min(FEW, size.customers // 10)
    ground.populate(Size(few, size.events * few // size.customers))
    typical.save_segments(SEGMENTS)
    typical.fill()
    facts = refreshing.facts(few)
    before = _seconds(facts)
    ground.add_customers(size.customers - few)
    ground.make_events(size.customers - few, size.events, first=few + 1)
    ground.analyze()
    typical.fill(after=few)
    after = _seconds(facts)
    yield Row(
        f"batch of {len(facts):,} changed customers, {size.customers:,} stored",
        f"{after * 1000:.0f} ms of CPU",
        f"{few:,} stored: {before * 1000:.0f} ms",
        after / before,
        "≤ 1.2×",
    )


def _seconds(facts: refreshing.Facts) -> float:
    refreshing.refresh(facts)
    return statistics.median(ground.spent(lambda: refreshing.refresh(facts)).cpu for _ in range(5))

"""What a batch of changed customers costs: few segments and many, few customers stored and many."""

from collections.abc import Iterator

from bench import ground
from bench.ground import Row, Size
from bench.typical import RULES, last

BATCH = 1_000


def run(size: Size) -> Iterator[Row]:
    from customers import changes
    from customers.models import Customer
    from segments import definitions
    from segments.models import Recheck, Segment, SegmentState

    def make(count: int) -> None:
        """Have so many segments, each with a rule of its own."""
        for n in range(Segment.objects.count(), count):
            name = [*RULES][n % len(RULES)]
            rare = {"event": f"Custom {1 + n % 30}", "op": "at_most", "value": n}
            extra = rare | last(1 + n % 60)
            rule = {"any": [RULES[name], {"not": extra}]}
            definitions.save(Segment(key=f"s{n}", name=name, rule=rule))
        # Filled by hand with nobody: the batch finds its own.
        Segment.objects.update(state=SegmentState.LIVE)

    ids = list(Customer.objects.order_by("id").values_list("id", flat=True)[: BATCH * 50 : 50])

    def batch() -> None:
        from segments import memberships

        facts = [changes.Fact(pk, "event:Order Completed") for pk in ids]
        facts += [changes.Fact(pk, "everything") for pk in ids[:1]]
        from django.db import transaction

        with transaction.atomic():
            memberships.refresh(facts)

    make(20)
    few = ground.times(batch)
    yield Row("batch of 1,000 customers, 20 segments", f"{few * 1000:.0f} ms", "", None, "")
    make(100)
    hundred = ground.times(batch)
    yield Row(
        "batch of 1,000 customers, 100 segments",
        f"{hundred * 1000:.0f} ms",
        f"{hundred * 1e6 / BATCH:.0f} µs a customer",
        None,
        "",
    )
    make(500)
    many = ground.times(batch)
    yield Row(
        "batch of 1,000 customers, 500 segments",
        f"{many * 1000:.0f} ms",
        f"20 segments {few * 1000:.0f} ms",
        many / few,
        "≤ 3×",
    )
    yield Row("re-checks waiting", f"{Recheck.objects.count():,}", "", None, "")

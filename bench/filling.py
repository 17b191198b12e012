"""What the first fill of a segment takes, and for how long each stretch holds up the pipeline."""

import time
from collections.abc import Iterator

from bench.ground import Row, Size
from bench.typical import RULES

KINDS = 3


def run(size: Size) -> Iterator[Row]:
    from django.db import transaction

    from segments import definitions, filling, memberships
    from segments.models import Segment

    for left in Segment.objects.filter(key__startswith="fill-"):  # by a run that was stopped
        definitions.delete(left)
    for name in [*RULES][:KINDS]:
        segment = Segment(key=f"fill-{len(name)}", name=name, rule=RULES[name])
        definitions.save(segment)
        stretches = []
        moved = 1
        while moved:
            start = time.perf_counter()
            with transaction.atomic():
                moved = filling.fill_next()
            stretches.append(time.perf_counter() - start)
        members = memberships.sizes([segment.pk])[segment.pk]
        yield Row(
            f"first fill: {name}",
            f"{sum(stretches):.1f} s",
            f"{members:,} members; longest stretch {max(stretches) * 1000:.0f} ms",
            None,
            "seconds",
        )
        definitions.delete(segment)

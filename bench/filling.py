"""What the first fill of a segment takes, and for how long each stretch holds up the pipeline."""

from collections.abc import Iterator

from bench import ground
from bench.ground import Row, Size
from bench.typical import RULES

KINDS = 3


def run(size: Size) -> Iterator[Row]:
    from django.db import transaction

    from segments import definitions, filling, memberships
    from segments.models import Segment, SegmentState

    for left in Segment.objects.filter(key__startswith="fill-"):  # by a run that was stopped
        definitions.delete(left)
    for name in [*RULES][:KINDS]:
        segment = Segment(key=f"fill-{len(name)}", name=name, rule=RULES[name])
        definitions.save(segment)
        stretches = []

        while Segment.objects.filter(pk=segment.pk, state=SegmentState.FILLING).exists():
            stretches.append(ground.spent(transaction.atomic(filling.fill_next)))
        members = memberships.sizes([segment.pk])[segment.pk]
        yield Row(
            f"first fill: {name}",
            f"{sum(o.wall for o in stretches):.1f} s; {sum(o.cpu for o in stretches):.1f} s "
            f"of CPU; {members:,} members",
            f"{len(stretches)} stretches, the longest {max(o.wall for o in stretches):.2f} s",
            None,
            "seconds",
        )
        definitions.delete(segment)

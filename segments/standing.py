"""The segments by rules as they stand, read from end to end only after one was edited."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from segments.affected import Index
from segments.models import Segment, SegmentKind, SegmentState


@dataclass(frozen=True)
class Standing:
    """All segments by rules, by id; the model's `state` and how far a fill has come may be old."""

    versions: tuple[tuple[int, int], ...]  # id, version
    by_id: Mapping[int, Segment]

    @cached_property
    def index(self) -> Index:
        return Index([*self.by_id.values()])


class Fills:
    """Which customers still await a fill, and until then stay as they were."""

    def __init__(self, stretches: Mapping[int, tuple[int, int]]) -> None:
        self._stretches = stretches  # segment id -> after this customer id, until that one

    def await_customer(self, segment_id: int, customer_id: int) -> bool:
        after, until = self._stretches.get(segment_id, (0, 0))
        return after < customer_id <= until


def read() -> tuple[Standing, Fills]:
    """Read what segments there are, and which of them are filling; one small query.

    Hold the lock of evaluation: nobody edits a rule in between.
    """
    ours = Segment.objects.filter(kind=SegmentKind.DYNAMIC).order_by("id")
    rows = [*ours.values_list("pk", "version", "state", "fill_after", "fill_until")]
    versions = tuple((pk, version) for pk, version, *_ in rows)
    if "last" not in _KEPT or _KEPT["last"].versions != versions:
        _KEPT["last"] = Standing(versions, {segment.pk: segment for segment in ours})
    stretches = {pk: (a, u) for pk, _, state, a, u in rows if state == SegmentState.FILLING}
    return _KEPT["last"], Fills(stretches)


_KEPT: dict[str, Standing] = {}

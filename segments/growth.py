"""How many members a segment had at the end of each of the last days.

Of days before the rule was in force it says how many the rule would have found, as of then. The
queue works that out, once for each day; it would be too slow while somebody waits.
"""

import time
from collections.abc import Collection, Iterator
from datetime import date, datetime, timedelta

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone
from django_q.tasks import async_task

from customers import clock
from segments import evaluation, parsing, preview, sql
from segments.models import PastSize, Segment, SegmentKind, SegmentState

DAYS = 90
LATELY = 30
SECONDS = 5.0  # that one task works: others wait for a worker
ASKED_EVERY = 60  # seconds, at most, by each process


def of(segment: Segment) -> list[PastSize]:
    """Return the sizes of the last days that are known, oldest first, and ask for those missing."""
    days = _days()
    known = list(PastSize.objects.filter(segment=segment, day__gte=days[0]).order_by("day"))
    if len(known) < len(days) and cache.add(f"growth:{segment.pk}", 1, timeout=ASKED_EVERY):
        ask(segment.pk)
    return known


def lately(segments: Collection[Segment]) -> dict[int, list[int]]:
    """Return the known sizes of the last 30 days of segments, oldest first, by their ids."""
    known = PastSize.objects.filter(segment__in=segments, day__gte=_days()[-LATELY])
    found: dict[int, list[int]] = {segment.pk: [] for segment in segments}
    for segment_id, members in known.order_by("day").values_list("segment", "members"):
        found[segment_id].append(members)
    return found


def keep_up() -> None:
    """Ask for the day that has ended, once after each midnight and each start of the process."""
    today = timezone.localdate()
    if _kept_up.get("on") != today:
        _kept_up["on"] = today
        if segment_ids := [*Segment.objects.order_by("pk").values_list("pk", flat=True)]:
            ask(*segment_ids)


_kept_up: dict[str, date] = {}


def ask(*segment_ids: int) -> None:
    """Have the queue work out the days of segments that are missing."""
    async_task("segments.growth.look_back", *segment_ids)


def look_back(*segment_ids: int) -> None:
    """Work out missing days, the latest first, and leave to another task what takes too long."""
    deadline = time.monotonic() + SECONDS
    for done, segment_id in enumerate(segment_ids):
        segment = Segment.objects.filter(pk=segment_id).first()
        if segment is None or segment.state == SegmentState.FILLING:
            continue  # the end of its fill asks again
        for day in _missing(segment):
            if time.monotonic() > deadline:
                ask(*segment_ids[done:])
                return
            try:
                size = _size(segment, day)
            except parsing.RuleError:
                break
            _store(segment, size)


def _days() -> list[date]:
    """The last days that are over, oldest first."""
    today = clock.now().astimezone(evaluation.zone()).date()
    return [today - timedelta(days=n) for n in range(DAYS, 0, -1)]


def _missing(segment: Segment) -> Iterator[date]:
    known = {*PastSize.objects.filter(segment=segment).values_list("day", flat=True)}
    return (day for day in reversed(_days()) if day not in known)


def _size(segment: Segment, day: date) -> PastSize:
    following = day + timedelta(days=1)
    end = datetime(following.year, following.month, following.day, tzinfo=evaluation.zone())
    if segment.kind == SegmentKind.STATIC or end > (segment.ruled_at or segment.created_at):
        members, is_estimate = sql.size_at(segment.pk, end), False
    else:
        found = preview.preview(segment.rule, segment.audience, as_of=end, editing=segment.key)
        members, is_estimate = found.count, True
    return PastSize(segment=segment, day=day, members=members, is_estimate=is_estimate)


@transaction.atomic
def _store(segment: Segment, size: PastSize) -> None:
    """Keep the size, unless the rule was edited meanwhile."""
    same = Segment.objects.filter(pk=segment.pk, version=segment.version)
    if same.select_for_update().exists():
        PastSize.objects.bulk_create([size], ignore_conflicts=True)

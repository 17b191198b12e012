"""The figures of Home, at a cost that does not grow with the number of people who look.

While they are quick to compute they are computed for whoever looks; once they take longer than
that, the queue computes them and people see the last ones there are.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_q.tasks import async_task

from activation import tallies
from cdp import sql
from cdp.models import Snapshot
from cdp.profile import PURCHASE
from customers import adminkit
from customers.models import Customer
from events import amounts
from segments import memberships
from segments.models import Segment

DAYS: Final = 30
KEPT: Final = timedelta(seconds=30)
QUICK: Final = 1.0  # seconds that somebody who looks may wait
SHARE: Final = 20  # figures that took a second are computed every 20 seconds at most
ASKED_EVERY: Final = timedelta(minutes=2)
CHARTED: Final = 4  # kinds of events with a line of their own; the others are one line
NAME: Final = "home"


class Change(NamedTuple):
    """A figure of the last 30 days beside that of the 30 days before."""

    now: Decimal
    before: Decimal

    @property
    def percent(self) -> int | None:
        """How much more or less, in percent; None where there was nothing before."""
        return round((self.now - self.before) * 100 / self.before) if self.before else None


class Day(NamedTuple):
    """The events of one day, in the order of `Figures.lines`."""

    day: date
    counts: list[int]


class Size(NamedTuple):
    """A segment and how many are in it."""

    id: int
    name: str
    sentence: str
    members: int


@dataclass(frozen=True)
class Figures:
    """What Home shows. `customers` counts all; the others are of the last 30 days until `at`."""

    at: datetime
    customers: int
    new_customers: int
    active: Change
    revenue: Change
    events: Change
    sent: int
    failed: int
    lines: list[str]
    days: list[Day]
    segments: list[Size]


def current() -> Figures:
    """Return the figures: at most half a minute old, or as old as their cost demands."""
    kept: Figures | None = cache.get(NAME)
    if kept is None:
        kept = _stored_or_computed(timezone.now())
        cache.set(NAME, kept, KEPT.total_seconds())
    return kept


def refresh() -> None:
    """Compute the figures anew and store them; a task of the queue."""
    _store(timezone.now())


def forget() -> None:
    """Have the figures computed anew when they are next asked for."""
    cache.delete(NAME)
    Snapshot.objects.filter(name=NAME).delete()


def _stored_or_computed(now: datetime) -> Figures:
    stored = Snapshot.objects.filter(name=NAME).first()
    if stored is None or (stored.took <= QUICK and now - stored.at > KEPT):
        return _store(now)
    if now - stored.at > max(KEPT, timedelta(seconds=SHARE * stored.took)):
        _ask_for_new(now)
    return _read(stored.data)


def _store(now: datetime) -> Figures:
    start = time.monotonic()
    figures = compute(now)
    Snapshot.objects.update_or_create(
        name=NAME,
        defaults={
            "at": now,
            "took": time.monotonic() - start,
            "data": _written(figures),
            "asked_at": None,
        },
    )
    return figures


@transaction.atomic
def _ask_for_new(now: datetime) -> None:
    """Have the queue compute them, unless somebody asked a moment ago."""
    waiting = Q(asked_at=None) | Q(asked_at__lt=now - ASKED_EVERY)
    if Snapshot.objects.filter(waiting, name=NAME).update(asked_at=now):
        async_task("cdp.figures.refresh")


def _written(figures: Figures) -> dict[str, Any]:
    """Turn the figures into what JSON can hold."""
    return {
        **asdict(figures),
        "at": figures.at.isoformat(),
        **{name: [*map(str, getattr(figures, name))] for name in ("active", "revenue", "events")},
        "days": [(day.day.isoformat(), day.counts) for day in figures.days],
        "segments": [[*size] for size in figures.segments],
    }


def _read(data: Mapping[str, Any]) -> Figures:
    changes = {name: Change(*map(Decimal, data[name])) for name in ("active", "revenue", "events")}
    return Figures(
        **{
            **data,
            **changes,
            "at": datetime.fromisoformat(data["at"]),
            "days": [Day(date.fromisoformat(day), counts) for day, counts in data["days"]],
            "segments": [Size(*size) for size in data["segments"]],
        }
    )


def compute(now: datetime) -> Figures:
    """Compute all figures as of now."""
    windows = _windows(now)
    lines, days = _by_day(now)
    sent, failed = tallies.totals(now - timedelta(days=DAYS))
    return Figures(
        at=now,
        customers=_customers(),
        new_customers=_new_customers(now),
        active=windows["customers"],
        revenue=windows["revenue"],
        events=windows["events"],
        sent=sent,
        failed=failed,
        lines=lines,
        days=days,
        segments=_segments(),
    )


def _customers() -> int:
    estimate = adminkit.estimated_rows(Customer)
    if estimate > adminkit.COUNTED_UP_TO:
        return estimate
    return Customer.objects.current().count()


def _new_customers(now: datetime) -> int:
    """Count who was seen first, or added without being seen, in the last 30 days."""
    since = now - timedelta(days=DAYS)
    added = Q(first_seen_at__isnull=True, created_at__gte=since)
    return Customer.objects.current().filter(Q(first_seen_at__gte=since) | added).count()


def _windows(now: datetime) -> dict[str, Change]:
    middle = now - timedelta(days=DAYS)
    rows = sql.sum_windows(
        now - timedelta(days=2 * DAYS), middle, now, [PURCHASE, amounts.REFUND], settings.CURRENCY
    )
    nothing = (0, 0, Decimal(0))
    by_window = {is_later: figures for is_later, *figures in rows}
    later: Any = by_window.get(True, nothing)
    earlier: Any = by_window.get(False, nothing)
    pairs = [Change(Decimal(a), Decimal(b)) for a, b in zip(later, earlier, strict=True)]
    return dict(zip(("events", "customers", "revenue"), pairs, strict=True))


def _by_day(now: datetime) -> tuple[list[str], list[Day]]:
    """Count the events of each of the last 30 days: the most frequent kinds, and all others."""
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    dates = [(midnight - timedelta(days=back)).date() for back in range(DAYS - 1, -1, -1)]
    start = timezone.make_aware(datetime.combine(dates[0], datetime.min.time()))
    counted = sql.count_by_day(start, now, settings.TIME_ZONE)
    totals: Counter[str] = Counter()
    for _, name, events in counted:
        totals[name] += events
    lines = [name for name, _ in totals.most_common(CHARTED)]
    if len(totals) > CHARTED:
        lines.append("Others")
    by_day = {(day, name): events for day, name, events in counted}
    return lines, [Day(day, _counts(day, lines, totals, by_day)) for day in dates]


def _counts(
    day: date, lines: Sequence[str], totals: Counter[str], by_day: Mapping[tuple[date, str], int]
) -> list[int]:
    named = [by_day.get((day, name), 0) for name in lines[:CHARTED]]
    if len(lines) > CHARTED:
        everything = sum(by_day.get((day, name), 0) for name in totals)
        named.append(everything - sum(named))
    return named


def _segments() -> list[Size]:
    """Return the segments with their members, the largest first."""
    segments = Segment.objects.only("name", "sentence")
    members = memberships.sizes([segment.pk for segment in segments])
    sizes = [Size(s.pk, s.name, s.sentence, members[s.pk]) for s in segments]
    return sorted(sizes, key=lambda size: -size.members)

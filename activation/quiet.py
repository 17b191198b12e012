"""Quiet hours: when a customer is left in peace, by the clock on their wall."""

from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def ends_at(now: datetime, zone: ZoneInfo, begins: time, ends: time) -> datetime | None:
    """Return when the quiet hours end that it is now; None if it is none.

    They may pass midnight; their end is no longer quiet. Where clocks are set back, an hour that
    comes twice is quiet twice.
    """
    local = now.astimezone(zone)
    if not _holds(local.time(), begins, ends):
        return None
    day = local.date() if local.time() < ends else local.date() + timedelta(days=1)
    end = datetime.combine(day, ends, zone)
    return end if end.timestamp() > now.timestamp() else end.replace(fold=1)


def _holds(at: time, begins: time, ends: time) -> bool:
    if begins <= ends:
        return begins <= at < ends
    return at >= begins or at < ends


@lru_cache(maxsize=1_000)
def zone_of(name: str) -> ZoneInfo | None:
    """Return the time zone of this name (Europe/Zurich); None if there is none."""
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None

"""When something happened, by clients whose clocks may be wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.conf import settings

MAX_AHEAD: Final = timedelta(hours=24)  # of the time we received it
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds that would be the year 5138


class BadTimeError(ValueError):
    """Not a time we can read. The message quotes it."""


def occurred(
    event: Mapping[str, Any], *, sent_at: Any, received_at: datetime, is_historical: bool
) -> datetime:
    """Return when the event happened, by our clock.

    The client's time is moved by as much as its clock was off when it sent the event; a time more
    than 24 hours ahead becomes that of receipt. Historical events are taken at their word.
    Raises `BadTimeError`.
    """
    base = parse(event.get("timestamp")) or parse(event.get("originalTimestamp"))
    if base is None:
        return received_at
    if is_historical:
        return base
    at = _corrected(base, sent_at, received_at)
    return received_at if at > received_at + MAX_AHEAD else at


def _corrected(base: datetime, sent_at: Any, received_at: datetime) -> datetime:
    try:
        sent = parse(sent_at)
        return base if sent is None else received_at - (sent - base)
    except (BadTimeError, OverflowError):
        return base


def parse(raw: Any) -> datetime | None:
    """Read ISO 8601, or seconds or milliseconds since 1970; None and "" are no time at all.

    Without an offset it is in the workspace's time zone. Raises `BadTimeError`.
    """
    if raw is None or raw == "":
        return None
    try:
        at = _from_text(raw) if isinstance(raw, str) else _from_number(raw)
    except (ValueError, OverflowError, ArithmeticError) as error:
        raise BadTimeError(f"{str(raw)[:60]!r} is not a time, such as {_EXAMPLE}.") from error
    if at < EARLIEST:
        raise BadTimeError(f"{at.isoformat()} is before {EARLIEST:%Y}.")
    return at


_EXAMPLE = "2026-01-31T12:30:00.000Z"


def _from_text(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip().upper())
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(settings.TIME_ZONE))
    return at.astimezone(UTC)


def _from_number(number: Any) -> datetime:
    if isinstance(number, bool) or not isinstance(number, int | float | Decimal):
        raise ValueError(number)
    seconds = Decimal(str(number))
    if abs(seconds) >= _MILLISECONDS_FROM:
        seconds /= 1000
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(seconds * 1_000_000))

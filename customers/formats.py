"""How figures and times are written for people: 5'000, CHF 88'823.50, 22.11.2026 14:05."""

from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from django.conf import settings
from django.utils import timezone

_STEPS = (
    (60, 1, "second"),
    (3_600, 60, "minute"),
    (86_400, 3_600, "hour"),
    (7 * 86_400, 86_400, "day"),
    (60 * 86_400, 7 * 86_400, "week"),
    (730 * 86_400, 30 * 86_400, "month"),
)


def number(value: object, places: int | None = None) -> str:
    """Write a number with an apostrophe between thousands, and as many decimals as it has."""
    try:
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return str(value)
    if not exact.is_finite():
        return str(value)
    text = f"{exact:,f}" if places is None else f"{exact:,.{places}f}"
    if places is None and "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace(",", "'").replace("-", "−")


def money(value: object, currency: str | None = None) -> str:
    """Write an amount with its currency (the workspace's if none) and two decimals."""
    return f"{currency or settings.CURRENCY} {number(value, 2)}"


def day(value: date | datetime) -> str:
    local = timezone.localtime(value) if isinstance(value, datetime) else value
    return f"{local:%d.%m.%Y}"


def moment(value: datetime) -> str:
    return f"{timezone.localtime(value):%d.%m.%Y %H:%M}"


def clock(value: datetime) -> str:
    return f"{timezone.localtime(value):%H:%M}"


def day_name(value: datetime) -> str:
    """Name a day as people do: Today, Yesterday, Tuesday 17.11.2026."""
    on = timezone.localtime(value).date()
    days = (timezone.localdate() - on).days
    return {0: "Today", 1: "Yesterday"}.get(days) or f"{on:%A %d.%m.%Y}"


def ago(value: datetime, now: datetime | None = None) -> str:
    """Say how long before now a time lies, in one unit: 3 minutes ago, in 2 days, just now."""
    seconds = ((now or timezone.now()) - value).total_seconds()
    size = abs(seconds)
    if size < 5:
        return "just now"
    for limit, unit, name in _STEPS:
        if size < limit:
            return _phrase(int(size // unit), name, is_past=seconds > 0)
    return _phrase(int(size // (365 * 86_400)), "year", is_past=seconds > 0)


def _phrase(count: int, unit: str, *, is_past: bool) -> str:
    text = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{text} ago" if is_past else f"in {text}"


def size(count: float) -> str:
    """Write a number of bytes: 1.4 MB."""
    for unit in ("bytes", "KB", "MB"):
        if count < 1_000:
            return f"{number(count, 0 if unit == 'bytes' or count >= 10 else 1)} {unit}"
        count /= 1_000
    return f"{number(count, 1)} GB"


def initials(name: str) -> str:
    """Return up to two letters that stand for a name."""
    words = [word for word in name.split() if word[0].isalnum()]
    letters = [word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)]
    return "".join(letters).upper() or "?"

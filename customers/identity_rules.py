"""How people are recognised here: what the environment says, or what staff have decided since."""

import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from django.conf import settings

from customers.models import IdentityRules

NOTICED_WITHIN: Final = 2.0  # seconds, in every process
MAX_WORDS: Final = 1_000  # that name nobody
MAX_WORD: Final = 200  # characters
MAX_LIMIT: Final = 999_999_999
MAX_DAYS: Final = 3_650
MEMBERS: Final = ("trusted", "shared", "limits", "never", "waiting_days")
MAY_BE_TRUSTED: Final = ("email", "phone")
_KIND: Final = re.compile(r"[a-z][a-z0-9_.-]{0,49}")


class RuleError(ValueError):
    """A rule that cannot be. `member` says which."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


class Rules(NamedTuple):
    """What staff have decided; None where the environment holds."""

    trusted: frozenset[str] | None = None
    shared: frozenset[str] | None = None
    limits: Mapping[str, int] | None = None
    never: frozenset[str] | None = None
    waiting_days: int | None = None


class Memo:
    """The rules as this process has read them, until when it trusts that (a monotonic time)."""

    def __init__(self, rules: Rules = Rules(), until: float = 0.0) -> None:  # noqa: B008
        self.rules = rules
        self.until = until

    def read(self) -> Rules:
        if (now := time.monotonic()) >= self.until:
            self.rules = _stored(IdentityRules.objects.first())
            self.until = now + NOTICED_WITHIN
        return self.rules


_memo = Memo()


def trusted() -> Collection[str]:
    """Return those of e-mail and phone that make two profiles one."""
    chosen = _memo.read().trusted
    return settings.TRUSTED_IDENTIFIERS if chosen is None else chosen


def shared() -> Collection[str]:
    """Return the kinds of our own that several people share: they join nobody."""
    chosen = _memo.read().shared
    return settings.SHARED_IDENTIFIERS if chosen is None else chosen


def limits() -> Mapping[str, int]:
    """Return how many identifiers a profile takes, by kind."""
    chosen = _memo.read().limits
    return {**settings.IDENTIFIER_LIMITS, **chosen} if chosen else settings.IDENTIFIER_LIMITS


def never() -> Collection[str]:
    """Return the workspace's own words that name nobody, in lower case."""
    chosen = _memo.read().never
    return settings.NEVER_IDENTIFIERS if chosen is None else chosen


def waiting_days() -> int:
    """Return for how many days e-mail reports wait for their recipient; 0: for ever."""
    chosen = _memo.read().waiting_days
    return settings.WAITING_DAYS if chosen is None else chosen


def current() -> dict[str, Any]:
    """Return all rules that hold, as JSON has them."""
    return {
        "trusted": sorted(trusted()),
        "shared": sorted(shared()),
        "limits": dict(sorted(limits().items())),
        "never": sorted(never()),
        "waiting_days": waiting_days(),
    }


def defaults() -> dict[str, Any]:
    """Return what the environment says."""
    return {
        "trusted": sorted(settings.TRUSTED_IDENTIFIERS),
        "shared": sorted(settings.SHARED_IDENTIFIERS),
        "limits": dict(sorted(settings.IDENTIFIER_LIMITS.items())),
        "never": sorted(settings.NEVER_IDENTIFIERS),
        "waiting_days": settings.WAITING_DAYS,
    }


def change(given: Mapping[str, Any], *, by: str) -> bool:
    """Decide some of the rules anew; None goes back to the environment. False if nothing changes.

    Holds for what comes next, in every process within `NOTICED_WITHIN` seconds; who was merged
    or kept apart before stays so. Raises `RuleError`.
    """
    latest = IdentityRules.objects.first() or IdentityRules()
    default = defaults()
    wanted = {member: getattr(latest, member) for member in MEMBERS}
    for member, value in given.items():
        checked = None if value is None else _CHECKS[member](value)
        if member == "limits" and checked is not None:
            checked = {k: n for k, n in checked.items() if default["limits"].get(k) != n} or None
        wanted[member] = None if checked == default[member] else checked
    if all(wanted[member] == getattr(latest, member) for member in MEMBERS):
        return False
    IdentityRules.objects.create(**wanted, by=by)
    _memo.until = 0.0
    return True


def _stored(row: IdentityRules | None) -> Rules:
    if row is None:
        return Rules()
    return Rules(
        trusted=None if row.trusted is None else frozenset(row.trusted),
        shared=None if row.shared is None else frozenset(row.shared),
        limits=row.limits,
        never=None if row.never is None else frozenset(row.never),
        waiting_days=row.waiting_days,
    )


def _trusted(value: Collection[str]) -> list[str]:
    if unknown := sorted({*value} - {*MAY_BE_TRUSTED}):
        raise RuleError("trusted", f"{unknown[0]!r} cannot be trusted: only email and phone can.")
    return sorted({*value})


def _shared(value: Collection[str]) -> list[str]:
    kinds = sorted({kind.strip() for kind in value})
    for kind in kinds:
        _check_kind("shared", kind)
        if kind in MAY_BE_TRUSTED:
            raise RuleError("shared", f"{kind} is shared unless you trust it: leave it out here.")
    return kinds


def _limits(value: Mapping[str, int]) -> dict[str, int]:
    for kind, number in value.items():
        _check_kind("limits", kind)
        if isinstance(number, bool) or not 1 <= number <= MAX_LIMIT:
            raise RuleError("limits", f"The limit of {kind} is a number from 1 on.")
    return dict(value)


def _check_kind(member: str, kind: str) -> None:
    if kind == "customer_id":
        raise RuleError(member, "Of customer_id a profile has one, always: leave it out.")
    if not _KIND.fullmatch(kind):
        raise RuleError(
            member, f"{kind[:60]!r} is no kind: small letters, digits and _ . -, such as loyalty."
        )


def _never(value: Collection[str]) -> list[str]:
    words = sorted({word.strip().lower() for word in value} - {""})
    if len(words) > MAX_WORDS:
        raise RuleError("never", f"At most {MAX_WORDS:,} values.")
    if long := next((word for word in words if len(word) > MAX_WORD), None):
        raise RuleError("never", f"“{long[:40]}…” has more than {MAX_WORD} characters.")
    return words


def _waiting_days(value: int) -> int:
    if not 0 <= value <= MAX_DAYS:
        raise RuleError("waiting_days", f"From 0 (for ever) to {MAX_DAYS:,} days.")
    return value


_CHECKS: Final[Mapping[str, Any]] = {
    "trusted": _trusted,
    "shared": _shared,
    "limits": _limits,
    "never": _never,
    "waiting_days": _waiting_days,
}

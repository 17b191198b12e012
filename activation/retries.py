"""When to try again, and when to leave a destination in peace: decisions, without a database."""

import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from activation.carriers import Answer
from activation.models import Destination

# Seconds to wait after the first, second, … failure; after the last one the message is dead.
SCHEDULE = (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000)
JITTER = 0.2
TRIES_IF_REFUSED = 3  # of a message that the receiver does not want as it is
MAX_RETRY_AFTER = 36_000.0

FAILURES_TO_OPEN = 5  # in a row
HOLD_SECONDS = 30.0  # doubles with every failure that follows
MAX_HOLD_SECONDS = 600.0
GIVE_UP_AFTER = timedelta(days=5)

_WORTH_WAITING = {408, 425, 429}  # of 4xx: the same message may pass later
_GONE = 410
_SAYS_WHEN = {408, 425, 429, 503}  # by Retry-After
_chance = secrets.SystemRandom()


class Verdict(NamedTuple):
    """What becomes of a message after an attempt: delivered, tried again, or dead."""

    is_delivered: bool
    retry_in: float | None = None  # seconds; None if it is not tried again

    @property
    def is_dead(self) -> bool:
        return not self.is_delivered and self.retry_in is None


def judge(answer: Answer, attempts_before: int) -> Verdict:
    """Decide about a message that had so many attempts before the one answered.

    One that cannot be made is dead at once: send it again when its destination is mended.
    """
    status = answer.status
    if answer.is_ours:
        return Verdict(is_delivered=False)
    if status is not None and 200 <= status < 300:
        return Verdict(is_delivered=True)
    if attempts_before >= len(SCHEDULE):
        return Verdict(is_delivered=False)
    if is_refused(answer) and attempts_before + 1 >= TRIES_IF_REFUSED:
        return Verdict(is_delivered=False)
    return Verdict(is_delivered=False, retry_in=_wait(answer, attempts_before))


def is_refused(answer: Answer) -> bool:
    """Whether the receiver does not want this very request, and would not later."""
    status = answer.status
    if status is None or answer.is_personal:
        return answer.is_ours
    return status < 500 and not 200 <= status < 300 and status not in {*_WORTH_WAITING, _GONE}


def _wait(answer: Answer, attempts_before: int) -> float:
    if answer.retry_after is not None and answer.status in _SAYS_WHEN:
        # Never earlier than asked for, and not all at the same instant.
        wished = min(max(answer.retry_after, 1.0), MAX_RETRY_AFTER)
        return wished * _chance.uniform(1, 1 + JITTER)
    return SCHEDULE[attempts_before] * _chance.uniform(1 - JITTER, 1 + JITTER)


def weigh(destination: Destination, answer: Answer, now: datetime) -> None:
    """Count an attempt for or against its destination, in memory: the breaker.

    After some failures in a row it is held for a time that doubles; after days of nothing else,
    or when it says that it is gone, it is disabled.
    """
    if answer.is_ours or answer.is_personal:
        return  # it was not even asked, or said no of one customer only
    if not answer.error:
        if destination.failures_in_a_row >= FAILURES_TO_OPEN:
            destination.held_until = None  # else it holds because the receiver said so
        destination.failures_in_a_row, destination.failing_since = 0, None
        return
    destination.failures_in_a_row += 1
    destination.failing_since = destination.failing_since or now
    is_held = destination.held_until is not None and destination.held_until > now
    if answer.retry_after and answer.status == 429:
        _hold(destination, now, min(answer.retry_after, MAX_RETRY_AFTER), has_asked=True)
    if destination.failures_in_a_row >= FAILURES_TO_OPEN and not is_held:
        _hold(destination, now, hold_seconds(destination.failures_in_a_row), has_asked=False)
    if answer.status == _GONE:
        disable(destination, "It answered 410: it is gone and wants nothing more.")
    elif (
        destination.failures_in_a_row >= FAILURES_TO_OPEN
        and now - destination.failing_since >= GIVE_UP_AFTER
    ):
        disable(destination, f"It has failed for {GIVE_UP_AFTER.days} days: {answer.error}")


def _hold(destination: Destination, now: datetime, seconds: float, *, has_asked: bool) -> None:
    until = now + timedelta(seconds=seconds)
    if destination.held_until is None or until > destination.held_until:
        destination.held_until, destination.has_asked = until, has_asked


def hold_seconds(failures: int) -> float:
    """Return how long to leave a destination in peace that has failed so often in a row."""
    doublings = min(failures - FAILURES_TO_OPEN, 10)
    return min(HOLD_SECONDS * 2.0**doublings, MAX_HOLD_SECONDS)


def disable(destination: Destination, reason: str) -> None:
    if destination.is_enabled:
        destination.is_enabled, destination.disabled_because = False, reason

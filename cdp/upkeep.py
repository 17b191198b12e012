"""What is done by the clock, whatever flows: old things given up, searches begun at night."""

import time
from datetime import datetime
from typing import Final

from customers import duplicates, imports
from events.mail import waiting

LOOK_SECONDS: Final = 10.0
EVERY_SECONDS: Final = 60.0

_last_at: dict[str, float] = {}  # of this process


def now_and_then(now: datetime) -> None:
    """Do what is due: look after imports every few seconds, after all else once a minute."""
    if _is_due("imports", LOOK_SECONDS):
        imports.wake_idle()
    if _is_due("rest", EVERY_SECONDS):
        waiting.tidy(now)
        duplicates.start_nightly(now)


def _is_due(what: str, seconds: float) -> bool:
    if time.monotonic() - _last_at.get(what, float("-inf")) < seconds:
        return False
    _last_at[what] = time.monotonic()
    return True

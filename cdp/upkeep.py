"""What is done by the clock, whatever flows: old things given up, searches begun at night."""

import time
from datetime import datetime
from typing import Final

from customers import duplicates
from events.mail import waiting

EVERY_SECONDS: Final = 60.0

_last_at = {"": float("-inf")}  # of this process


def now_and_then(now: datetime) -> None:
    """Do what is due, at most once a minute."""
    if time.monotonic() - _last_at[""] < EVERY_SECONDS:
        return
    _last_at[""] = time.monotonic()
    waiting.tidy(now)
    duplicates.start_nightly(now)

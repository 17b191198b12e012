"""Forgetting old messages: the log is kept for some time, and who had what for ever."""

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from activation.models import first_id_at
from activation.sql import pruning as sql

EVERY_SECONDS = 60.0  # to look again when nothing was left
AT_ONCE = 1_000  # messages that one go removes, and holds for some hundredths of a second
COUNTED_FOR = timedelta(days=90)  # how many there were an hour

_last_at = {"": float("-inf")}  # of this process


def now_and_then(now: datetime) -> int:
    """Remove some of what is too old, unless there was no more a minute ago; return how many."""
    if time.monotonic() - _last_at[""] < EVERY_SECONDS:
        return 0
    gone = prune(now)
    if gone < AT_ONCE:
        _last_at[""] = time.monotonic()
        sql.delete_tallies(now - COUNTED_FOR)
    return gone


@transaction.atomic
def prune(now: datetime) -> int:
    """Remove the oldest messages that are over and older than the log is kept for.

    Who was sent for is remembered, so that nobody is sent for twice. What waits stays.
    """
    days = settings.DELIVERY_LOG_DAYS
    return sql.prune(first_id_at(now - timedelta(days=days)), AT_ONCE) if days > 0 else 0

"""How many events a source may send: a limit that all web workers share, asked for in portions.

The database keeps for each source with a limit the time at which it is free again, which every
event puts off by a share of a second; a second ahead of now, it has sent all it may. A worker
takes a twentieth of a second's worth at once, so that a high limit costs few statements, and a
source without a limit none.
"""

import math
import threading
import time
from dataclasses import dataclass
from typing import Final

from events.throttle import sql

BURST: Final = 1.0  # seconds' worth that a source may send at once
_PORTIONS: Final = 20  # of a second's worth
_READ_EVERY: Final = 1.0  # seconds; a changed limit holds from then on
_MAX_KNOWN: Final = 10_000  # keys, also made-up ones


@dataclass
class _Known:
    """What this worker knows of a key. `rate` is None without a limit; times are monotonic."""

    source_id: int
    rate: int | None
    read_at: float
    left: int = 0  # of the portion
    closed_until: float = 0.0


_known: dict[str, _Known] = {}
_lock = threading.Lock()


def ask(write_key: str, count: int) -> int:
    """Return 0 if the source with this key may send so many events now, else seconds to wait.

    A batch larger than a second's worth is let through when nothing came before, and what follows
    waits for it.
    """
    known = _look_up(write_key)
    if known.rate is None:
        return 0
    now = time.monotonic()
    with _lock:
        if known.closed_until > now:
            return math.ceil(known.closed_until - now)
        if known.left >= count:
            known.left -= count
            return 0
    portion = max(count, known.rate // _PORTIONS)
    cost = portion / known.rate
    if sql.take_allowance(known.source_id, cost, BURST):
        with _lock:
            known.left = portion - count
        return 0
    wait = max(sql.select_wait(known.source_id, cost, BURST), 0.001)
    with _lock:
        known.closed_until = now + wait
    return math.ceil(wait)


def forget() -> None:
    """Read all limits anew: one was changed."""
    with _lock:
        _known.clear()


def _look_up(write_key: str) -> _Known:
    known = _known.get(write_key)
    now = time.monotonic()
    if known is not None and now - known.read_at < _READ_EVERY:
        return known
    source_id, rate = sql.select_limit(write_key) or (0, None)
    with _lock:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        known = _known.get(write_key)
        if known is None or (known.source_id, known.rate) != (source_id, rate):
            known = _known[write_key] = _Known(source_id, rate, now)
        known.read_at = now
    return known

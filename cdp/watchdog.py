"""Notices when django-q2's cluster hangs, so that it can be restarted.

Killing one of its processes at the wrong moment leaves a lock taken for ever: the cluster then
looks alive but serves nothing (django-q2 issues 23 and 339). The sign that nothing else gives
is a task that waits while all workers are idle. So that there is always one to wait for, an idle
queue gets a canary, at once when one of the cluster's processes has died.
"""

import logging
import math
import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signals import post_execute, post_execute_in_worker, pre_execute
from django_q.tasks import async_task

from cdp import health, sql

_CANARY_SECONDS = 3.0  # of idleness, before a canary is sent
_HANG_SECONDS = 8.0  # with a task waiting and idle workers
_HANG_SECONDS_AFTER_DEATH = 3.0  # the same, when a process has died and nothing was served since
_SLOTS = 4096


class Watchdog:
    """Watches the cluster that this process is about to fork, and beats for this part."""

    def __init__(self, part: str = "queue") -> None:
        self._part = part
        context = multiprocessing.get_context("fork")
        # The pids of the workers at work and when they began, at the pid modulo the slots.
        self._busy = context.RawArray("i", _SLOTS)
        self._began_at = context.RawArray("d", _SLOTS)
        self._served_at = context.RawValue("d", -math.inf)  # when a task was last acknowledged
        self._died_at = context.RawValue("d", -math.inf)  # when a process was last found dead
        logging.getLogger("django-q").addHandler(_Deaths(self._died_at))
        self._worked_at = -math.inf  # when a worker was last seen at work
        self._canary_at: float | None = None  # when the canary was sent that we wait for
        pre_execute.connect(self._note_begin)
        post_execute_in_worker.connect(self._note_end)
        post_execute.connect(self._note_served)

    def _note_begin(self, **_: Any) -> None:
        slot = os.getpid() % _SLOTS
        self._began_at[slot], self._busy[slot] = time.monotonic(), os.getpid()

    def _note_end(self, **_: Any) -> None:
        self._busy[os.getpid() % _SLOTS] = 0

    def _note_served(self, **_: Any) -> None:
        self._served_at.value = time.monotonic()

    def look(self, now: float) -> bool:
        """Say whether the cluster works, and beat for it if so.

        Call it about once a second with the time of the monotonic clock.
        """
        if self._is_any_at_work(now):
            self._worked_at = now
        active_at = max(self._served_at.value, self._worked_at)
        if now - active_at < _HANG_SECONDS:
            health.beat(self._part)
        if self._canary_at is None or self._canary_at < self._served_at.value:
            self._canary_at = None
            if now - active_at >= _CANARY_SECONDS or self._died_at.value > active_at:
                async_task("cdp.watchdog.canary")
                self._canary_at = now
            return True
        since, patience = max(active_at, self._canary_at), _HANG_SECONDS
        if self._died_at.value > active_at:
            since, patience = max(since, self._died_at.value), _HANG_SECONDS_AFTER_DEATH
        return bool(now - since < patience)

    def _is_any_at_work(self, now: float) -> bool:
        longest = Conf.TIMEOUT + _HANG_SECONDS  # django-q2 has ended a longer task by then
        return any(
            pid and now - began_at < longest and _is_alive(pid)
            for pid, began_at in zip(self._busy, self._began_at, strict=True)
        )


class _Deaths(logging.Handler):
    """Notes when the cluster found a process of its own dead, which it tells to its log alone."""

    def __init__(self, died_at: Any) -> None:
        super().__init__(logging.CRITICAL)
        self._at = died_at

    def emit(self, record: logging.LogRecord) -> None:
        self._at.value = time.monotonic()


def canary() -> None:
    """Do nothing: that this task was served says that the queue works."""


def release_orphans(began_at: datetime) -> int:
    """Make the tasks due at once that a killed cluster had taken; return how many.

    Otherwise they would wait until `retry` seconds after they were taken. Does nothing while
    another cluster of the same name is alive, whose tasks they may be. `began_at` is when ours
    began.
    """
    is_alone = sql.lock_queue_alone(Conf.CLUSTER_NAME)
    try:
        if not is_alone:
            return 0
        taken_before = began_at + timedelta(seconds=Conf.RETRY)
        now = datetime.now(UTC)
        taken = OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__gt=now, lock__lt=taken_before)
        return int(taken.update(lock=now))
    finally:
        sql.share_queue_lock(Conf.CLUSTER_NAME, is_alone=is_alone)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # gone, or its number is somebody else's
        return False
    return True

"""Lanes of the river at work: the loops around its stages.

Each lane is a thread with a connection of its own. While the database works for one, Python works
for another. What fails in one does not stop the others; a lane that hangs is noticed, because the
pipeline's sign of life is that of the lane that was silent for longest.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from django.db import OperationalError, connection, transaction
from psycopg.sql import SQL, Identifier

from cdp import health
from cdp.pipeline import Lane, Stage
from customers import clock

logger = logging.getLogger("cdp.pipeline")

PAUSE_SECONDS = 0.5  # before the database is tried again
FAULT_SECONDS = 5.0  # before a lane goes on that met a fault of ours
ONE_BY_ONE = 1_000  # rows, after a failure, before a whole batch is tried again
CARE_SECONDS = 1.0
REST_SECONDS = 1.0  # at most, when nothing is waiting; a notification ends it


class Lanes:
    """Runs lanes side by side until they are told to stop."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._stopping = threading.Event()
        self._lives = _Lives({lane.name for lane in lanes})
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=lane.name) for lane in lanes
        ]
        self._refusals: Counter[str] = Counter()  # rounds in a row in which a batch was refused
        self._cared_at: dict[str, float] = {}
        self._has_died = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have each end after the batch that it is at. A signal may call it."""
        self._stopping.set()

    def wait(self) -> None:
        """Wait until all have ended. Raises `SystemExit` if one did so by itself."""
        for thread in self._threads:
            thread.join()
        if self._has_died:
            raise SystemExit(1)

    def _run(self, lane: Lane) -> None:
        try:
            while not self._stopping.is_set():
                self._go_on(lane)
        except BaseException:
            self._has_died = True
            raise
        finally:
            self.stop()
            connection.close()

    def _go_on(self, lane: Lane) -> None:
        """Run the stages once, and rest if there was nothing to do."""
        try:
            moved = self._run_stages(lane)
            if moved == 0 and not self._stopping.is_set():
                rest(lane)
        except (OperationalError, psycopg.OperationalError) as error:
            # The database restarts or refused for now: what was taken is queued again.
            logger.warning("the database did not answer; trying again: %s", error)
            connection.close()
            self._stopping.wait(PAUSE_SECONDS)
        except Exception:
            logger.exception("the lane of %s failed; it goes on after a pause", lane.name)
            connection.close()
            self._stopping.wait(FAULT_SECONDS)

    def _run_stages(self, lane: Lane) -> int:
        """Run each stage on one batch; return the number of rows moved.

        A stage that the database refuses is no life: with a full disk, /readyz must say so.
        """
        moved, refused = 0, 0
        for stage in lane.stages:
            if self._stopping.is_set():
                return moved
            done = run(stage)
            refused += done is None
            moved += 1 if done is None else done
            if not (refused or self._refusals[lane.name]):
                self._lives.note(lane)
        self._refusals[lane.name] = self._refusals[lane.name] + 1 if refused else 0
        if self._refusals[lane.name] > 1:  # the first may be a deadlock, which is over
            self._stopping.wait(PAUSE_SECONDS)
        if time.monotonic() - self._cared_at.get(lane.name, -CARE_SECONDS) >= CARE_SECONDS:
            lane.each_second()
            self._cared_at[lane.name] = time.monotonic()
        return moved


class _Lives:
    """When each lane last showed that it works."""

    def __init__(self, names: set[str]) -> None:
        self._names = names
        self._seen_at: dict[str, float] = {}

    def note(self, lane: Lane) -> None:
        """Note that a lane works, and show the sign of life of the one silent for longest."""
        now = time.monotonic()
        self._seen_at[lane.name] = now
        if self._seen_at.keys() == self._names:
            silent = timedelta(seconds=now - min(self._seen_at.values()))
            health.beat("pipeline", datetime.now(UTC) - silent)


def run_dry(lanes: Sequence[Lane]) -> None:
    """Run all stages in turn, in this thread, until nothing is left; what fails is raised."""
    while sum(run(stage) != 0 for lane in lanes for stage in lane.stages):
        pass
    for lane in lanes:
        lane.each_second()


def run(stage: Stage) -> int | None:
    """Run a stage on one batch; None if the database refused it for now, and it is to be retried.

    One bad row holds nobody up: it is found and set aside.
    """
    try:
        return stage.work(stage.batch)
    except OperationalError as error:
        if connection.connection is None or connection.connection.broken:
            raise
        logger.warning("%s will be tried again: %s", stage.name, error)
        return None
    except Exception:
        logger.exception("a batch of %s failed; its rows run one by one", stage.name)
        return one_by_one(stage)


def one_by_one(stage: Stage) -> int:
    """Run a stage row by row for a while; set aside each row that fails alone."""
    for done in range(ONE_BY_ONE):
        try:
            if stage.work(1) == 0:
                return done
        except OperationalError:
            raise
        except Exception as error:
            logger.exception("a row of %s was set aside", stage.name)
            if stage.set_aside is None:
                raise
            with transaction.atomic():
                stage.set_aside(f"{type(error).__name__}: {error}")
    return ONE_BY_ONE


def rest(lane: Lane) -> None:
    """Wait for a notification, what is due next or a second, whatever comes first."""
    due_at = lane.next_due()
    seconds = REST_SECONDS
    if due_at is not None:
        seconds = min(seconds, max(0.0, (due_at - clock.now()).total_seconds()))
    _listen(lane.channel)
    for _ in connection.connection.notifies(timeout=seconds, stop_after=1):
        pass


def _listen(channel: str) -> None:
    """Listen on this connection; a new connection must begin again."""
    raw = connection.connection
    if getattr(raw, "listens", False):
        return
    with connection.cursor() as cursor:
        cursor.execute(SQL("LISTEN {}").format(Identifier(channel)))
    raw.listens = True

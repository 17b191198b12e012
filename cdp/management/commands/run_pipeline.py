"""The loop around the stages of the river."""

import gc
import logging
import signal
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

import psycopg
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection, transaction

from activation import outbox
from cdp import health, pipeline, upkeep
from customers import clock
from segments import memberships

logger = logging.getLogger("cdp.pipeline")

PAUSE_SECONDS = 0.5  # before the database is tried again
ONE_BY_ONE = 1_000  # rows, after a failure, before a whole batch is tried again
OUTBOX_EVERY_SECONDS = 1.0  # it is looked after: retries that are due, tasks that have died
REST = timedelta(seconds=1)  # at most, when nothing is waiting; a notification ends it


class Command(BaseCommand):
    help = "Move facts from the inbox to segments and deliveries until told to stop."
    stopping = False
    outbox_woken_at = 0.0
    refusals = 0  # rounds in a row in which the database refused a batch

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop when nothing is waiting")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        health.forget("pipeline")
        collect_rarely()
        while not self.stopping:
            try:
                moved = self.run_stages()
                if moved == 0 and once:
                    break
                if moved == 0 and not self.stopping:
                    rest()
            except (OperationalError, psycopg.OperationalError) as error:
                # The database restarts or refused for now: what was taken is queued again.
                logger.warning("the database did not answer; trying again: %s", error)
                connection.close()
                time.sleep(PAUSE_SECONDS)

    def stop(self, *_: Any) -> None:
        self.stopping = True

    def run_stages(self) -> int:
        """Run each stage on one batch; return the number of rows moved.

        A stage that the database refuses is no life: with a full disk, /readyz must say so.
        """
        moved, is_refused = 0, False
        for stage in pipeline.STAGES:
            if self.stopping:
                break
            done = run(stage)
            is_refused = is_refused or done is None
            moved += 1 if done is None else done
            if not is_refused:
                health.beat("pipeline")
        self.refusals = self.refusals + 1 if is_refused else 0
        if self.refusals > 1:  # the first may be a deadlock, which is over
            time.sleep(PAUSE_SECONDS)
        if time.monotonic() - self.outbox_woken_at >= OUTBOX_EVERY_SECONDS:
            outbox.wake_due(clock.now())
            upkeep.now_and_then(clock.now())
            self.outbox_woken_at = time.monotonic()
        return moved


def collect_rarely() -> None:
    """Look for garbage in cycles seldom, and not in what the program itself consists of.

    A batch is 100,000 objects without any; looking at them took a fifth of the time of a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


def run(stage: pipeline.Stage) -> int | None:
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


def one_by_one(stage: pipeline.Stage) -> int:
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


def rest() -> None:
    """Wait for a notification, the next re-check or a second, whatever comes first."""
    due_at = memberships.next_due()
    seconds = REST.total_seconds()
    if due_at is not None:
        seconds = min(seconds, max(0.0, (due_at - clock.now()).total_seconds()))
    listen()
    for _ in connection.connection.notifies(timeout=seconds, stop_after=1):
        pass


def listen() -> None:
    """Listen on this connection; a new connection must begin again."""
    raw = connection.connection
    if getattr(raw, "listens_to_cdp", False):
        return
    with connection.cursor() as cursor:
        cursor.execute("LISTEN cdp")
    raw.listens_to_cdp = True

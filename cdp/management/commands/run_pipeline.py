"""Runs the lanes of the river, each in a thread of its own, until told to stop."""

import gc
import signal
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from cdp import health, lanes, pipeline, process


class Command(BaseCommand):
    help = "Move facts from the inbox to segments and deliveries until told to stop."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop when nothing is waiting")

    def handle(self, *args: Any, once: bool, **options: Any) -> None:
        health.forget("pipeline")
        prepare()
        if once:
            lanes.run_dry(pipeline.LANES)
            return
        running = lanes.Lanes(pipeline.LANES)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        running.start()
        running.wait()


def prepare() -> None:
    """Make a process fit for batches.

    It looks for garbage in cycles seldom, and not in what the program itself consists of: a batch
    is 100,000 objects without any, and looking at them took a fifth of its time. A lane whose
    database has answered waits less long for the other's Python.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)
    process.keep_memory()


SWITCH_SECONDS = 0.001

"""Django-q2's command, with a watchdog: ends when the cluster hangs, so that it is restarted."""

import sys
import time
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connections
from django_q.cluster import Cluster

from cdp import health, process, watchdog


class Command(BaseCommand):
    help = "Serves the queue of background tasks until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        process.hold_children()
        guard = watchdog.Watchdog()
        began_at = datetime.now(UTC)
        health.forget("queue")  # asks the database before anybody relies on it
        connections.close_all()  # forks must not share one
        cluster = Cluster()
        cluster.start()
        try:
            watchdog.release_orphans(began_at)
            while cluster.sentinel.is_alive() and guard.look(time.monotonic()):
                time.sleep(1)
            verdict = "hangs" if cluster.sentinel.is_alive() else "has died"
        except Error as error:
            verdict = f"cannot reach the database: {error}"
        if not cluster.has_stopped:  # not by a signal
            cluster.sentinel.kill()  # its workers follow; waiting for them could take for ever
            sys.exit(f"The queue {verdict}")

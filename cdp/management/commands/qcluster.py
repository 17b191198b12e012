"""Django-q2's command, with a watchdog: ends when the cluster hangs, so that it is restarted.

Without Q_CLUSTER_NAME in the environment it serves the ordinary tasks, with "sending" that one.
"""

import sys
import time
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections
from django_q.cluster import Cluster
from django_q.conf import Conf

from activation import wakeups
from cdp import health, process, watchdog


class Command(BaseCommand):
    help = "Serves the queue of background tasks until it is stopped."

    def handle(self, *args: Any, **options: Any) -> None:
        part = _part(Conf.CLUSTER_NAME)
        process.hold_children()
        guard = watchdog.Watchdog(part)
        began_at = datetime.now(UTC)
        health.forget(part)  # asks the database before anybody relies on it
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


def _part(cluster: str) -> str:
    """Return as which part of the product a cluster beats. Raises CommandError."""
    if cluster == Conf.PREFIX:
        return "queue"
    if cluster != wakeups.CLUSTER:  # nobody would give it anything to do
        raise CommandError(
            f"Q_CLUSTER_NAME is {cluster!r}: leave it out, or set {wakeups.CLUSTER}."
        )
    return cluster

"""Imports whose worker was killed are given to another, long before the queue would do so."""

from customers.imports import running, sql
from customers.models import Import

_idle: dict[int, str] = {}  # at the last look
_woken: dict[int, str] = {}


def wake_idle() -> None:
    """Queue a task for each import under way that stands still as it did at the last call.

    Nobody works on such a one: its worker was killed, or its task still waits for a worker. In
    that case it has two tasks, which does no harm. Where it stands, it is woken once.
    """
    idle = sql.select_idle([*running.PHASES])
    still = idle.items() & _idle.items()
    for run in Import.objects.filter(pk__in=dict(still - _woken.items())):
        if phase := running.PHASES.get(run.state):
            running.enqueue(run, phase)
    _woken.clear()
    _woken.update(still)
    _idle.clear()
    _idle.update(idle)

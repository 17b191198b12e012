"""Asking the queue to send what is due: one task at a time, and none too few.

One row says that a task waits or is at work. Whoever has made something due touches it before
committing, and the task removes it before a last look, which waits for all who touched it; so
either it sees their rows, or they queue the next task.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django_q.tasks import async_task

from activation import retries
from activation.sql import sending, waking
from customers import clock

TASK = "activation.outbox.deliver_due"
CLUSTER = "sending"  # of the queue: what takes long, an import say, cannot hold its workers
EACH = 4  # messages in flight to one destination
LOST_AFTER = timedelta(seconds=30)  # if a task has not begun by then


def ask() -> bool:
    """Have a task send what the caller's transaction made due, once it has committed.

    Returns whether one had to be queued.
    """
    if not waking.ask_to_wake():
        return False
    async_task(TASK, cluster=CLUSTER)
    return True


def has_due(now: datetime) -> bool:
    return sending.has_due(now, each=EACH, to_open=retries.FAILURES_TO_OPEN)


@transaction.atomic
def hand_over() -> None:
    """End the task that is at work; queue the next one if anything is due by now."""
    waking.forget_wake_up()
    ask_if_due(clock.now())


@transaction.atomic
def ask_if_due(now: datetime) -> bool:
    """Queue a task if anything is due, unless one is queued already or at work."""
    return has_due(now) and ask()


@transaction.atomic
def heal(now: datetime) -> bool:
    """Do so even if a task was asked for that has died or was lost."""
    if waking.stands_wake_up(now - LOST_AFTER) or not has_due(now):
        return False
    waking.forget_wake_up()
    return ask()

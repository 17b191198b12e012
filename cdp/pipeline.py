"""The river: how facts about customers flow from the inbox to the outbox.

This is the only module that knows every app. Each stage takes one batch from a queue table,
works in one transaction, and returns how many rows it took, so that zero means "nothing left".
A stage that fails rolls back whole; its rows are still queued.

The stages stand in two lanes, which run side by side: while one waits for the database, the other
works. Between them lies the queue of changes.
"""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from activation import outbox, stays
from cdp import exports, undoing, upkeep
from customers import changes, clock, search
from events import holders, inbox
from events.mail import recipients
from segments import filling, memberships

# Rows of a queue that one transaction takes, if so many wait: each statement of an evaluation costs
# much by itself, so that four times as many events take a fifth less each.
BATCH = 4_000
CHANGES = 8_000  # all those of one customer are evaluated together


@transaction.atomic
def ingest(limit: int) -> int:
    """Turn waiting requests into events of known customers."""
    return inbox.process(limit)


@transaction.atomic
def tick(limit: int) -> int:
    """Queue the customers whose membership time alone may have changed by now."""
    return memberships.recheck_due(clock.now(), limit)


@transaction.atomic
def refresh(limit: int) -> int:
    """Bring segments and search up to date with what has changed, and queue what is to be sent."""
    facts = changes.claim(limit)
    search.follow(facts)
    holders.follow(facts)
    recipients.follow(facts)
    transitions = memberships.refresh(facts)
    outbox.enqueue(transitions)
    return len(facts)


def stay(limit: int) -> int:
    """Queue messages for those who have been in a segment for long enough by now."""
    return stays.queue_due(clock.now())


@transaction.atomic
def fill(limit: int) -> int:
    """Evaluate a new or edited segment for its next customers; nobody is told of these."""
    return filling.fill_next()


@transaction.atomic
def undo(limit: int) -> int:
    """Forget customers whom an import created that is being undone, if they have nothing else."""
    return undoing.forget_created(limit)


def expire(limit: int) -> int:
    """Have files removed that were exported too long ago."""
    exports.sweep_now_and_then()
    return 0


def care() -> None:
    """Look after retries that are due and tasks that have died, and do what the clock asks for."""
    outbox.wake_due(clock.now())
    upkeep.now_and_then(clock.now())


class Stage(NamedTuple):
    """A step of the river, and what to do with a row that fails it alone."""

    name: str
    work: Callable[[int], int]
    set_aside: Callable[[str], None] | None = None
    batch: int = BATCH


class Lane(NamedTuple):
    """Stages that run one after the other, over and over, beside those of the other lanes."""

    name: str
    channel: str  # of the database, on which it hears that there is something to do
    stages: tuple[Stage, ...]
    next_due: Callable[[], datetime | None] = lambda: None  # when it has to look by itself
    each_second: Callable[[], None] = lambda: None


LANES = (
    Lane("arrivals", "cdp_inbox", (Stage("ingest", ingest, inbox.set_aside),)),
    Lane(
        "consequences",
        "cdp",
        (
            Stage("tick", tick),
            Stage("refresh", refresh, changes.set_aside, CHANGES),
            Stage("stay", stay),
            Stage("fill", fill, filling.set_aside),
            Stage("undo", undo, batch=1_000),
            Stage("expire", expire),
        ),
        memberships.next_due,
        care,
    ),
)
STAGES = tuple(stage for lane in LANES for stage in lane.stages)

"""The river: how facts about customers flow from the inbox to the outbox.

This is the only module that knows every app. Each stage takes one batch from a queue table,
works in one transaction, and returns how many rows it took, so that zero means "nothing left".
A stage that fails rolls back whole; its rows are still queued.
"""

from datetime import datetime

from django.db import transaction

from activation import outbox
from customers import changes
from events import inbox
from segments import filling, memberships

BATCH = 1_000  # rows of a queue that one transaction takes


@transaction.atomic
def ingest(now: datetime) -> int:
    """Turn waiting requests into events of known customers."""
    return inbox.process(BATCH)


@transaction.atomic
def tick(now: datetime) -> int:
    """Queue the customers whose membership time alone may change by now."""
    return memberships.recheck_due(now, BATCH)


@transaction.atomic
def refresh(now: datetime) -> int:
    """Bring segments up to date with what has changed, and queue what must be delivered."""
    facts = changes.claim(BATCH)
    transitions = memberships.refresh(facts, now)
    outbox.enqueue(transitions)
    return len(facts)


@transaction.atomic
def fill(now: datetime) -> int:
    """Evaluate a new or edited segment for its next customers; nobody is told of these."""
    return filling.fill_next(now)


STAGES = (ingest, tick, refresh, fill)

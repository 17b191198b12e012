"""How much was delivered, and failed for good: counted by the hour, without tests."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from activation.sql import tallies as sql


class Sent(NamedTuple):
    """Messages that ended since some hour."""

    delivered: int = 0
    failed: int = 0


def by_trigger(trigger_ids: Sequence[int], since: datetime) -> dict[int, Sent]:
    """Return what triggers have sent since the hour of an instant, by id of the trigger."""
    return {pk: Sent(*counts) for pk, *counts in sql.sums(trigger_ids, since)}


def totals(since: datetime) -> Sent:
    """Return what all triggers have sent since the hour of an instant."""
    return Sent(*sql.totals(since))

"""Triggers: storing them, switching them on and off, and what that brings about."""

from datetime import datetime

from django.db import transaction
from django_q.tasks import async_task

from activation import sql, wakeups
from activation.models import Backlog, On, Trigger
from segments.models import Cause, Membership, MembershipChange

SWITCHED_OFF = "The trigger was switched off."


class TriggerError(ValueError):
    """A trigger cannot be stored; says which member is at fault, and why."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


@transaction.atomic
def save(trigger: Trigger) -> None:
    """Store a new or edited trigger, and do what has changed about it.

    Switched on, it sends for whoever enters (or leaves) from now on, and with `include_existing`
    also for those who are in by now. Switched off, nothing more goes out: what waits is cancelled.
    With another destination, what waits goes there. Raises TriggerError.
    """
    stored = None
    if not trigger._state.adding:
        # Waits for the changes of membership that were being queued under the old definition.
        stored = Trigger.objects.select_for_update().get(pk=trigger.pk)
    _check(trigger, stored)
    trigger.save()
    if stored and stored.is_enabled and not trigger.is_enabled:
        # What is on its way at this moment may still arrive.
        sql.cancel_waiting(trigger.pk, SWITCHED_OFF)
        Backlog.objects.filter(trigger=trigger).delete()
    if stored and stored.destination_id != trigger.destination_id:
        sql.move_waiting(trigger.pk, trigger.destination_id)
        wakeups.ask()
    if _includes(trigger) and not (stored and _includes(stored)):
        Backlog.objects.get_or_create(trigger=trigger)
        async_task("activation.outbox.include_existing", trigger.pk)


def switch_on(trigger: Trigger) -> None:
    """Have a trigger send from now on. Raises TriggerError."""
    trigger.is_enabled = True
    save(trigger)


def switch_off(trigger: Trigger) -> None:
    """Have a trigger send nothing more, not even what waits."""
    trigger.is_enabled = False
    save(trigger)


@transaction.atomic
def delete(trigger: Trigger) -> None:
    """Delete a trigger with its log; nothing more is sent for it."""
    Trigger.objects.select_for_update().get(pk=trigger.pk)
    sql.delete_deliveries(trigger.pk)
    trigger.delete()


def _check(trigger: Trigger, stored: Trigger | None) -> None:
    if trigger.include_existing and trigger.on != On.ENTER:
        raise TriggerError(
            "include_existing", "Those who are in have not left: this goes with entering only."
        )
    if stored is None:
        return
    if stored.key != trigger.key:
        raise TriggerError("key", "The key cannot be changed: receivers know it.")
    is_other = stored.segment_id != trigger.segment_id or stored.on != trigger.on
    if is_other and trigger.deliveries.real().exists():
        raise TriggerError(
            "segment" if stored.segment_id != trigger.segment_id else "on",
            "This trigger has sent messages for what it waits for now: make a new trigger.",
        )


def _includes(trigger: Trigger) -> bool:
    return trigger.is_enabled and trigger.include_existing


def members(trigger: Trigger) -> int:
    """Return how many customers are in the segment of a trigger: what `include_existing` sends."""
    return Membership.objects.filter(segment=trigger.segment_id).count()


def would_have_sent(trigger: Trigger, since: datetime) -> int:
    """Return how many messages a trigger would have sent since an instant, had it been on."""
    return (
        MembershipChange.objects.filter(
            segment=trigger.segment_id, entered=trigger.on == On.ENTER, at__gte=since
        )
        .exclude(cause=Cause.RULE)
        .count()
    )

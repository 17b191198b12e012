"""Triggers: storing them, switching them on and off, and what that brings about."""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django_q.tasks import async_task

from activation import cancelling, wakeups
from activation.models import AtMost, Backlog, On, Trigger
from activation.sql import pruning, waiting
from customers import clock, consent, spelling
from customers.models import ConsentPurpose, CustomerField
from segments import memberships

AT_ONCE = 5_000  # messages of one statement
MAX_STAY = timedelta(days=3_650)
MAX_DAYS = 3_650


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
    With another destination, what waits goes there; with other quiet hours, what they held is
    looked at again. Raises TriggerError.
    """
    stored = None
    if not trigger._state.adding:
        # Waits for the changes of membership that were being queued under the old definition.
        stored = Trigger.objects.select_for_update().get(pk=trigger.pk)
    _check(trigger, stored)
    if trigger.is_enabled and not (stored and stored.is_enabled and stored.on == trigger.on):
        _begin(trigger)
    trigger.save()
    if stored and stored.is_enabled and not trigger.is_enabled:
        # What is on its way at this moment may still arrive.
        cancelling.begin(trigger.pk)
        Backlog.objects.filter(trigger=trigger).delete()
    if stored and _quiet(stored) != _quiet(trigger):
        async_task("activation.triggers.look_again", trigger.pk)
    if stored and stored.destination_id != trigger.destination_id:
        waiting.move_waiting(trigger.pk, trigger.destination_id)
        wakeups.ask()
    if _includes(trigger) and not (stored and _includes(stored)):
        Backlog.objects.get_or_create(trigger=trigger)
        async_task("activation.outbox.include_existing", trigger.pk)


def look_again(trigger_id: int) -> None:
    """Have what quiet hours hold go by the hours of now: a task of the queue."""
    last: UUID | None = UUID(int=0)
    while last is not None:
        last = waiting.look_again(trigger_id, last, AT_ONCE)


def _quiet(trigger: Trigger) -> tuple[object, ...]:
    return (
        *(trigger.quiet_from, trigger.quiet_until),
        *(trigger.quiet_zone_field, trigger.quiet_then),
    )


def _begin(trigger: Trigger) -> None:
    """Note from when on it sends; who stays must reach the time from now on, or may have before."""
    trigger.switched_on_at = clock.now()
    if trigger.on == On.STAY:
        trigger.stayed_id = 0
        stay = trigger.stay or timedelta()
        trigger.stayed_at = None if trigger.include_existing else trigger.switched_on_at - stay


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
    pruning.delete_deliveries(trigger.pk)
    trigger.delete()


def _check(trigger: Trigger, stored: Trigger | None) -> None:
    _check_sentence(trigger)
    _check_quiet(trigger)
    if stored is None:
        return
    if stored.key != trigger.key:
        raise TriggerError("key", "The key cannot be changed: receivers know it.")
    is_other = stored.segment_id != trigger.segment_id or stored.on != trigger.on
    is_other = is_other or (stored.on == On.STAY and stored.stay != trigger.stay)
    if is_other and trigger.deliveries.real().exists():
        raise TriggerError(
            "segment" if stored.segment_id != trigger.segment_id else "on",
            "This trigger has sent messages for what it waits for now: make a new trigger.",
        )


def _check_sentence(trigger: Trigger) -> None:
    if trigger.include_existing and trigger.on == On.LEAVE:
        raise TriggerError(
            "include_existing", "Those who are in have not left: this goes with entering only."
        )
    if trigger.on == On.STAY and not 0 < (trigger.stay_for or 0) <= MAX_DAYS * 24 * 60:
        raise TriggerError("stay_for", "Say how long a customer must have been in, at least 1.")
    if trigger.on != On.STAY:
        trigger.stay_for = None
    if trigger.stay and trigger.stay > MAX_STAY:
        raise TriggerError("stay_for", "At most ten years.")
    if trigger.at_most == AtMost.ONCE_PER_DAYS and not 0 < (trigger.at_most_days or 0) <= MAX_DAYS:
        raise TriggerError("at_most_days", f"Once in how many days? From 1 to {MAX_DAYS:,}.")
    if trigger.at_most != AtMost.ONCE_PER_DAYS:
        trigger.at_most_days = None
    if trigger.purpose:
        _check_purpose(trigger)


def _check_purpose(trigger: Trigger) -> None:
    known = ConsentPurpose.objects.values_list("key", flat=True)
    key = consent.normalise(trigger.purpose)
    if key is None or key not in known:
        hint = spelling.suggestion(trigger.purpose, known)
        raise TriggerError("purpose", f"There is no consent purpose of this key.{hint}")
    trigger.purpose = key


def _check_quiet(trigger: Trigger) -> None:
    begins, ends = trigger.quiet_from, trigger.quiet_until
    if (begins is None) != (ends is None):
        member = "quiet_from" if begins is None else "quiet_until"
        raise TriggerError(member, "Quiet hours need a beginning and an end.")
    if begins is None:
        trigger.quiet_zone_field = ""
    elif begins == ends:
        raise TriggerError("quiet_until", "Quiet hours end at another time than they begin.")
    name = trigger.quiet_zone_field
    if name and not CustomerField.objects.filter(name=name).exists():
        raise TriggerError("quiet_zone_field", f"There is no customer field {name!r}.")


def _includes(trigger: Trigger) -> bool:
    return trigger.is_enabled and trigger.include_existing and trigger.on == On.ENTER


def members(trigger: Trigger) -> int:
    """Return how many customers are in the segment of a trigger: what `include_existing` sends."""
    return memberships.sizes([trigger.segment_id])[trigger.segment_id]

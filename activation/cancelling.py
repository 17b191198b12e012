"""Cancelling what a trigger that was switched off had waiting, however much that is."""

from uuid import UUID

from django.db import transaction

from activation.models import Cancelling, Reason
from activation.sql import waiting

AT_ONCE = 5_000


def begin(trigger_id: int) -> None:
    """Cancel what waits: at once, or else the first of it; nothing of it is sent any more.

    Call it in the transaction that switches the trigger off and holds it.
    """
    if _cancel(trigger_id) < AT_ONCE:
        return
    if last := waiting.last_waiting(trigger_id):
        Cancelling.objects.update_or_create(trigger_id=trigger_id, defaults={"until": last})


def go_on() -> int:
    """Cancel some more; return of how many triggers. Call it about once a second."""
    of = [*Cancelling.objects.order_by("pk").values_list("pk", flat=True)]
    return sum(_go_on(trigger_id) for trigger_id in of)


@transaction.atomic
def _go_on(trigger_id: int) -> int:
    rows = Cancelling.objects.select_for_update(skip_locked=True).filter(pk=trigger_id)
    found = rows.first()
    if found is None:
        return 0
    if _cancel(trigger_id, found.until) < AT_ONCE:
        found.delete()
    return 1


def _cancel(trigger_id: int, until: UUID | None = None) -> int:
    reason = Reason.SWITCHED_OFF
    return waiting.cancel_waiting(trigger_id, reason, reason.label, AT_ONCE, until)


def under_way() -> dict[int, UUID]:
    """Return of which triggers something is still to be cancelled, and up to which delivery."""
    return dict(Cancelling.objects.values_list("pk", "until"))

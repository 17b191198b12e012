"""Many people erased together, in the background; to be stopped, and resumed."""

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from django.db import transaction
from django_q.tasks import async_task

from cdp import erasure
from cdp.models import Forgetting
from customers import clock
from customers.models import Customer

AT_MOST: Final = 10_000  # customers at a time: nobody takes in more when they confirm it
TOGETHER: Final = 25  # people erased in one transaction, for which all arrivals wait
SLICE: Final = 20  # seconds of work in one task; the queue has others to serve
TASK: Final = "cdp.forgetting.run"
RIGHT: Final = "customers.delete_customer"

_log = logging.getLogger(__name__)


@transaction.atomic
def begin(customer_ids: Sequence[int], user: Any, *, by: str) -> Forgetting:
    """Have these customers erased by the queue; `by` stands in the proof of each."""
    found = Forgetting.objects.create(
        customer_ids=[*customer_ids], total=len(customer_ids), by=by, created_by=user
    )
    async_task(TASK, found.pk)
    return found


def stop(forgetting_id: int) -> None:
    """Erase nobody more, after those who are being erased at this moment."""
    waiting = Forgetting.objects.filter(pk=forgetting_id, finished_at=None)
    waiting.update(stopped_at=clock.now())


@transaction.atomic
def resume(forgetting_id: int) -> None:
    """Go on with those who are left, after a stop or an error."""
    waiting = Forgetting.objects.filter(pk=forgetting_id, finished_at=None)
    if waiting.update(stopped_at=None, error=""):
        async_task(TASK, forgetting_id)


def run(forgetting_id: int) -> None:
    """Erase for some seconds, then leave the rest to another task. May run twice, or resume."""
    until = time.monotonic() + SLICE
    while _next(forgetting_id):
        if time.monotonic() > until:
            async_task(TASK, forgetting_id)
            return


def _next(forgetting_id: int) -> bool:
    """Erase the next few; say whether there may be more to do."""
    try:
        with transaction.atomic():
            return _erase_next(forgetting_id)
    except erasure.NotLoggedError as error:
        _log.exception("forgetting %s", forgetting_id)
        Forgetting.objects.filter(pk=forgetting_id).update(error=str(error))
        return False


def _erase_next(forgetting_id: int) -> bool:
    locked = Forgetting.objects.select_for_update(of=("self",)).select_related("created_by")
    found = locked.filter(pk=forgetting_id).first()
    if found is None or found.finished_at or found.stopped_at or found.error:
        return False
    if found.created_by is None or not found.created_by.has_perm(RIGHT):
        found.error = f"{found.by} may not erase customers any more."
    elif found.seen == found.total:
        found.finished_at, found.customer_ids = clock.now(), []
    else:
        chosen = found.customer_ids[found.seen : found.seen + TOGETHER]
        found.erased += _erase(chosen, found.by)
        found.seen += len(chosen)
    changed = ["error", "finished_at", "seen", "erased"]
    found.save(update_fields=[*changed, "customer_ids"] if found.finished_at else changed)
    return not (found.error or found.finished_at)


def _erase(chosen: Sequence[int], by: str) -> int:
    """Erase who was chosen; not who they were joined with since, whom nobody was shown."""
    still = Customer.objects.current().filter(pk__in=chosen).values_list("pk", flat=True)
    people = [[customer_id] for customer_id in sorted(still)]
    return len(erasure.erase_each(people, by=by)) if people else 0

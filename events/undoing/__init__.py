"""Undoing an import of events: they are taken from their customers, and the file may come again.

Each event of a file notes the import in its context, and the import what the newest event was when
it began: the queue looks through the events since then, a range at a time. Customers who may have
come into being by them, and now have nothing else, are for the roof to forget, as with imports of
values. `Import.summary["undo"]` counts

    {"events", "restored": customers who had them, "removed": customers, "kept": customers}
"""

from collections import defaultdict
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models.functions import Now

from customers import changes, seen, survivors
from customers.imports import running
from customers.imports import undoing as of_values
from customers.imports.running import StateError
from customers.models import Customer, Import, ImportTouched
from events.erasure import EVERYTHING
from events.models import Event, Inbox, Receipt, Source
from events.sql import history
from events.undoing import sql

BEGAN: Final = "newest_event"  # in Import.format: the id of the newest event before
DONE_TO: Final = "undone_to"
MARK: Final = "import"  # in the context of an event
RANGE: Final = 20_000  # ids looked through at once


def note_beginning(run: Import) -> None:
    """Note where the events of an import can begin. Call it before the first is accepted.

    One too low: the very first event of all has the id that the sequence shows beforehand.
    """
    began_at = run.started_at and run.started_at.isoformat()
    if run.format.get("began_at") != began_at:
        began = {BEGAN: history.latest_event_id() - 1, "began_at": began_at}
        run.format = {**run.format, **began}


def is_possible(run: Import) -> bool:
    """Tell whether an import brought events that could be taken back."""
    return of_values.has_written(run) and run.rows_ok > 0 and BEGAN in run.format


@transaction.atomic
def start(import_id: int) -> None:
    """Let the queue take back what an import brought. Raises `StateError`."""
    run = Import.objects.select_for_update().get(pk=import_id)
    if not is_possible(run):
        raise StateError("There is nothing to undo: this import has brought no events.")
    source = Source.objects.filter(key=run.options["source"]).first()
    waiting = Inbox.objects.filter(source=source)
    if run.finished_at:
        waiting = waiting.filter(received_at__lte=run.finished_at)
    if source and waiting.exists():
        raise StateError("Its events are still being read. Try again in a moment.")
    run.format = {**run.format, DONE_TO: run.format[BEGAN]}
    ImportTouched.objects.filter(source=run).delete()
    running.begin_undo(run)


def undo(import_id: int) -> None:
    """Take events back as far as one task of the queue may."""
    running.undo(import_id, _take_back)


def _take_back(run: Import) -> bool:
    """Take back what is in the next range; return whether there may be more."""
    low, newest = run.format[DONE_TO], history.latest_event_id()
    if low >= newest:
        ImportTouched.objects.filter(source=run).update(restored_at=Now())
        of_values.end_if_over(run)
        return False
    high = min(newest, low + RANGE)
    _take_range(run, low, high)
    run.format = {**run.format, DONE_TO: high}
    return True


def _take_range(run: Import, low: int, high: int) -> None:
    source = Source.objects.filter(key=run.options["source"]).first()
    rows = sql.select_imported(run.pk, source.pk, low, high) if source else []
    if not source or not rows:
        return
    customer_ids = sorted({row.customer_id for row in rows})
    survivors.lock(customer_ids)
    times: dict[int, list[datetime]] = defaultdict(list)
    for row in rows:
        times[row.customer_id].append(row.at)
    Event.objects.filter(id__in=[row.id for row in rows], customer__in=customer_ids).delete()
    Receipt.objects.filter(source=source, message_id__in=[row.message_id for row in rows]).delete()
    taken = {customer_id: (min(each), max(each)) for customer_id, each in times.items()}
    seen.take_back(taken, sql.select_remaining(customer_ids))
    changes.record(changes.Fact(customer_id, EVERYTHING) for customer_id in customer_ids)
    _note(run, customer_ids, high)
    _count(run, events=len(rows), restored=len(customer_ids))


def _note(run: Import, customer_ids: list[int], line: int) -> None:
    """Note who may have come into being by the import; the roof looks at them in the end."""
    new = Customer.objects.filter(
        pk__in=customer_ids, created_at__gte=run.started_at, merged_into=None
    )
    noted = {
        customer_id
        for chunk in ImportTouched.objects.filter(source=run)
        for customer_id in chunk.created
    }
    created = sorted({*new.values_list("pk", flat=True)} - noted)
    if created:
        ImportTouched.objects.create(source=run, line=line, created=created, updated=[])


def _count(run: Import, **counts: Any) -> None:
    undone = run.summary.setdefault("undo", {})
    for name, count in counts.items():
        undone[name] = undone.get(name, 0) + count

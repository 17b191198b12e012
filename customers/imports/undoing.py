"""Undoing an import: values are as they were before, unless something newer has changed them.

The queue takes back the values, a chunk at a time. Then customers whom the import created, and who
have nothing else, are for the roof to forget: it takes them by `take_created`. Of those that stay
as they are, each is listed with the reason; `Import.summary["undo"]` counts

    {"restored": customers, "kept": customers, "removed": customers}
"""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from customers import changes, fields, survivors
from customers.imports import columns, consents, running, sql
from customers.imports.reports import KEPT_PROBLEMS
from customers.imports.running import UNDO, StateError
from customers.models import Customer, Import, ImportKind, ImportProblem, ImportState, ImportTouched

CHANGED: Final = "changed_since"
MERGED: Final = "merged_since"
IN_USE: Final = "in_use"
REASONS: Final = (CHANGED, MERGED, IN_USE)


class Taken(NamedTuple):
    """Customers whom an import created: those who may go, and the CustomerIds of all."""

    import_id: int
    lone: list[int]
    known_as: Mapping[int, str]


def is_possible(run: Import) -> bool:
    """Tell whether an import wrote something that could be undone."""
    is_ours = run.kind == ImportKind.CUSTOMER_FIELDS
    return is_ours and has_written(run) and bool(run.customers_created or run.customers_updated)


def has_written(run: Import) -> bool:
    """Tell whether an import of any kind has come so far as to write something."""
    return run.state == ImportState.DONE or (
        run.state in (ImportState.STOPPED, ImportState.FAILED)
        and run.stopped_state == ImportState.IMPORTING
    )


@transaction.atomic
def start(import_id: int) -> None:
    """Let the queue undo an import. Raises `StateError`."""
    run = Import.objects.select_for_update().get(pk=import_id)
    if not is_possible(run):
        raise StateError("There is nothing to undo: this import has changed no customers.")
    if not ImportTouched.objects.filter(source=run).exists():
        raise StateError("This import is too old to be undone: it was not noted whom it changed.")
    running.begin_undo(run)


def undo(import_id: int) -> None:
    """Undo an import as far as one task of the queue may."""
    running.undo(import_id, _take_back)


def _take_back(run: Import) -> bool:
    """Take back what the next chunk wrote; return whether there may be more."""
    chunk = ImportTouched.objects.filter(source=run, restored_at=None).order_by("line").first()
    if chunk is None:
        end_if_over(run)
        return False
    _restore(run, sorted({*chunk.created, *chunk.updated}))
    ImportTouched.objects.filter(pk=chunk.pk).update(restored_at=Now())
    return True


def _restore(run: Import, customer_ids: list[int]) -> None:
    now = survivors.lock(customer_ids)
    consents.take_back(run, {*now.values()})
    known = fields.known()
    values: dict[int, dict[str, str]] = {}
    kept = []
    for customer_id, external_id, names, olds, newer in sql.select_written(run.pk, customer_ids):
        values[customer_id] = {
            name: old for name, old in zip(names, olds, strict=True) if name in known
        }
        if newer:
            kept.append((CHANGED, [external_id or f"ID {customer_id}", *newer]))
    kept += [(MERGED, [f"ID {own}"]) for own in customer_ids if now.get(own, own) != own]
    written = fields.write(values, source=f"undo of import “{run.file_name}”", import_id=run.pk)
    sql.copy_changes((customer_id, map(changes.field, names)) for customer_id, names in written)
    changes.wake()
    _count(run, restored=len(written), kept=len(kept))
    _list(run, kept)


def take_created(limit: int) -> Taken | None:
    """Take up to so many customers whom an import created that is being undone, locked.

    `lone` are those who have nothing but their CustomerId. Call it inside a transaction, and then
    `note_removed`. None if there are no more.
    """
    for run_id, kind in Import.objects.filter(state=UNDO.state).values_list("pk", "kind"):
        chunks = ImportTouched.objects.filter(source=run_id)
        chunk = chunks.exclude(created=[]).select_for_update(skip_locked=True).first()
        if chunk and not chunks.filter(restored_at=None).exists():
            taken, rest = chunk.created[:limit], chunk.created[limit:]
            ImportTouched.objects.filter(pk=chunk.pk).update(created=rest)
            tells_identifiers = kind == ImportKind.EVENTS
            people = sql.lock_lone(run_id, sorted(taken), tells_identifiers=tells_identifiers)
            lone = [customer_id for customer_id, _, is_lone in people if is_lone]
            return Taken(run_id, lone, {own: name or f"ID {own}" for own, name, _ in people})
    return None


def note_removed(taken: Taken, removed: Collection[int]) -> None:
    """Count who of those taken is gone, and list the others."""
    run = Import.objects.select_for_update().get(pk=taken.import_id)
    stay = taken.known_as.keys() - set(removed)
    _count(run, removed=len(removed), kept=len(stay))
    _list(run, [(IN_USE, [taken.known_as[customer_id]]) for customer_id in sorted(stay)])
    run.save(update_fields=["summary"])
    end_if_over(run)


def keep(run: Import, kept: Mapping[str, Collection[int]], **counts: int) -> None:
    """Count and list customers who are left as they are, by reason; and whatever else is counted.

    Call it where the import is held and saved afterwards.
    """
    names = dict(
        Customer.objects.filter(pk__in=[own for ids in kept.values() for own in ids]).values_list(
            "pk", "external_id"
        )
    )
    rows = [
        (reason, [names.get(own) or f"ID {own}"])
        for reason, customer_ids in kept.items()
        for own in customer_ids
    ]
    _count(run, **counts, kept=len(rows))
    _list(run, rows)


def end_if_over(run: Import) -> None:
    """Note that an import is undone, if nothing is left to do."""
    todo = Q(restored_at=None) | ~Q(created=[])
    if not ImportTouched.objects.filter(todo, source=run).exists():
        run.state, run.undone_at = ImportState.UNDONE, timezone.now()
        run.save(update_fields=["state", "undone_at"])


def _count(run: Import, **counts: int) -> None:
    undone = run.summary.setdefault("undo", {})
    for name, count in counts.items():
        undone[name] = undone.get(name, 0) + count


def _list(run: Import, kept: list[tuple[str, list[str]]]) -> None:
    message = {
        CHANGED: "changed since the import",
        MERGED: "merged with another customer since the import",
        IN_USE: "created by the import, but has more than the import gave",
    }
    room = KEPT_PROBLEMS - run.summary["undo"].get("kept", 0) + len(kept)
    sql.copy_problems(
        (run.pk, 0, code, message[code], json.dumps(row)) for code, row in kept[: max(0, room)]
    )


def kept_file(run: Import) -> Iterator[str]:
    """Yield a CSV file of the customers that an undo left as they are, with fields and reason."""
    yield "\ufeff" + _line(["customerId", "reason", "fields"])
    kept = ImportProblem.objects.filter(source=run, code__in=REASONS).order_by("id")
    for problem in kept.iterator():
        known_as, *names = problem.row
        yield _line([known_as, problem.message, ", ".join(names)])


def _line(row: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow([columns.escaped(cell) for cell in row])
    return text.getvalue()

"""Running an import: chunk by chunk, each in a transaction that also notes how far it came.

A task of the queue works for a while and then leaves the rest to another, so that a task is never
killed for taking too long. Whatever dies, the next task goes on behind the last chunk committed.
"""

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from django.core.files.storage import default_storage
from django.db import OperationalError, transaction
from django.utils import timezone
from django_q.tasks import async_task

from customers.imports import ahead, pace, recoding, records, reports, sql
from customers.imports.ahead import Ahead, Place
from customers.imports.records import Header
from customers.imports.work import Prepare
from customers.models import (
    Import,
    ImportGiven,
    ImportProblem,
    ImportSeen,
    ImportState,
    ImportTouched,
)

SLICE: Final = 20.0  # seconds that one task works; the queue kills it after 60
PATIENCE: Final = 10  # tenths of a second, for a task that is about to end
ATTEMPTS: Final = 5  # at a chunk that others get in the way of
_PASSING: Final = {"40001", "40P01", "55P03"}  # serialization, deadlock, lock not available


_UNFORESEEN: Final = (
    "Something unforeseen happened. What was imported up to there stays; the log of the server has "
    "the details. It can be tried again from there."
)

logger = logging.getLogger(__name__)


class Phase(NamedTuple):
    """One way through the file. `verb` is the function of the queue's tasks."""

    verb: str
    begins: tuple[str, ...]
    state: ImportState
    ends: ImportState


CHECK: Final = Phase("check", (ImportState.WAITING,), ImportState.CHECKING, ImportState.CHECKED)
APPLY: Final = Phase(
    "apply",
    (ImportState.WAITING, ImportState.CHECKED),
    ImportState.IMPORTING,
    ImportState.DONE,
)
UNDO: Final = Phase("undo", (), ImportState.UNDOING, ImportState.UNDONE)
PHASES: Final = {phase.state.value: phase for phase in (CHECK, APPLY, UNDO)}


class StateError(Exception):
    """What was asked of an import does not fit its state; the message is for people."""


def start(import_id: int, phase: Phase) -> None:
    """Begin a phase from the first line, in the queue. Raises `StateError`."""
    with transaction.atomic():
        run = Import.objects.select_for_update().get(pk=import_id)
        if run.state not in phase.begins:
            raise StateError(f"This import is {run.get_state_display().lower()} already.")
        _begin(run, phase)
        enqueue(run, phase)


@transaction.atomic
def start_again(
    import_id: int, options: Mapping[str, Any], read_again: Callable[[Import], None]
) -> None:
    """Check a file once more, which was checked, read by other options. Raises `StateError`.

    `read_again` takes the file in once more, should it be written otherwise than it seemed.
    """
    run = Import.objects.select_for_update().get(pk=import_id)
    if run.state != ImportState.CHECKED:
        raise StateError(f"This import is {run.get_state_display().lower()}, not checked.")
    run.options = {**options}
    read_again(run)
    _begin(run, CHECK)
    enqueue(run, CHECK)


def work(import_id: int, phase: Phase, prepare: Prepare) -> None:
    """Do what one task may do of a phase; called with a phase that is over, do nothing.

    Of several tasks for one import all but one end soon.
    """
    pace.begin(import_id, records.CHUNK_BYTES)
    with ahead.reading() as chunks:
        work_by(import_id, phase, lambda: _step(import_id, phase, prepare, chunks))


def undo(import_id: int, take_back: Callable[[Import], bool]) -> None:
    """Undo an import as far as one task of the queue may.

    `take_back` is called in a transaction, with the import held and saved afterwards, until it
    says that nothing is left for it.
    """

    @transaction.atomic
    def step() -> bool:
        run = Import.objects.select_for_update().filter(pk=import_id, state=UNDO.state).first()
        if run is None:
            return False
        is_more = take_back(run)
        run.save(update_fields=["format", "summary"])
        return is_more

    work_by(import_id, UNDO, step)


def work_by(import_id: int, phase: Phase, step: Callable[[], bool]) -> None:
    """Take steps, each a transaction, until one says that it was the last.

    After a while the rest is left to another task. That one is queued once this one has let go of
    the import; should this process die before, the queue gives its task to another.
    """
    if not _reserve(import_id):
        return
    try:
        with _rare_collection():
            is_more = _work(import_id, phase, step)
    finally:
        sql.unlock(import_id)
    if is_more:
        enqueue(Import.objects.get(pk=import_id), phase)


def _reserve(import_id: int) -> bool:
    """Reserve an import for this process, if nobody else works on it, or is about to end."""
    for _ in range(PATIENCE):
        if sql.try_lock(import_id):
            return True
        time.sleep(0.1)
    return False


def _work(import_id: int, phase: Phase, step: Callable[[], bool]) -> bool:
    """Return whether there is more to do than one task may."""
    deadline = time.monotonic() + SLICE
    _begin_if_due(import_id, phase)
    failures = 0
    is_more = True
    while is_more:
        try:
            is_more = step()
            failures = 0
        except OperationalError as error:
            failures += 1
            if getattr(error.__cause__, "sqlstate", None) not in _PASSING or failures >= ATTEMPTS:
                raise
            time.sleep(0.1 * failures)
        except StateError as error:
            _fail(import_id, phase, f"{error} What was imported up to there stays.")
            return False
        except Exception:
            logger.exception("import %s failed", import_id)
            _fail(import_id, phase, _UNFORESEEN)
            return False
        if time.monotonic() > deadline:
            break
    return is_more


@transaction.atomic
def _begin_if_due(import_id: int, phase: Phase) -> None:
    due = Import.objects.select_for_update().filter(pk=import_id, state__in=phase.begins)
    for run in due:
        _begin(run, phase)


@transaction.atomic
def _step(import_id: int, phase: Phase, prepare: Prepare, chunks: Ahead) -> bool:
    """Work on the next chunk; return whether there are more."""
    run = Import.objects.select_for_update().filter(pk=import_id).first()
    if run is None or run.state != phase.state:
        return False
    if recoding.is_due(run):
        recoding.go_on(run)
        run.save()
        return True
    began = time.monotonic()
    todo = prepare(run)
    usual = todo.size or records.CHUNK_BYTES
    place = Place(str(run.file.name), run.offset, run.lines_done + 1, pace.size(run, usual))
    chunk, said = chunks.read(place, header(run), todo)
    reports.add(run, todo.handle(chunk, said))
    run.offset, run.lines_done = chunk.next_offset, chunk.next_line - 1
    if chunk.is_last:
        reports.add(run, todo.conclude())
        _end(run, phase)
    pace.note(run, usual, time.monotonic() - began)
    run.save()
    return not chunk.is_last


def header(run: Import) -> Header:
    """Return the columns of the file, and where its records begin."""
    about = run.format
    return Header(about["columns"], about["delimiter"], about["offset"], about["line"])


def _begin(run: Import, phase: Phase) -> None:
    """Go back to the first line; what an earlier phase counted is counted anew."""
    run.state = phase.state
    run.offset, run.lines_done = run.format["offset"], run.format["line"] - 1
    run.rows_total = run.rows_ok = run.rows_failed = 0
    run.customers_created = run.customers_updated = 0
    run.summary = {}
    run.format.pop(pace.KEY, None)
    run.started_at, run.finished_at = timezone.now(), None
    run.save()
    _forget(run)


def _forget(run: Import) -> None:
    for model in (ImportSeen, ImportGiven, ImportTouched, ImportProblem):
        model.objects.filter(source=run).delete()


def _end(run: Import, phase: Phase) -> None:
    run.state = phase.ends
    run.finished_at = timezone.now()
    for model in (ImportSeen, ImportGiven):
        model.objects.filter(source=run).delete()
    if phase is APPLY:
        _remove_file(run)


def _remove_file(run: Import) -> None:
    """Keep nobody's data longer than it is needed."""
    names, run.file = [str(run.file.name), *recoding.unfinished(run)], ""
    for name in names:
        transaction.on_commit(partial(default_storage.delete, name))


@transaction.atomic
def _fail(import_id: int, phase: Phase, why: str) -> None:
    Import.objects.filter(pk=import_id, state=phase.state).update(
        state=ImportState.FAILED,
        stopped_state=phase.state,
        error=why,
        finished_at=timezone.now(),
    )


@transaction.atomic
def stop(import_id: int) -> None:
    """Stop an import behind the chunk under way. What was imported stays. Raises `StateError`."""
    run = Import.objects.select_for_update().get(pk=import_id)
    if run.state not in PHASES:
        raise StateError(f"This import is {run.get_state_display().lower()}: nothing to stop.")
    run.stopped_state, run.state = run.state, ImportState.STOPPED
    if run.stopped_state == ImportState.IMPORTING:
        run.customers_updated = sql.count_updated(run.pk)
    run.save()


@transaction.atomic
def resume(import_id: int) -> None:
    """Go on where an import was stopped or failed. Raises `StateError`."""
    run = Import.objects.select_for_update().get(pk=import_id)
    if run.state not in (ImportState.STOPPED, ImportState.FAILED) or not run.stopped_state:
        raise StateError(f"This import is {run.get_state_display().lower()}: it cannot go on.")
    phase = PHASES[run.stopped_state]
    run.state, run.stopped_state, run.error, run.finished_at = phase.state, "", "", None
    run.save()
    enqueue(run, phase)


def begin_undo(run: Import) -> None:
    """Let the queue undo an import; it is held by the caller, who knows that this can be done."""
    for model in (ImportSeen, ImportGiven):
        model.objects.filter(source=run).delete()
    run.state, run.stopped_state, run.error = UNDO.state, "", ""
    run.summary.pop("undo", None)
    if run.file:
        _remove_file(run)
    run.save()
    enqueue(run, UNDO)


@transaction.atomic
def discard(import_id: int) -> None:
    """Remove an import with its file and its problems. What was imported stays."""
    run = Import.objects.select_for_update().get(pk=import_id)
    _forget(run)
    if run.file:
        _remove_file(run)
    run.delete()


def enqueue(run: Import, phase: Phase) -> None:
    """Leave the rest of a phase to another task of the queue."""
    async_task(f"{run.app}.imports.{phase.verb}", run.pk)


@contextlib.contextmanager
def _rare_collection() -> Iterator[None]:
    """Look for garbage in cycles only now and then: a chunk is 100,000s of objects without any."""
    usual = gc.get_threshold()
    gc.set_threshold(500_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*usual)

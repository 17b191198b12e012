"""Files of CustomerIds for segments kept by hand: whom a line names is put into the segment.

Upload, progress, stop and resume are those of `customers.imports`. Who is in already stays as they
are. An import is undone by taking out whom it put in, unless they came in anew since; the summary
holds

    members   {"new": {"count"}, "known": {"count"}}   lines whose customers are not in yet, or are
    errors    [{"code", "about", "message", "count", "lines"}]
    undo      {"restored": customers taken out, "kept": customers}
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import IO, Any, Final, NamedTuple

from django.db import transaction
from django.db.models.functions import Now

from customers import lookups
from customers.imports import receiving, running
from customers.imports import undoing as of_values
from customers.imports.columns import unescaped
from customers.imports.layouts import CUSTOMER_ID
from customers.imports.options import OptionError, Options
from customers.imports.records import Chunk, Problem, plain
from customers.imports.reports import Tally
from customers.imports.running import APPLY, CHECK, StateError
from customers.imports.uploads import FileError
from customers.imports.work import Prepare, Work
from customers.models import Customer, Import, ImportKind, ImportTouched
from segments import definitions
from segments.memberships import Transition
from segments.models import Membership, Segment, SegmentKind

CHUNK_BYTES: Final = 128 << 10  # about 15,000 customers who enter in one transaction
ENTERED: Final = "entered"  # in Import.format: when the first and the last came in

Tell = Callable[[Sequence[Transition]], None]  # carries news to the floors above


@dataclass(frozen=True, kw_only=True)
class MemberOptions(Options):
    """How to read a file of members; `segment` is the key of a segment kept by hand."""

    segment: str = ""

    @classmethod
    def _check(cls, name: str, value: Any) -> None:
        if name != "segment":
            super()._check(name, value)
        elif not isinstance(value, str) or not _by_hand().filter(key=value).exists():
            keys = ", ".join(_by_hand().values_list("key", flat=True)[:20]) or "none yet"
            raise OptionError(name, f"No segment kept by hand has this key. There are: {keys}.")


def _by_hand() -> Any:
    return Segment.objects.filter(kind=SegmentKind.STATIC).order_by("key")


def create(
    file: IO[Any],
    *,
    app: str,
    name: str,
    options: Mapping[str, Any] | None = None,
    created_by: str = "",
) -> Import:
    """Keep a file of CustomerIds, CSV, also packed by gzip or zip; nothing happens yet.

    The option `segment` is needed. `app` is the one whose module `imports` runs it: there it is
    known who hears of members that enter. Raises `FileError` or `OptionError`.
    """
    given = {**(options or {})}
    if not MemberOptions.read(given).segment:
        raise OptionError("segment", "Say by “segment” which segment the customers are for.")
    kind = ImportKind.SEGMENT_MEMBERS
    run = Import(kind=kind, app=app, file_name=name, options=given, created_by=created_by)
    return receiving.receive(run, file, [CUSTOMER_ID], _describe)


def start_check(import_id: int) -> None:
    """Let the queue find out whom a file names, changing nothing. Raises `StateError`."""
    running.start(import_id, CHECK)


def start_check_again(import_id: int, options: Mapping[str, Any]) -> None:
    """Let the queue check a file once more, with other options.

    Raises `OptionError`, `FileError` if it cannot be read so, and `StateError` unless the file was
    checked and waits to be imported.
    """
    MemberOptions.read(options)
    running.start_again(
        import_id, options, lambda run: receiving.read_again(run, [CUSTOMER_ID], _describe)
    )


def start_apply(import_id: int) -> None:
    """Let the queue put in whom a file names, checked or not. Raises `StateError`."""
    running.start(import_id, APPLY)


def check(import_id: int) -> None:
    """Check a file as far as one task of the queue may."""
    running.work(import_id, CHECK, _prepared(_check))


def apply(import_id: int, tell: Tell) -> None:
    """Put in whom a file names, as far as one task of the queue may."""
    running.work(import_id, APPLY, _prepared(partial(_apply, tell)))


def example() -> str:
    """Return an example file."""
    return "customerId\r\nC-1001\r\nC-1002\r\n"


def _prepared(handle: Callable[[Import, Chunk], Tally]) -> Prepare:
    def prepare(run: Import) -> Work:
        blanked = run.format.get("blanked")
        return Work(lambda chunk, _: handle(run, chunk), basis=blanked, size=CHUNK_BYTES)

    return prepare


def _describe(columns: Sequence[str]) -> dict[str, Any]:
    if CUSTOMER_ID not in map(plain, columns):
        raise FileError(
            "The first line must name the columns, one of them customerId. It names: "
            f"{', '.join(columns)[:200]}."
        )
    return {"layout": "members"}


def _segment(run: Import) -> Segment:
    """Return the segment of an import. Raises `StateError` if it is gone."""
    segment = _by_hand().filter(key=run.options["segment"]).first()
    if segment is None:
        raise StateError(f"The segment “{run.options['segment']}” is gone.")
    found: Segment = segment
    return found


class _Named(NamedTuple):
    """Whom lines name, one after the other, and what is wrong with the other lines."""

    customer_ids: list[int]
    problems: list[Problem]


def _read(run: Import, chunk: Chunk) -> _Named:
    column = [plain(name) for name in run.format["columns"]].index(CUSTOMER_ID)
    lines = [
        (line, cells, unescaped(cells[column].strip()))
        for line, cells in chunk.records
        if any(cell.strip() for cell in cells)
    ]
    customer_of = lookups.by_external_id({text for _, _, text in lines})
    named, problems = [], [*chunk.problems]
    for line, cells, text in lines:
        if text in customer_of:
            named.append(customer_of[text])
        elif text:
            message = "No customer has this CustomerId."
            problems.append(Problem(line, "unknown_customer", message, cells))
        else:
            message = "The CustomerId is missing."
            problems.append(Problem(line, "no_customer_id", message, cells))
    return _Named(named, sorted(problems, key=lambda one: one.line))


def _check(run: Import, chunk: Chunk) -> Tally:
    named = _read(run, chunk)
    members = Membership.objects.filter(segment=_segment(run), customer__in=[*named.customer_ids])
    present = {*members.values_list("customer_id", flat=True)}
    known = sum(customer_id in present for customer_id in named.customer_ids)
    return _tally(named, new=len(named.customer_ids) - known, known=known)


def _apply(tell: Tell, run: Import, chunk: Chunk) -> Tally:
    named = _read(run, chunk)
    entered = definitions.add_members(_segment(run), {*named.customer_ids})
    tell(entered)
    if entered:
        _note(run, entered)
    new = len(entered)
    tally = _tally(named, new=new, known=len(named.customer_ids) - new)
    tally.updated = new
    return tally


def _tally(named: _Named, **members: int) -> Tally:
    found = {"members": +Counter(members)}
    return Tally(ok=len(named.customer_ids), problems=named.problems, found=found)


def _note(run: Import, entered: Sequence[Transition]) -> None:
    """Note who came in, and when, to tell them from those who come in anew later."""
    ids = sorted(each.customer_id for each in entered)
    ImportTouched.objects.create(source=run, line=run.lines_done + 1, created=[], updated=ids)
    at = entered[0].at.isoformat()
    first, _ = run.format.get(ENTERED, (at, at))
    run.format = {**run.format, ENTERED: (first, at)}


# Undoing


def is_undoable(run: Import) -> bool:
    """Tell whether an import put somebody in who could be taken out again."""
    is_ours = run.kind == ImportKind.SEGMENT_MEMBERS
    return is_ours and of_values.has_written(run) and ENTERED in run.format


@transaction.atomic
def start_undo(import_id: int) -> None:
    """Let the queue take out whom an import put in. Raises `StateError`."""
    run = Import.objects.select_for_update().get(pk=import_id)
    if not is_undoable(run):
        raise StateError("There is nothing to undo: this import has put nobody in.")
    _segment(run)
    running.begin_undo(run)


def undo(import_id: int, tell: Tell) -> None:
    """Take out whom an import put in, as far as one task of the queue may."""
    running.undo(import_id, partial(_take_back, tell))


def _take_back(tell: Tell, run: Import) -> bool:
    """Take out whom the next chunk put in; return whether there may be more."""
    chunk = ImportTouched.objects.filter(source=run, restored_at=None).order_by("line").first()
    if chunk is None:
        of_values.end_if_over(run)
        return False
    segment = _segment(run)
    since, until = map(datetime.fromisoformat, run.format[ENTERED])
    touched = Customer.objects.filter(pk__in=chunk.updated)
    merged = {*touched.exclude(merged_into=None).values_list("pk", flat=True)}
    here = Membership.objects.filter(segment=segment, customer__in={*chunk.updated} - merged)
    ours = here.filter(entered_at__gte=since, entered_at__lte=until)
    again = here.exclude(entered_at__gte=since, entered_at__lte=until)
    kept = {
        of_values.CHANGED: [*again.values_list("customer_id", flat=True)],
        of_values.MERGED: sorted(merged),
    }
    left = definitions.remove_members(segment, [*ours.values_list("customer_id", flat=True)])
    tell(left)
    of_values.keep(run, kept, restored=len(left))
    ImportTouched.objects.filter(pk=chunk.pk).update(restored_at=Now())
    return True

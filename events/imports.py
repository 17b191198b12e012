"""Files of events, from upload to the inbox: tills' purchases, or a past that another tool kept.

A line is an event: whom it is of (customerId, anonymousId or email), its name, when it happened,
and a property for every other column. It goes the way of all events: the pipeline knows copies by
their message id and finds out who is who. A line without one is known by its content and by
how many equal lines stand before it, so the same file uploaded again changes nothing, and two equal
purchases in one file are two.

Upload, progress, stop and resume are those of `customers.imports`, `undoing` tells how they are
undone; the summary holds

    events    {name: {"count"}}
    errors    [{"code", "about", "message", "count", "lines"}]
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import IO, Any, Final, NamedTuple

from customers import exact
from customers.fields import FieldValueError
from customers.imports import receiving, repeats, running, work
from customers.imports.columns import unescaped
from customers.imports.layouts import ADDED
from customers.imports.options import (
    OptionError,
    Options,
    date_reader,
    in_words_of,
    number_reader,
)
from customers.imports.records import Chunk, Problem, plain
from customers.imports.reports import Tally
from customers.imports.running import APPLY, CHECK
from customers.imports.uploads import FileError
from customers.models import Import, ImportKind
from events import cleaning, inbox, undoing
from events.cleaning import Envelope, RefusedError
from events.models import Source
from events.undoing import is_possible as is_undoable
from events.undoing import start as start_undo
from events.undoing import undo

__all__ = [
    "COLUMNS",
    "EventOptions",
    "apply",
    "check",
    "create",
    "example",
    "is_undoable",
    "start_apply",
    "start_check",
    "start_check_again",
    "start_undo",
    "undo",
]

MAX_COLUMN: Final = 200  # characters
AT_ONCE: Final = 500  # events in one request to the inbox
COLUMNS: Final = {
    "customerid": "userId",
    "userid": "userId",
    "anonymousid": "anonymousId",
    "email": "email",
    "event": "event",
    "eventname": "event",
    "timestamp": "timestamp",
    "occurredat": "timestamp",
    "messageid": "messageId",
}
WHO: Final = ("userId", "anonymousId", "email")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?").fullmatch


@dataclass(frozen=True, kw_only=True)
class EventOptions(Options):
    """How to read a file of events; `source` is the key of the source they are of.

    `event` is the name of all events of a file that has no column for it. `columns` says what its
    columns are: {name in the file: one of COLUMNS, or a property, or "" to leave it out}.
    """

    source: str = ""
    event: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def _check(cls, name: str, value: Any) -> None:
        if name == "event":
            if not isinstance(value, str) or len(value) > cleaning.MAX_NAME or "\0" in value:
                raise OptionError(name, "“event” is the name of an event.")
        elif name == "columns":
            _check_columns(value)
        elif name != "source":
            super()._check(name, value)
        elif not Source.objects.filter(key=value).exists():
            keys = ", ".join(Source.objects.values_list("key", flat=True)) or "none yet"
            raise OptionError(name, f"There is no source “{value}”. There are: {keys}.")


def _check_columns(value: Any) -> None:
    is_good = isinstance(value, dict) and all(
        isinstance(text, str) and len(text) <= MAX_COLUMN and "\0" not in text
        for pair in value.items()
        for text in pair
    )
    if not is_good:
        raise OptionError("columns", "“columns” is an object: name in the file → what it is.")


def create(
    file: IO[Any],
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    created_by: str = "",
) -> Import:
    """Keep a file of events, CSV, also packed by gzip or zip; nothing happens yet.

    The option `source` is needed. Raises `FileError` or `OptionError`.
    """
    given = {**(options or {})}
    read = EventOptions.read(given)
    if not read.source:
        raise OptionError("source", "Say by “source” where the events are from.")
    run = Import(
        kind=ImportKind.EVENTS, app="events", file_name=name, options=given, created_by=created_by
    )
    return receiving.receive(run, file, _wanted(read), partial(_describe, read))


def _wanted(options: EventOptions) -> list[str]:
    """Name the columns of which a file must have one."""
    if options.event or options.columns:
        return [*COLUMNS, *(plain(name) for name in options.columns)]
    return ["event", "eventname"]


def start_check(import_id: int) -> None:
    """Let the queue find out what is in a file, changing nothing. Raises `StateError`."""
    running.start(import_id, CHECK)


def start_check_again(import_id: int, options: Mapping[str, Any]) -> None:
    """Let the queue check a file once more, with other options.

    Raises `OptionError`, `FileError` if it cannot be read so, and `StateError` unless the file was
    checked and waits to be imported.
    """
    read = EventOptions.read(options)

    def read_again(run: Import) -> None:
        receiving.read_again(run, _wanted(read), partial(_describe, read))

    running.start_again(import_id, options, read_again)


def start_apply(import_id: int) -> None:
    """Let the queue import a file, checked or not. Raises `StateError`."""
    running.start(import_id, APPLY)


def check(import_id: int) -> None:
    """Check a file as far as one task of the queue may."""
    running.work(import_id, CHECK, work.by_records(_check))


def apply(import_id: int) -> None:
    """Import a file as far as one task of the queue may."""
    running.work(import_id, APPLY, work.by_records(_apply))


def example() -> str:
    """Return an example file."""
    return (
        "customerId,event,timestamp,orderId,revenue,currency\r\n"
        "C-1001,Order Completed,2026-01-31T12:30:00+01:00,T-4711,49.90,CHF\r\n"
    )


class _Layout(NamedTuple):
    """Which column holds what: members of an event, and properties, by index."""

    members: Mapping[int, str]
    properties: Mapping[int, str]


def _layout(columns: Sequence[str], options: EventOptions) -> _Layout:
    """Find out which columns hold what. Raises `FileError` if something needed is missing."""
    start = len(ADDED) if tuple(columns[: len(ADDED)]) == ADDED else 0  # a file of errors, mended
    members: dict[int, str] = {}
    properties: dict[int, str] = {}
    meant = {plain(name): target for name, target in options.columns.items()}
    for index, column in enumerate(columns[start:], start):
        name = meant.get(plain(column), column)
        member = COLUMNS.get(plain(name))
        if member and member not in members.values():
            members[index] = member
        elif name:
            properties[index] = name
    needed = ["timestamp"] if options.event else ["event", "timestamp"]
    missing = [name for name in needed if name not in members.values()]
    if not set(WHO) & set(members.values()):
        missing.append("customerId, anonymousId or email")
    if missing:
        raise FileError(
            "The first line must name the columns; there is none called "
            f"{' and none '.join(missing)}. It names: {', '.join(columns)[:200]}. "
            "Are they called otherwise? Then say which column is what."
        )
    return _Layout(members, properties)


def _describe(options: EventOptions, columns: Sequence[str]) -> dict[str, Any]:
    """Say what the columns are taken for."""
    layout = _layout(columns, options)
    return {"layout": "events", "properties": [*layout.properties.values()]}


def _check(run: Import, chunk: Chunk) -> Tally:
    return _read(run, chunk)[0]


def _apply(run: Import, chunk: Chunk) -> Tally:
    """Put the good events of the chunk into the inbox, with its transaction."""
    tally, events = _read(run, chunk)
    source = Source.objects.get(key=run.options["source"])
    undoing.note_beginning(run)
    for start in range(0, len(events), AT_ONCE):
        batch = {"batch": events[start : start + AT_ONCE], "context": {undoing.MARK: run.pk}}
        body = exact.dumps(batch)
        inbox.accept_for(source, cleaning.HISTORICAL, body.encode())
    return tally


def _read(run: Import, chunk: Chunk) -> tuple[Tally, list[dict[str, Any]]]:
    """Read a chunk: what it holds for the report, and its good events."""
    reader = _Reader(run)
    ordinals = repeats.ordinals(run.pk, ["\0".join(cells) for _, cells in chunk.records])
    problems = [*chunk.problems]
    events = []
    for (line, cells), ordinal in zip(chunk.records, ordinals, strict=True):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            events.append(reader.read(cells, ordinal))
        except RefusedError as error:
            problems.append(Problem(line, error.code, str(error), cells))
        except FieldValueError as error:
            problems.append(Problem(line, error.code, str(error), cells))
    names = Counter(str(event["event"]) for event in events)
    tally = Tally(ok=len(events), problems=problems, found={"events": names})
    return tally, events


class _Reader:
    """Turns cells into events that the pipeline will take."""

    def __init__(self, run: Import) -> None:
        options = EventOptions.read(run.options)
        self._layout = _layout(run.format["columns"], options)
        self._options = options
        self._event = options.event
        self._date = date_reader(options.dates)
        self._number = number_reader(options.numbers)
        source = Source.objects.get(key=options.source)
        self._envelope = Envelope(
            source=source, call="track", received_at=run.created_at, is_historical=True
        )

    def read(self, cells: Sequence[str], ordinal: int) -> dict[str, Any]:
        """Return the event of a line. Raises `RefusedError` or `FieldValueError`."""
        texts = [unescaped(cell.strip()) for cell in cells]
        event: dict[str, Any] = {
            member: texts[index] for index, member in self._layout.members.items() if texts[index]
        }
        if self._event:
            event.setdefault("event", self._event)
        if "timestamp" not in event:
            raise RefusedError("no_time", "The line does not say when it happened.")
        event["timestamp"] = self._date(event["timestamp"])
        if email := event.pop("email", None):
            event["traits"] = {"email": email}
        event["properties"] = {
            name: self._value(texts[index])
            for index, name in self._layout.properties.items()
            if texts[index]
        }
        event.setdefault("messageId", _message_id(cells, ordinal))
        event["type"] = "track"
        try:
            cleaning.clean(event, self._envelope)
        except RefusedError as error:
            raise self._in_words_of_the_file(error, texts) from error
        return event

    def _in_words_of_the_file(self, error: RefusedError, texts: Sequence[str]) -> RefusedError:
        """Say of a time that cannot be read how the file writes dates, if not as we do.

        Another error is returned, as by `in_words_of`.
        """
        if error.code != "bad_time":
            return RefusedError(error.code, str(error))
        given = [texts[at] for at, own in self._layout.members.items() if own == "timestamp"]
        fault = in_words_of(self._options, given[0], FieldValueError("not_a_datetime", str(error)))
        return RefusedError(error.code, str(fault))

    def _value(self, text: str) -> str | Decimal:
        """A number if the text is one in the style of the file, else the text."""
        try:
            number = self._number(text)
        except FieldValueError:
            return text
        return Decimal(number) if _NUMBER(number) else text


def _message_id(cells: Sequence[str], ordinal: int) -> str:
    content = "\0".join([*cells, str(ordinal)])
    return "file-" + hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()

"""Files of customers' values, from upload to result.

A file is checked, which changes nothing, and then applied; or applied at once. Both run in the
queue, in chunks that commit: `Import.progress` says how far they are, `Import.summary` what they
found. The summary holds

    customers       {"new": {"count"}, "known": {"count"}}
    fields          {name: {"count", "type", "example"}}       values the file gives
    unknown_fields  {name: {"count", "suggestion"}}            names in the file that are no field
    warnings        {"repeated": {"count"},                    values given again further down
                     "rounded": {"count"},                     CustomerIds like 1.23E+15
                     "erased": {"count"}}                      erased customers, left out
    undo            {"restored", "removed", "kept"}            customers, once it is undone
    errors          [{"code", "about", "message", "count", "lines"}]

`Import.options` is described by `CustomerOptions`; `Import.format` holds encoding, packing,
delimiter, columns and layout ("long", "wide" or "ids").
"""

from collections.abc import Mapping
from typing import IO, Any

from customers import fields
from customers.imports import layouts, receiving, records, running, values
from customers.imports.options import CustomerOptions, OptionError, Options
from customers.imports.reports import error_file, example_file, without_examples
from customers.imports.running import APPLY, CHECK, StateError, discard, resume, stop
from customers.imports.undoing import is_possible as is_undoable
from customers.imports.undoing import kept_file, undo
from customers.imports.undoing import start as start_undo
from customers.imports.uploads import FileError, codec
from customers.imports.waking import wake_idle
from customers.models import Import, ImportKind, ImportState

__all__ = [
    "CustomerOptions",
    "FileError",
    "OptionError",
    "Options",
    "StateError",
    "apply",
    "check",
    "codec",
    "create",
    "discard",
    "earlier",
    "error_file",
    "example",
    "is_undoable",
    "kept_file",
    "map_alike",
    "resume",
    "start_apply",
    "start_check",
    "start_check_again",
    "start_undo",
    "stop",
    "undo",
    "wake_idle",
    "without_examples",
]


def create(
    file: IO[Any],
    *,
    name: str,
    options: Mapping[str, Any] | None = None,
    created_by: str = "",
) -> Import:
    """Keep a file of customers' values, CSV, also packed by gzip or zip; nothing happens yet.

    `name` is the file's, `created_by` says for people who uploaded it. Raises `FileError` or
    `OptionError`.
    """
    given = {**(options or {})}
    CustomerOptions.read(given)
    run = Import(
        kind=ImportKind.CUSTOMER_FIELDS, file_name=name, options=given, created_by=created_by
    )
    return receiving.receive(run, file, [layouts.CUSTOMER_ID], values.describe)


def map_alike(run: Import) -> None:
    """Take columns of a wide file for the fields whose names differ by case and marks alone.

    `First Name` is firstName, unless another column is it, or two fields could be meant.
    """
    columns, known = run.format["columns"], fields.known()
    if layouts.find(columns).name is not None:
        return
    field_of: dict[str, set[str]] = {}
    for name in known.keys() - {*columns}:
        field_of.setdefault(records.plain(name), set()).add(name)
    mapping: dict[str, str] = {}
    for column in columns:
        alike = field_of.get(records.plain(column), set()) - {*mapping.values()}
        if column not in known and len(alike) == 1:
            mapping[column] = alike.pop()
    if mapping:
        run.options = {**run.options, "fields": {**mapping, **run.options.get("fields", {})}}
        run.save(update_fields=["options"])


def start_check(import_id: int) -> None:
    """Let the queue find out what is in a file, changing nothing. Raises `StateError`."""
    running.start(import_id, CHECK)


def start_check_again(import_id: int, options: Mapping[str, Any]) -> None:
    """Let the queue check a file once more, with other options.

    Raises `OptionError`, `FileError` if it cannot be read so, and `StateError` unless the file was
    checked and waits to be imported.
    """
    CustomerOptions.read(options)
    running.start_again(import_id, options, _read_again)


def _read_again(run: Import) -> None:
    receiving.read_again(run, [layouts.CUSTOMER_ID], values.describe)


def start_apply(import_id: int) -> None:
    """Let the queue import a file, checked or not. Raises `StateError`."""
    running.start(import_id, APPLY)


def check(import_id: int) -> None:
    """Check a file as far as one task of the queue may."""
    running.work(import_id, CHECK, values.check)


def apply(import_id: int) -> None:
    """Import a file as far as one task of the queue may."""
    running.work(import_id, APPLY, values.apply)


def earlier(run: Import) -> Import | None:
    """Return the last import of a file with the very same content, if it was ever imported."""
    same = Import.objects.filter(sha256=run.sha256, kind=run.kind, state=ImportState.DONE)
    return same.exclude(pk=run.pk).order_by("-pk").first()


def example() -> str:
    """Return an example file, made of the fields there are."""
    return example_file(fields.known().values())

"""Lists as files: written in the background, a chunk at a time, fetched by who asked for them."""

import logging
import os
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan
from django.http import QueryDict
from django_q.tasks import async_task

from cdp.exports import writing
from cdp.exports.kinds import KINDS, Kind
from cdp.models import Export
from customers import clock, masking
from customers.masking import Mask

KEPT: Final = timedelta(days=7)  # then the file is removed
CHUNK: Final = 2_000  # rows in memory
SLICE: Final = 20  # seconds of work in one task; the queue has others to serve
TASK: Final = "cdp.exports.run"

_log = logging.getLogger(__name__)


class TooManyRowsError(Exception):
    """More rows than a file of this format holds; the message is for people."""


@transaction.atomic
def create(what: str, format_: str, query: str, user: Any) -> Export:
    """Begin an export of what the user may see now; the queue writes it.

    Personal data are masked if the user may not see them when it is written.
    """
    sweep()
    export = Export(what=what, format=format_, query=query, created_by=user)
    export.columns = KINDS[what].columns()
    export.file.save(f"{uuid.uuid4()}.{format_}", ContentFile(b""), save=False)
    export.save()
    async_task(TASK, export.pk)
    return export


def run(export_id: int) -> None:
    """Write for some seconds, then leave the rest to another task. May run twice, or resume."""
    export = Export.objects.select_related("created_by").filter(pk=export_id).first()
    if export is None or export.finished_at or export.error:
        return
    if not KINDS[export.what].may_read(export.created_by):
        _fail(export, "Whoever asked for it may not see this any more.")
        return
    try:
        with masking.showing_to(export.created_by) as mask:
            is_done = _write(export, mask, time.monotonic() + SLICE)
    except TooManyRowsError as error:
        _fail(export, str(error))
        return
    except (ValueError, ValidationError, IncorrectLookupParameters):
        _log.exception("export %s", export.pk)
        _fail(export, "What the list was filtered by cannot be read any more. Export it once more.")
        return
    if not is_done:
        async_task(TASK, export.pk)


def is_expired(export: Export) -> bool:
    return clock.now() > export.created_at + KEPT


def remove(export: Export) -> None:
    """Remove an export with its file."""
    export.file.delete(save=False)
    export.delete()


def sweep() -> None:
    """Remove exports that have expired."""
    for export in Export.objects.filter(created_at__lt=clock.now() - KEPT):
        remove(export)


def _fail(export: Export, message: str) -> None:
    export.error = message
    export.save(update_fields=["error"])
    Path(export.file.path).write_bytes(b"")


def _write(export: Export, mask: Mask, until: float) -> bool:
    """Append chunks until the time is over; say whether the file is complete.

    What was written after the last commit, by a task that died, is cut off first.
    """
    kind = KINDS[export.what]
    found = kind.rows_of(QueryDict(export.query), export.created_by)
    if export.rows_total is None:
        export.rows_total = _count(found)
    with Path(export.file.path).open("r+b") as file:
        file.truncate(export.offset)
        file.seek(export.offset)
        if not export.offset:
            file.write(writing.head(export.columns, export.format))
        while rows := _next(found, kind, export.after):
            _append(export, file, kind.rows(rows, mask))
            export.after = [_jsonable(getattr(rows[-1], name)) for name in kind.order]
            export.save()
            if time.monotonic() > until:
                return False
        file.write(writing.tail(export.format))
    if export.format == Export.Format.XLSX:
        writing.workbook(Path(export.file.path), export.columns)
    export.finished_at = clock.now()
    export.save()
    _log.info("export %s: %s rows", export.pk, export.rows_done)
    return True


def _append(export: Export, file: Any, rows: Sequence[Any]) -> None:
    if export.format == Export.Format.XLSX and export.rows_done + len(rows) > writing.XLSX_ROWS:
        raise TooManyRowsError(
            f"There are more than {writing.XLSX_ROWS:,} rows, too many for Excel: choose CSV."
        )
    is_first = not export.rows_done
    file.write(writing.chunk(rows, export.columns, export.format, is_first=is_first))
    file.flush()
    os.fsync(file.fileno())
    export.offset = file.tell()
    export.rows_done += len(rows)


def _next(found: QuerySet[Any], kind: Kind, after: Sequence[Any]) -> list[Any]:
    if after and len(after) == 1:
        found = found.filter(**{f"{kind.order[0]}__gt": after[0]})
    elif after:
        found = found.filter(TupleGreaterThan(Tuple(*kind.order), list(after)))
    return list(found.order_by(*kind.order)[:CHUNK])


def _count(found: QuerySet[Any]) -> int:
    return found.order_by().count()


def _jsonable(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)

"""Lists as files: written in the background, a chunk at a time, fetched by who asked for them."""

import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Max, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan
from django.http import QueryDict
from django_q.tasks import async_task

from cdp.apikeys import ApiKeyUser
from cdp.exports import writing
from cdp.exports.kinds import KINDS, Kind
from cdp.models import Export
from customers import clock, masking
from customers.masking import Mask

KEPT: Final = timedelta(days=7)  # then the file is removed
CHUNK: Final = 2_000  # rows in memory
SLICE: Final = 20  # seconds of work in one task; the queue has others to serve
TASK: Final = "cdp.exports.run"
SWEPT_EVERY: Final = 60.0  # seconds
_PROGRESS: Final = ("rows_total", "rows_done", "after", "offset", "finished_at")
_swept_at = {"": float("-inf")}  # of this process

_log = logging.getLogger(__name__)


class TooManyRowsError(Exception):
    """More rows than a file of this format holds; the message is for people."""


def create(
    what: str,
    format_: str,
    query: str,
    user: Any,
    *,
    filters: Mapping[str, str] | None = None,
    columns: Sequence[str] = (),
) -> Export:
    """Begin an export of what the user, or API key, may see now; the queue writes it.

    `query` is of the admin's list, `filters` are those of the API, which stand in its place.
    `columns` are those of the file, all that there are if it is empty.
    Personal data are masked if the user may not see them when it is written. Leaves nothing
    behind if it fails, as on a full disk.
    """
    sweep()
    export = Export(what=what, format=format_, query=query, filters=filters)
    if isinstance(user, ApiKeyUser):
        export.api_key = user.key
    else:
        export.created_by = user
    export.columns = [*columns] or KINDS[what].columns()
    export.file.save(f"{uuid.uuid4()}.{format_}", ContentFile(b""), save=False)
    try:
        with transaction.atomic():
            export.save()
            async_task(TASK, export.pk)
    except Exception:
        export.file.delete(save=False)
        raise
    return export


def run(export_id: int) -> None:
    """Write for some seconds, then leave the rest to another task. May run twice, or resume."""
    found = Export.objects.select_related("created_by", "api_key")
    export = found.filter(pk=export_id).first()
    if export is None or export.finished_at or export.error:
        return
    if not KINDS[export.what].may_read(owner(export)):
        _fail(export, "Whoever asked for it may not see this any more.")
        return
    try:
        with masking.showing_to(owner(export)) as mask:
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


def owner(export: Export) -> Any:
    """Return the user, or the API key as a user, who asked for it."""
    return export.created_by if export.api_key is None else ApiKeyUser(export.api_key)


def size(export: Export) -> int | None:
    """Return the bytes of the file, if it is complete and still on the disk."""
    path = Path(export.file.path)
    return path.stat().st_size if export.finished_at and path.exists() else None


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


def forget_people() -> None:
    """Have all files removed that may hold who is being erased. Call it in that transaction."""
    newest = Export.objects.aggregate(newest=Max("id"))["newest"]
    if newest:
        async_task("cdp.exports.remove_up_to", newest)


def remove_up_to(export_id: int) -> None:
    """Remove this and all older exports, but for those that hold nobody."""
    for export in Export.objects.filter(pk__lte=export_id).exclude(what="fields"):
        remove(export)


def sweep_now_and_then() -> None:
    """Let the queue, which has the files, remove what has expired; asked once a minute at most."""
    if time.monotonic() - _swept_at[""] < SWEPT_EVERY:
        return
    _swept_at[""] = time.monotonic()
    if Export.objects.filter(created_at__lt=clock.now() - KEPT).exists():
        async_task("cdp.exports.sweep")


def _fail(export: Export, message: str) -> None:
    export.error = message
    export.save(update_fields=["error"])
    Path(export.file.path).write_bytes(b"")


def _write(export: Export, mask: Mask, until: float) -> bool:
    """Append chunks until the time is over; say whether the file is complete.

    What was written after the last commit, by a task that died, is cut off first.
    """
    kind = KINDS[export.what]
    found = _rows_of(export, kind)
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
            is_wanted = _keep(export)
            if not is_wanted or time.monotonic() > until:
                return not is_wanted
        file.write(writing.tail(export.format))
    if export.format == Export.Format.XLSX:
        writing.workbook(Path(export.file.path), export.columns)
    export.finished_at = clock.now()
    _keep(export)
    _log.info("export %s: %s rows", export.pk, export.rows_done)
    return True


def _keep(export: Export) -> bool:
    """Commit how far it is; say whether anybody still wants it: it may be removed meanwhile."""
    progress = {name: getattr(export, name) for name in _PROGRESS}
    return bool(Export.objects.filter(pk=export.pk).update(**progress))


def _rows_of(export: Export, kind: Kind) -> QuerySet[Any]:
    if export.filters is not None:
        return kind.filtered(export.filters)
    return kind.rows_of(QueryDict(export.query), owner(export))


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

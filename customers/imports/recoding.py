"""Kept files that turn out to be written in other characters: rewritten, a piece at a time.

A file may have gigabytes, so the queue does it, ahead of checking the file. While it goes on,
`Import.format["recoding"]` holds

    {"from": name of the encoding before, "file": what is written, "written": its bytes}

and `Import.offset` says how much of the file before is done.
"""

import codecs
import io
import uuid
from typing import IO, Any, Final

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction

from customers.imports import uploads
from customers.models import Import

KEY: Final = "recoding"
PIECE: Final = 4 << 20  # bytes rewritten at once


def is_due(run: Import) -> bool:
    return KEY in run.format


def start(file: IO[bytes], before: str, encoding: str) -> IO[bytes]:
    """Return how a kept file starts when what was read as `before` is read in `encoding`.

    Raises `FileError` for UTF-16, whose bytes are not kept.
    """
    file.seek(0)
    return io.BytesIO(uploads.recoded(_piece(file), before, encoding).removeprefix(codecs.BOM_UTF8))


def plan(before: str) -> dict[str, Any]:
    """Return what the format of an import holds for its file to be rewritten."""
    return {"from": before, "file": "", "written": 0}


def go_on(run: Import) -> None:
    """Rewrite the next piece; after the last, the import has the new file.

    Call it inside a transaction, with the import held, and save the import.
    """
    todo = run.format[KEY]
    if not todo["file"]:
        todo["file"] = default_storage.save(f"imports/{uuid.uuid4()}.csv", ContentFile(b""))
        run.offset = 0
    with default_storage.open(str(run.file.name), "rb") as before:
        before.seek(run.offset)
        piece = _piece(before)
    text = uploads.recoded(piece, todo["from"], uploads.codec(run.format["encoding"]))
    if run.offset == 0:
        text = text.removeprefix(codecs.BOM_UTF8)
    with default_storage.open(todo["file"], "r+b") as after:
        after.seek(todo["written"])  # what a step that failed has written is written anew
        after.write(text)
        after.truncate()
    todo["written"] += len(text)
    run.offset += len(piece)
    if run.offset >= run.file_size:
        _finish(run)


def unfinished(run: Import) -> list[str]:
    """Name what was written of a file so far."""
    file = run.format.get(KEY, {}).get("file")
    return [file] if file else []


def _finish(run: Import) -> None:
    done, before = run.format.pop(KEY), str(run.file.name)
    run.file, run.file_size = done["file"], done["written"]
    run.offset = run.format["offset"]
    transaction.on_commit(lambda: default_storage.delete(before))


def _piece(file: IO[bytes]) -> bytes:
    """Read some whole lines; of a line that is longer, and so refused, a part."""
    data = file.read(PIECE)
    end = data.rfind(b"\n") + 1
    return data[:end] if end and len(data) == PIECE else data

"""Taking in an uploaded file: it is kept, and an import waits for the word to go."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final

from django.core.files.base import File
from django.core.files.storage import default_storage

from customers.imports import records, uploads
from customers.imports.options import AUTO, guess
from customers.imports.records import Header
from customers.models import Import

_SAMPLE: Final = 256 << 10  # bytes by which it is found out how a file is written


def receive(
    run: Import,
    file: IO[Any],
    wanted: Sequence[str],
    describe: Callable[[Sequence[str]], Mapping[str, Any]],
) -> Import:
    """Keep a file and save its import, which has its kind, name and options already.

    `wanted` are names of columns, `plain`, of which there must be one. `describe` turns the
    columns into what is to be said of the format besides. Raises `FileError` for a file that
    cannot be read at all.
    """
    run.file_name = run.file_name.replace("\\", "/").rpartition("/")[2][-200:] or "file.csv"
    with uploads.unpacked(file, run.options.get("encoding", "")) as upload:
        header = records.read_header(upload.content, wanted, run.options.get("delimiter", ""))
        run.format = {
            "encoding": upload.encoding,
            "packing": upload.packing,
            **header._asdict(),
            **describe(header.columns),
        }
        _settle(run, upload.content, header)
        run.file_size, run.sha256 = upload.size, upload.sha256
        upload.content.seek(0)
        run.file.save(f"{uuid.uuid4()}.csv", File(upload.content), save=False)
    try:
        run.save()
    except BaseException:
        default_storage.delete(str(run.file.name))
        raise
    return run


def _settle(run: Import, content: IO[bytes], header: Header) -> None:
    """Find out how numbers and dates are written, where that was not chosen."""
    chunk = records.read_chunk(content, header, header.offset, header.line, _SAMPLE)
    found = guess(cell for _, cells in chunk.records for cell in cells)
    run.format["detected"] = {"numbers": found.numbers, "dates": found.dates}
    run.format["doubts"] = found.doubts
    for name, style in run.format["detected"].items():
        if run.options.get(name) == AUTO:
            run.options = {**run.options, name: style}

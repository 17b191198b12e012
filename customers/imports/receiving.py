"""Taking in an uploaded file: it is kept, and an import waits for the word to go."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, Final, TypeAlias

from django.core.files.base import File
from django.core.files.storage import default_storage

from customers.imports import recoding, records, uploads
from customers.imports.options import AUTO, guess
from customers.imports.records import Header
from customers.imports.uploads import Upload
from customers.models import Import

_SAMPLE: Final = 256 << 10  # bytes by which it is found out how a file is written


Describe: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any]]


def receive(run: Import, file: IO[Any], wanted: Sequence[str], describe: Describe) -> Import:
    """Keep a file and save its import, which has its kind, name and options already.

    `wanted` are names of columns, `plain`, of which there must be one. `describe` turns the
    columns into what is to be said of the format besides. Raises `FileError` for a file that
    cannot be read at all.
    """
    run.file_name = run.file_name.replace("\\", "/").rpartition("/")[2][-200:] or "file.csv"
    with uploads.unpacked(file, run.options.get("encoding", "")) as upload:
        _keep(run, upload, wanted, describe)
        run.sha256 = upload.sha256
    try:
        run.save()
    except BaseException:
        default_storage.delete(str(run.file.name))
        raise
    return run


def read_again(run: Import, wanted: Sequence[str], describe: Describe) -> None:
    """Read a kept file by the delimiter and encoding that its options name now.

    Its columns may be others then; the queue rewrites it, if its characters are. Call it inside a
    transaction, and save the import. Raises `FileError`, and leaves the import as it was.
    """
    present, name = uploads.codec(run.format["encoding"]), run.format["encoding"]
    encoding = run.options.get("encoding") or present
    delimiter = run.options.get("delimiter") or run.format["delimiter"]
    if (encoding, delimiter) == (present, run.format["delimiter"]):
        return
    with run.file.open("rb") as kept:
        if encoding == present:
            _describe(run, kept, wanted, describe)
            return
        _describe(run, recoding.start(kept, name, encoding), wanted, describe)
    run.format |= {"encoding": uploads.ENCODINGS[encoding], recoding.KEY: recoding.plan(name)}


def _describe(run: Import, content: IO[bytes], wanted: Sequence[str], describe: Describe) -> None:
    """Note how a file is written whose encoding and packing are noted already."""
    header = records.read_header(content, wanted, run.options.get("delimiter", ""))
    about = {name: run.format[name] for name in ("encoding", "packing")}
    run.format = {**about, **header._asdict(), **describe(header.columns)}
    _settle(run, content, header)


def _keep(run: Import, upload: Upload, wanted: Sequence[str], describe: Describe) -> None:
    """Note how a file is written, and keep it."""
    run.format = {"encoding": upload.encoding, "packing": upload.packing}
    _describe(run, upload.content, wanted, describe)
    run.file_size = upload.size
    upload.content.seek(0)
    name = f"{uuid.uuid4()}.csv"
    try:
        run.file.save(name, File(upload.content), save=False)
    except OSError:  # the disk is full: what was written must not keep it so
        default_storage.delete(run.file.field.generate_filename(run, name))
        raise


def _settle(run: Import, content: IO[bytes], header: Header) -> None:
    """Find out how numbers and dates are written, where that was not chosen."""
    chunk = records.read_chunk(content, header, header.offset, header.line, _SAMPLE)
    found = guess(cell for _, cells in chunk.records for cell in cells)
    run.format["detected"] = {"numbers": found.numbers, "dates": found.dates}
    run.format["doubts"] = found.doubts
    for name, style in run.format["detected"].items():
        if run.options.get(name) == AUTO:
            run.options = {**run.options, name: style}

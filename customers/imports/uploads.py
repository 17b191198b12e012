"""Uploaded files: unpacked, their encoding detected, kept as UTF-8 with plain line ends."""

import codecs
import contextlib
import gzip
import hashlib
import io
import itertools
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final, cast

MAX_BYTES: Final = 10 * 1024**3  # of a file, unpacked
BLOCK: Final = 1 << 20

MAX_RATIO: Final = 200  # of unpacked to packed, for what is larger than a browser would send
FREE_BYTES: Final = 100 << 20  # unpacked, up to which the ratio does not matter

NO_TEXT: Final = "This is not a text file. Save your table as CSV and upload that file."
_EXCEL: Final = "This is an Excel workbook. Save it as “CSV UTF-8” and upload that file."
_PACKED_TWICE: Final = "The file inside is packed once more. Unpack it, and upload the CSV itself."
_OTHERS: Final[Mapping[bytes, str]] = {  # what files begin with
    b"\xd0\xcf\x11\xe0": _EXCEL,
    b"%PDF-": "This is a PDF. Export the table as CSV from where it came from, and upload that.",
    b"Rar!": "RAR archives cannot be read. Upload the CSV file itself, or pack it as .zip.",
    b"7z\xbc\xaf": "7z archives cannot be read. Upload the CSV file itself, or pack it as .zip.",
    b"\xff\xfe\0\0": "This file is in UTF-32. Save it as “CSV UTF-8” and upload that file.",
    b"\0\0\xfe\xff": "This file is in UTF-32. Save it as “CSV UTF-8” and upload that file.",
    b"\x1f\x8b": _PACKED_TWICE,
    b"PK\x03\x04": _PACKED_TWICE,
    b"[{": "This is JSON, not a table. Save your table as CSV and upload that file.",
    b"{": "This is JSON, not a table. Save your table as CSV and upload that file.",
    b"PAR1": "This is a Parquet file. Export the table as CSV and upload that file.",
}
_IN_32_BITS: Final = re.compile(rb"[^\0]\0\0\0|\0\0\0[^\0]").match
_PAGES: Final = (b"<!doctype", b"<html", b"<?xml")
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
ENCODINGS: Final = {  # that may be chosen
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "cp1252": "Windows-1252",
    "iso8859-15": "Latin-9",
    "mac-roman": "Mac Roman",
    "cp850": "DOS (code page 850)",
}
_NAMES: Final = {
    **ENCODINGS,
    "utf-8-sig": "UTF-8 with BOM",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
}
# Letters with accents stand in other bytes in Mac Roman than in Windows-1252 and its like.
_MAC_LETTERS: Final = bytes({*range(0x80, 0xA0)} - {0x91, 0x92, 0x93, 0x94, 0x96, 0x97, 0x85})
_WINDOWS_LETTERS: Final = bytes(range(0xC0, 0x100))
_UNREADABLE: Final = "\udcff"  # stands where bytes mean nothing in the file's encoding


class FileError(ValueError):
    """A file that cannot be imported at all; the message is for whoever uploaded it."""


@dataclass
class Upload:
    """A file as we keep it: `content` is UTF-8 with \\n at the end of lines.

    `sha256` is of the file as it was uploaded, but unpacked. A byte that had no meaning in the
    file's encoding is kept as a byte that has none in UTF-8.
    """

    content: IO[bytes]
    size: int
    sha256: str
    encoding: str
    packing: str


@contextlib.contextmanager
def unpacked(file: IO[Any], encoding: str = "") -> Iterator[Upload]:
    """Give the content of an upload, gzip or zip or neither, in a temporary file.

    The encoding is one of `ENCODINGS`, or found out if it is empty. Reads the file twice, never
    whole into memory. Raises `FileError`.
    """
    packing = _packing(file)
    digest = hashlib.sha256()
    found = _detect(_blocks(file, packing), digest)
    if not encoding or (encoding == "utf-16" and found.startswith("utf-16")):
        encoding = found
    if encoding == "utf-16":
        raise FileError("This file is not in UTF-16. Leave it to us to find out its characters.")
    with tempfile.TemporaryFile() as content:
        for text in _decoded(_blocks(file, packing), encoding):
            content.write(text.encode("utf-8", "surrogateescape"))
        size = content.tell()
        content.seek(0)
        yield Upload(content, size, digest.hexdigest(), _NAMES[encoding], packing)


def codec(name: str) -> str:
    """Return which of `ENCODINGS` an import's format names, such as "UTF-8 with BOM"."""
    found = next(key for key, shown in _NAMES.items() if shown == name)
    return "utf-8" if found == "utf-8-sig" else found


def recoded(kept: bytes, name: str, encoding: str) -> bytes:
    """Return whole lines of a kept file, which was decoded as `name` says, decoded otherwise.

    Bytes that meant nothing may mean something now. Raises `FileError` for UTF-16, whose bytes
    are not kept.
    """
    old = codec(name)
    if "utf-16" in (old, encoding):
        raise FileError("UTF-16 cannot be read as another encoding. Upload the file again.")
    given = kept.decode("utf-8", "surrogateescape").encode(old, "surrogateescape")
    return given.decode(encoding, "surrogateescape").encode("utf-8", "surrogateescape")


def _packing(file: IO[Any]) -> str:
    file.seek(0)
    start = file.read(8)
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zip" if start.startswith((b"PK\x03\x04", b"PK\x05\x06")) else ""


def _blocks(file: IO[Any], packing: str) -> Iterator[bytes]:
    packed = file.seek(0, io.SEEK_END)
    file.seek(0)
    size = 0
    try:
        with _opened(file, packing) as plain:
            while block := plain.read(BLOCK):
                if not size:
                    _refuse_other(block)
                size += len(block)
                if size > MAX_BYTES:
                    raise FileError(f"The file is larger than {MAX_BYTES // 1024**3} GB.")
                if packing and size > max(FREE_BYTES, MAX_RATIO * packed):
                    raise FileError(
                        f"The file unpacks to more than {MAX_RATIO} times its size, as no table "
                        "does. Upload the CSV file itself."
                    )
                yield block
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FileError(
            "The file is damaged: it cannot be unpacked to its end. Pack it again, or upload the "
            "CSV file itself."
        ) from error
    except (NotImplementedError, RuntimeError) as error:
        raise FileError(
            "The file is packed in a way we do not know, or has a password. Upload the CSV file "
            "itself."
        ) from error


def _refuse_other(start: bytes) -> None:
    """Refuse what begins like a file that is no table in text. Raises `FileError`."""
    for mark, message in _OTHERS.items():
        if start.startswith(mark):
            raise FileError(message)
    if start[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        raise FileError(
            "This is a web page, not a table: perhaps you were asked to log in when you "
            "downloaded it. Export the table as CSV and upload that file."
        )


@contextlib.contextmanager
def _opened(file: IO[Any], packing: str) -> Iterator[IO[bytes]]:
    if packing == "gzip":
        with gzip.GzipFile(fileobj=file, mode="rb") as plain:
            yield cast("IO[bytes]", plain)
    elif packing == "zip":
        with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive)) as plain:
            yield plain
    else:
        yield file


def _only_member(archive: zipfile.ZipFile) -> str:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    if "[Content_Types].xml" in names:
        raise FileError(_EXCEL)
    if "mimetype" in names or any(name.startswith("Index/") for name in names):
        raise FileError(
            "This is a spreadsheet of LibreOffice or Numbers. Save it as CSV in UTF-8, and upload "
            "that file."
        )
    files = [name for name in names if not name.startswith("__MACOSX/")]
    if not files:
        raise FileError("The zip file is empty. Upload the CSV file itself.")
    if len(files) > 1:
        raise FileError(
            f"The zip file contains {len(files)} files; it should contain one. Upload them one by "
            "one."
        )
    return files[0]


def _detect(blocks: Iterator[bytes], digest: Any) -> str:
    """Name the encoding of a file, having read and hashed all of it."""
    first = next(blocks, b"")
    digest.update(first)
    encoding = next((e for mark, e in _BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)
    encoding = encoding or _sixteen_bits(first)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good, bad = _count(decoder.decode(first))
    mac, windows = _letters(first)
    for block in blocks:
        digest.update(block)
        more_mac, more_windows = _letters(block)
        mac, windows = mac + more_mac, windows + more_windows
        more_good, more_bad = _count(decoder.decode(block))
        good, bad = good + more_good, bad + more_bad
    if encoding:
        return encoding
    # Text in Windows-1252 hardly ever looks like UTF-8. Where both stand in a file, it is better
    # that some lines are refused than that letters of the others turn into something else.
    if bad <= 4 * good:
        return "utf-8"
    return "mac-roman" if mac > 2 * windows else "cp1252"


def _letters(block: bytes) -> tuple[int, int]:
    """Count the bytes that are letters with accents in Mac Roman, and in Windows-1252."""
    if block.isascii():
        return 0, 0
    beyond = block.translate(None, bytes(range(0x80)))
    return (
        len(beyond) - len(beyond.translate(None, _MAC_LETTERS)),
        len(beyond) - len(beyond.translate(None, _WINDOWS_LETTERS)),
    )


def _sixteen_bits(start: bytes) -> str | None:
    """Recognise UTF-16 without a byte order mark by the zero in every second byte.

    Raises `FileError` for what is no text at all.
    """
    sample = start[:4096]
    even, odd = (sample[offset::2].count(0) / max(1, len(sample) // 2) for offset in (0, 1))
    if _IN_32_BITS(sample):
        raise FileError("This file is in UTF-32. Save it as “CSV UTF-8” and upload that file.")
    if max(even, odd) > 0.4 and min(even, odd) < 0.1:
        return "utf-16-be" if even > odd else "utf-16-le"
    if even + odd > 0.1:
        raise FileError(NO_TEXT)
    return None


def _count(text: str) -> tuple[int, int]:
    """Count the characters beyond ASCII that could be decoded, and the bytes that could not."""
    if text.isascii():
        return 0, 0
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    try:
        text.encode()
    except UnicodeEncodeError:
        bad = len(re.findall("[\udc80-\udcff]", text))
        return beyond - bad, bad
    return beyond, 0


def _decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[str]:
    is_kept = not encoding.startswith("utf-16")  # bytes that mean nothing stay what they are
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if is_kept else "replace")
    newlines = io.IncrementalNewlineDecoder(None, translate=True)  # turns \r\n and \r into \n
    text = ""
    for number, block in enumerate(itertools.chain(blocks, [b""])):
        text = newlines.decode(decoder.decode(block, not block), not block)
        text = text.removeprefix("\ufeff") if number == 0 else text
        yield text if is_kept else text.replace("\ufffd", _UNREADABLE)

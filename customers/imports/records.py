"""Records of a CSV file, chunk by chunk, each with its line; damaged ones do not hide the rest."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Final, NamedTuple

from customers.imports.uploads import NO_TEXT, FileError

CHUNK_BYTES: Final = 4 << 20
MAX_RECORD_BYTES: Final = 1 << 20
MAX_RECORD_LINES: Final = 1_000
MAX_COLUMNS: Final = 1_000
MAX_RUN_LINE: Final = 10_000  # characters; longer lines are looked at one by one
_TITLES: Final = 20  # lines above the names of the columns, as reports have them
_INVISIBLE: Final = " \t\r\n\u00a0\u200b\u200e\u200f\u2060\ufeff"  # around the name of a column
_HINT: Final = re.compile(
    '"?sep=(?P<delimiter>[^"\r\n])"?\\s*', re.IGNORECASE
).fullmatch  # Excel's own
_AT_MOST: Final = 256  # lines that are looked at one by one before a run is tried for again
_SHOWN: Final = 1_000  # characters of a cell that is far too long
DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}

csv.field_size_limit(2 * MAX_RECORD_BYTES)  # our own limit is what counts


class Record(NamedTuple):
    line: int  # of the file, where the record begins, from 1
    cells: list[str]


class Problem(NamedTuple):
    """Why a record cannot be imported. `code` is stable; `about` groups what is alike."""

    line: int
    code: str
    message: str
    cells: Sequence[str]
    about: str = ""


class Run(NamedTuple):
    """Lines in a row that all match the pattern which the chunk was read by."""

    before: int  # it stands before this one of the chunk's records
    line: int
    text: str


@dataclass
class Chunk:
    """Some whole records of a file, and where the next chunk begins."""

    records: list[tuple[int, list[str]]] = field(default_factory=list)  # line, cells
    runs: list[Run] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    next_offset: int = 0
    next_line: int = 1
    is_last: bool = False

    def without_runs(self, delimiter: str) -> "Chunk":
        """Return the same chunk with the lines of its runs among its records."""
        chunk = replace(self, records=[], runs=[])
        at = 0
        for run in self.runs:
            chunk.records += self.records[at : run.before]
            lines = run.text.replace('"', "").split("\n")[:-1]
            chunk.records += [
                (line, text.split(delimiter)) for line, text in enumerate(lines, run.line)
            ]
            at = run.before
        chunk.records += self.records[at:]
        return chunk


class Header(NamedTuple):
    """The names of the columns, and where the records begin."""

    columns: list[str]
    delimiter: str
    offset: int
    line: int


def read_header(file: IO[bytes], wanted: Sequence[str], delimiter: str = "") -> Header:
    """Read the line with the names of the columns; find the delimiter unless it is given.

    That is the one which makes a column named like one of `wanted` (compared by `plain`), or else
    the one which makes most columns. Raises `FileError` if names are missing or given twice.
    """
    file.seek(0)
    line = 0
    text = "\n"
    while not text.strip() and text:
        text = file.readline(MAX_RECORD_BYTES).decode("utf-8", "surrogateescape")
        line += 1
        if hint := _HINT(text):
            delimiter, text = delimiter or hint["delimiter"], "\n"
    if not text:
        raise FileError("The file is empty. Upload one whose first line names the columns.")
    columns, delimiter = _columns(text, wanted, delimiter)
    if not _has(columns, wanted) and (below := _line_below(file, line, wanted, delimiter)):
        raise FileError(
            f"The names of the columns stand in line {below}, not in the first. Delete the lines "
            "above it, and upload the file again."
        )
    return Header(columns, delimiter, file.tell(), line + 1)


def plain(name: str) -> str:
    """Return the name of a column as it is compared: customerId, Customer ID and customer_id."""
    return "".join(filter(str.isalnum, name)).casefold()


def _columns(text: str, wanted: Sequence[str], delimiter: str) -> tuple[list[str], str]:
    tried = [delimiter] if delimiter else [*DELIMITERS]
    cut = {each: _cells(text, each) for each in tried}
    candidates = {each: cells for each, cells in cut.items() if cells is not None}
    if len(candidates) < len(tried) and not any(_has(each, wanted) for each in candidates.values()):
        raise FileError(
            "The first line has a quote that is never closed. Is this a CSV file, and does its "
            "first line name the columns?"
        )

    def fitness(each: str) -> tuple[bool, int]:
        return _has(candidates[each], wanted), len(candidates[each])

    delimiter = max(candidates, key=fitness)
    columns = [cell.strip(_INVISIBLE) for cell in candidates[delimiter]]
    while columns and not columns[-1]:
        columns.pop()
    _refuse_unclear(columns)
    return columns, delimiter


def _cells(text: str, delimiter: str) -> list[str] | None:
    """Return the cells of a line; None if its quotes make no sense with this delimiter."""
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _has(columns: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(plain(name) in wanted for name in columns)


def _line_below(file: IO[bytes], line: int, wanted: Sequence[str], delimiter: str) -> int | None:
    """Return the number of the line, not far below this one, that names a wanted column."""
    start = file.tell()
    for number in range(line + 1, line + _TITLES):
        text = file.readline(MAX_RECORD_BYTES).decode("utf-8", "surrogateescape")
        if any(_has(_cells(text, each) or [], wanted) for each in DELIMITERS):
            return number
    file.seek(start)
    return None


def _refuse_unclear(columns: Sequence[str]) -> None:
    if len(columns) > MAX_COLUMNS:
        raise FileError(
            f"The file has {len(columns)} columns; {MAX_COLUMNS} are allowed. Leave out those you "
            "do not need, or write one value a line: customerId, fieldName, fieldValue."
        )
    seen: dict[str, int] = {}
    for number, name in enumerate(columns, 1):
        if not name:
            raise FileError(f"Column {number} has no name: the first line must name each column.")
        if not name.isprintable():
            raise FileError(NO_TEXT)
        if name in seen:
            raise FileError(
                f"Columns {seen[name]} and {number} are both called “{name}”. Rename one."
            )
        seen[name] = number


def read_chunk(
    file: IO[bytes],
    header: Header,
    offset: int,
    line: int,
    size: int = CHUNK_BYTES,
    pattern: re.Pattern[str] | None = None,
) -> Chunk:
    """Read about `size` bytes of whole records from `offset`, where line `line` begins.

    Lines in a row of which `pattern` matches all are not cut into cells: they make a `Run`. It may
    match whole lines only, each of them a record of as many cells as the header.
    """
    file.seek(offset)
    data = file.read(size)
    if len(data) == size and not data.endswith(b"\n"):
        end = data.rfind(b"\n") + 1
        data = data[:end] if end else data + file.readline(MAX_RECORD_BYTES)
    file.seek(offset + len(data))
    is_last = not file.read(1)
    if not is_last and not data.endswith(b"\n"):
        return _skip_line(file, data, line)
    reader = _Reader(data, header, line, is_last=is_last)
    chunk = reader.read(pattern)
    if chunk.next_line == line and not is_last:  # less than one record
        return read_chunk(file, header, offset, line, 2 * size, pattern)
    chunk.next_offset = offset + reader.read_bytes()
    return chunk


def _skip_line(file: IO[bytes], start: bytes, line: int) -> Chunk:
    """Pass over a line that is too long to be one."""
    while (more := file.readline(MAX_RECORD_BYTES)) and not more.endswith(b"\n"):
        pass
    problem = _too_long(line, [start[:_SHOWN].decode("utf-8", "replace")])
    offset = file.tell()
    return Chunk([], [], [problem], offset, line + 1, is_last=not file.read(1))


def _too_long(line: int, cells: Sequence[str]) -> Problem:
    message = f"The line is longer than {MAX_RECORD_BYTES >> 20} MB."
    return Problem(line, "line_too_long", message, [cell[:_SHOWN] for cell in cells])


class _Reader:
    """Turns the lines of one chunk into records."""

    def __init__(self, data: bytes, header: Header, line: int, *, is_last: bool) -> None:
        self.text = data.decode("utf-8", "surrogateescape")
        self.is_clean = "\0" not in self.text and _is_valid(self.text)
        self.lines = self.text.split("\n")
        if not self.lines[-1]:
            self.lines.pop()
        longest = max(map(len, self.lines), default=0)
        self.is_clean &= longest <= MAX_RECORD_BYTES
        self.has_runs = longest <= MAX_RUN_LINE
        self.size = len(data)
        self.header = header
        self.line = line
        self.chunk = Chunk(is_last=is_last)
        self.done = 0  # of our lines
        self.feed = _Feed(self.lines)

    def read(self, pattern: re.Pattern[str] | None = None) -> Chunk:
        """Sort the records into those with a cell for each column, and the problems."""
        if pattern is None or not self.has_runs:
            self._read_records(len(self.lines))
        else:
            self._read_runs(pattern)
        self.chunk.next_line = self.line + self.done
        return self.chunk

    def _read_runs(self, pattern: re.Pattern[str]) -> None:
        """Look for runs; what stands between them is read record by record.

        Where runs are rare, they are looked for less and less often.
        """
        at, patience = 0, 1
        is_going_on = True
        while is_going_on and self.done < len(self.lines):
            found = pattern.match(self.text, at)
            if found and found.end() > at:
                text = self.text[at : found.end()]
                run = Run(len(self.chunk.records), self.line + self.done, text)
                self.chunk.runs.append(run)
                self.done += text.count("\n")
                at, patience = found.end(), 1
            if self.done < len(self.lines):
                start = self.done
                is_going_on = self._read_records(start + patience)
                at += sum(map(len, self.lines[start : self.done])) + self.done - start
                patience = min(2 * patience, _AT_MOST)

    def _read_records(self, until: int) -> bool:
        """Read records up to about this line of ours; return whether there may be more."""
        width = len(self.header.columns)
        is_clean = self.is_clean
        append = self.chunk.records.append
        records = self._quoted(until) if '"' in self.text else self._unquoted(until)
        start = self.done
        for record in records:
            if len(record[1]) == width and is_clean:
                append(record)
            else:
                self._examine(Record(*record), width)
        return self.done > start

    def read_bytes(self) -> int:
        """Return the size of the lines that were read."""
        if self.done == len(self.lines):
            return self.size
        left = "\n".join(self.lines[self.done :])
        return self.size - len(left.encode("utf-8", "surrogateescape")) - 1

    def _unquoted(self, until: int) -> Iterator[tuple[int, list[str]]]:
        delimiter = self.header.delimiter
        start, self.done = self.done, min(until, len(self.lines))
        for line, text in enumerate(self.lines[start : self.done], self.line + start):
            yield line, text.split(delimiter)

    def _quoted(self, until: int) -> Iterator[tuple[int, list[str]]]:
        feed = self.feed
        feed.at = self.done
        reader = self._csv(feed)
        while feed.at < min(until, len(self.lines)):
            start = feed.begin()
            try:
                cells = next(reader)
            except csv.Error:
                if feed.at == len(self.lines) and not (feed.is_closed or self.chunk.is_last):
                    return  # the record may go on in the next chunk
                self._refuse(start, is_closed=feed.is_closed)
                feed.at = start + 1
                reader = self._csv(feed)
            else:
                yield self.line + start, cells
            self.done = feed.at

    def _csv(self, feed: "_Feed") -> Iterator[list[str]]:
        return csv.reader(feed, delimiter=self.header.delimiter, strict=True)

    def _refuse(self, start: int, *, is_closed: bool) -> None:
        """Report a line whose quotes make no sense; what follows it is read afresh."""
        if is_closed:
            code, message = "bad_quote", "There is text after a closing quote."
        else:
            code, message = "unclosed_quote", "A quote is opened and never closed."
        problem = Problem(self.line + start, code, message, [self.lines[start]])
        self.chunk.problems.append(problem)

    def _examine(self, record: Record, width: int) -> None:
        line, cells = record
        if not any(cell.strip() for cell in cells):
            return
        extra = [cell for cell in cells[width:] if cell.strip()]
        problem = None if self.is_clean else _unreadable(record)
        if problem is None and (extra or len(cells) < width):
            code = "long_row" if extra else "short_row"
            message = f"The line has {_count(len(cells))}, the header {width}."
            problem = Problem(line, code, message, cells)
        if problem:
            self.chunk.problems.append(problem)
        else:
            self.chunk.records.append((line, cells[:width]))


def _unreadable(record: Record) -> Problem | None:
    text = "".join(record.cells)
    if len(text) > MAX_RECORD_BYTES:
        return _too_long(*record)
    if "\0" in text:
        message = "The line contains a NUL character."
        return Problem(record.line, "nul_character", message, record.cells)
    if not _is_valid(text):
        message = "The line contains characters that cannot be read in the file's encoding."
        return Problem(record.line, "bad_encoding", message, record.cells)
    return None


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"


class _Feed:
    """Gives the csv module its lines, and stops it where a quote is left open for too long."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines
        self.at = 0
        self.begin()

    def begin(self) -> int:
        """Begin a record; return the index of its first line."""
        self.start = self.at
        self.size = 0
        self.is_closed = True
        return self.at

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        is_too_long = self.size > MAX_RECORD_BYTES or self.at - self.start > MAX_RECORD_LINES
        if self.at >= len(self.lines) or is_too_long:
            self.is_closed = False
            raise StopIteration
        text = self.lines[self.at]
        self.at += 1
        self.size += len(text)
        return text + "\n"

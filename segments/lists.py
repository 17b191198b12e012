"""Lists of CustomerIds in files, for segments kept by hand: every line gets its verdict."""

from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

from customers import lookups
from customers.imports import records
from customers.imports.layouts import CUSTOMER_ID
from customers.imports.records import Problem
from customers.imports.uploads import FileError, unpacked

MAX_LINES: Final = 200_000


class List(NamedTuple):
    """The customers that a file names, by CustomerId, and what is wrong with its other lines."""

    customer_of: dict[str, int]
    problems: list[Problem]
    lines: int


def read(file: IO[Any]) -> List:
    """Read the column customerId of a CSV file, also packed by gzip or zip.

    Raises `FileError` if the file has no such column, is no text, or is too long.
    """
    problems: list[Problem] = []
    named: dict[str, tuple[int, list[str]]] = {}
    lines = 0
    for line, cells, text in _cells(file, problems):
        lines += 1
        if lines > MAX_LINES:
            raise FileError(
                f"The file has more than {MAX_LINES} lines. Import it as a file of the kind "
                "segment_members."
            )
        if not text:
            problems.append(Problem(line, "no_customer_id", "The CustomerId is missing.", cells))
        elif text in named:
            problems.append(Problem(line, "repeated", "This CustomerId stands above.", cells))
        else:
            named[text] = line, cells
    customer_of = lookups.by_external_id([*named])
    problems += [
        Problem(line, "unknown_customer", "No customer has this CustomerId.", cells)
        for text, (line, cells) in named.items()
        if text not in customer_of
    ]
    return List(customer_of, sorted(problems, key=lambda one: one.line), lines)


def _cells(file: IO[Any], problems: list[Problem]) -> Iterator[tuple[int, list[str], str]]:
    """Every line with its cells and its CustomerId; what cannot be read goes to the problems."""
    with unpacked(file) as upload:
        header = records.read_header(upload.content, [CUSTOMER_ID])
        names = [*map(records.plain, header.columns)]
        if CUSTOMER_ID not in names:
            raise FileError(
                "The first line must name the columns, one of them customerId. It names: "
                f"{', '.join(header.columns)[:200]}."
            )
        column = names.index(CUSTOMER_ID)
        offset, line, is_last = header.offset, header.line, False
        while not is_last:
            chunk = records.read_chunk(upload.content, header, offset, line)
            problems += chunk.problems
            for number, cells in chunk.records:
                if any(cell.strip() for cell in cells):
                    yield number, cells, cells[column].strip()
            offset, line, is_last = chunk.next_offset, chunk.next_line, chunk.is_last

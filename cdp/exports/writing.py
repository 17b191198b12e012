"""Files of each format, written a chunk at a time."""

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from openpyxl import Workbook

from cdp.exports.kinds import Row
from customers import exact
from customers.imports.columns import escaped

XLSX_ROWS = 100_000  # more take longer than anybody waits; Excel itself ends at a million
TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_XLSX_DIGITS = 15  # of a number; Excel forgets the others
_XLSX_TEXT = 32_767  # characters of a cell


def head(columns: Sequence[str], format_: str) -> bytes:
    """Return the beginning of a file."""
    if format_ == "csv":
        return "\ufeff".encode() + _csv([columns])
    return b"[" if format_ == "json" else b""


def chunk(rows: Sequence[Row], columns: Sequence[str], format_: str, *, is_first: bool) -> bytes:
    """Return the next rows. A workbook's are kept as lines of JSON until `workbook`."""
    if format_ == "csv":
        return _csv([_cell(row.get(name)) for name in columns] for row in rows)
    if format_ == "xlsx":
        lines = (exact.dumps([row.get(name) for name in columns]) + "\n" for row in rows)
        return "".join(lines).encode()
    objects = ",\n".join(exact.dumps({name: row.get(name) for name in columns}) for row in rows)
    return (("\n" if is_first else ",\n") + objects).encode() if rows else b""


def tail(format_: str) -> bytes:
    return b"\n]\n" if format_ == "json" else b""


def workbook(path: Path, columns: Sequence[str]) -> None:
    """Turn a file of JSON lines into an Excel workbook, in its place."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Export")
    sheet.append([escaped(name) for name in columns])
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            sheet.append([_excel(value) for value in exact.loads(line)])
    finished = path.with_suffix(".new")
    book.save(finished)
    finished.replace(path)


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([escaped_text(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


class Plain(str):
    """Written as it is: a number may begin with a minus."""

    __slots__ = ()


def escaped_text(cell: str) -> str:
    """Keep a text from being taken for a formula."""
    return cell if isinstance(cell, Plain) else escaped(cell)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return Plain("true" if value else "false")
    if isinstance(value, int | Decimal):
        return Plain(format(value, "f") if isinstance(value, Decimal) else value)
    return str(value)


def _excel(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Decimal):
        digits = len(str(value).lstrip("-0."))
        return value if digits <= _XLSX_DIGITS else str(value)
    text = escaped(str(value))[:_XLSX_TEXT]
    return "".join(mark for mark in text if mark >= " " or mark in "\t\n\r")

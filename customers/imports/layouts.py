"""Which column of a file of customers' values holds what."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from customers.imports.records import plain
from customers.imports.uploads import FileError

CUSTOMER_ID: Final = "customerid"
LONG: Final = {"fieldname": "fieldName", "fieldvalue": "fieldValue"}
ADDED: Final = ("line", "reason")  # the columns that a file of errors begins with


class Layout(NamedTuple):
    """Which column holds what: name and value in two columns, or a column for each field."""

    customer: int
    name: int | None
    value: int | None
    fields: Mapping[int, str]  # column → field, or what might be one


def find(columns: Sequence[str]) -> Layout:
    """Find out which columns hold what. Raises `FileError` if there is no customerId."""
    own = range(len(ADDED) if tuple(columns[: len(ADDED)]) == ADDED else 0, len(columns))
    at = {plain(columns[index]): index for index in reversed(own)}
    if CUSTOMER_ID not in at:
        raise FileError(
            "The first line must name the columns, and one of them must be customerId. "
            f"It names: {', '.join(columns)[:200]}."
        )
    missing = [name for name in LONG if name not in at]
    if len(missing) == 1:
        raise FileError(f"The column {LONG[missing[0]]} is missing.")
    if not missing:
        return Layout(at[CUSTOMER_ID], at["fieldname"], at["fieldvalue"], {})
    others = {index: columns[index] for index in own if index != at[CUSTOMER_ID]}
    return Layout(at[CUSTOMER_ID], None, None, others)

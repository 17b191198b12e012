"""Cells of a file of customers' values: where they stand, and what they mean."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from customers import exact, fields, identity, spelling
from customers.fields import FieldValueError
from customers.imports.options import NUMBERS, CustomerOptions, date_reader, number_reader
from customers.imports.records import Chunk, Problem, plain
from customers.imports.uploads import FileError
from customers.models import CustomerField, FieldType

CUSTOMER_ID: Final = "customerid"
LONG: Final = {"fieldname": "fieldName", "fieldvalue": "fieldValue"}
ADDED: Final = ("line", "reason")  # the columns that a file of errors begins with
UNKNOWN: Final = "unknown_field"
SUGGESTED: Final = 100  # unknown names for which a similar one is looked up
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
# Most cells are just as their value is stored: to see that is faster than to read them. The letters
# beyond ASCII are those of one character each, which need not be normalised.
_PLAIN: Final = {
    FieldType.STRING: re.compile(
        r"[!#-&(-\[\]-~À-ɏ](?:[ -!#-\[\]-~À-ɏ]{0,1000}[!#-\[\]-~À-ɏ])?"
    ).fullmatch,
    FieldType.NUMBER: re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?").fullmatch,
    FieldType.DATETIME: re.compile(
        r"[1-9][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
        r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
    ).fullmatch,
    FieldType.BOOLEAN: re.compile("true|false").fullmatch,
}
_QUOTED: Final = (FieldType.STRING, FieldType.DATETIME)


class Layout(NamedTuple):
    """Which column holds what: name and value in two columns, or a column for each field."""

    customer: int
    name: int | None
    value: int | None
    fields: Mapping[int, str]  # column → field, or what might be one


def find_layout(columns: Sequence[str]) -> Layout:
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


def unescaped(cell: str) -> str:
    """Return the cell without the apostrophe with which our files keep it from being a formula."""
    is_escaped = cell.startswith("'") and cell[1:].startswith(_FORMULA)
    return cell[1:] if is_escaped else cell


def escaped(cell: str) -> str:
    """Return the cell so that a spreadsheet program does not take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


@dataclass
class Batch:
    """What a chunk says: values as JSON by CustomerId and field, "null" to clear it.

    `lines` counts the lines that can be imported, `repeated` the values that another line of the
    chunk gives anew, `unknown` the values of what is no field.
    """

    customers: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    problems: list[Problem] = field(default_factory=list)
    lines: int = 0
    repeated: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


class Fault(NamedTuple):
    """What is wrong with a cell. `about` is the field or column, to group what is alike."""

    code: str
    message: str
    about: str = ""


class CellError(Exception):
    """A cell that means nothing."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Reader:
    """Reads a chunk: every line gets its verdict, and the good ones their meaning.

    Like `fields.parse_value`, which it asks once for each different text: rows are many. Lines
    about `strangers` are refused.
    """

    def __init__(
        self,
        layout: Layout,
        options: CustomerOptions,
        known: Mapping[str, CustomerField],
        strangers: Collection[str] = (),
    ) -> None:
        self.layout = layout
        self.customer_ids = _CustomerIds(strangers)
        self.columns = _Columns(options, known)
        self.batch = Batch()
        self.given = 0  # values

    def read(self, chunk: Chunk) -> Batch:
        if self.layout.name is None or self.layout.value is None:
            self._read_wide(chunk)
        else:
            self._read_long(chunk, self.layout.name, self.layout.value)
        batch = self.batch
        batch.problems = sorted(batch.problems + chunk.problems, key=lambda each: each.line)
        batch.repeated = self.given - sum(map(len, batch.customers.values()))
        batch.unknown.update(p.about for p in batch.problems if p.code == UNKNOWN)
        for column in self.columns.values():
            if text := next((text for text, value in column.items() if value), None):
                batch.examples[column.name] = text
        return batch

    def _read_long(self, chunk: Chunk, name_at: int, value_at: int) -> None:
        customer_at = self.layout.customer
        customer_ids, columns = self.customer_ids, self.columns
        customers = self.batch.customers
        lines = given = 0
        for line, cells in chunk.records:
            try:
                customer_id = customer_ids[cells[customer_at]]
                column = columns[cells[name_at]]
                value = column[cells[value_at]]
            except CellError as error:
                self._refuse(line, cells, [error.fault])
                continue
            lines += 1
            values = customers[customer_id]
            if value is not None:
                given += 1
                values[column.name] = value
        self.batch.lines, self.given = lines, given

    def _read_wide(self, chunk: Chunk) -> None:
        batch = self.batch
        columns = []
        for at, name in self.layout.fields.items():
            try:
                columns.append((at, self.columns[name]))
            except CellError:
                batch.unknown[name] = sum(1 for _, cells in chunk.records if cells[at].strip())
        for line, cells in chunk.records:
            values, faults = _read_cells(cells, columns)
            try:
                customer_id = self.customer_ids[cells[self.layout.customer]]
            except CellError as error:
                faults.insert(0, error.fault)
            if faults:
                self._refuse(line, cells, faults)
            else:
                batch.lines += 1
                self.given += len(values)
                batch.customers[customer_id].update(values)

    def _refuse(self, line: int, cells: Sequence[str], faults: Sequence[Fault]) -> None:
        if any(cell.strip() for cell in cells):
            message = " ".join(fault.message for fault in faults)
            code, _, about = faults[0]
            self.batch.problems.append(Problem(line, code, message, cells, about))


def _read_cells(
    cells: Sequence[str], columns: Sequence[tuple[int, "_Column"]]
) -> tuple[dict[str, str], list[Fault]]:
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for at, column in columns:
        try:
            value = column[cells[at]]
        except CellError as error:
            faults.append(error.fault)
        else:
            if value is not None:
                values[column.name] = value
    return values, faults


class _CustomerIds(dict[str, str]):
    """CustomerIds as we keep them, by their cell."""

    def __init__(self, strangers: Collection[str]) -> None:
        self.strangers = strangers

    def __missing__(self, cell: str) -> str:
        text = unescaped(cell.strip(fields.SPACES))
        if not text:
            raise CellError(Fault("no_customer_id", "The customerId is missing."))
        if len(text) > identity.MAX_LENGTH:
            message = f"The customerId is longer than {identity.MAX_LENGTH} characters."
            raise CellError(Fault("customer_id_too_long", message))
        customer_id = identity.normalise(identity.CUSTOMER_ID, text)
        if customer_id is None:
            message = f"“{text}” names nobody: it cannot be a customerId."
            raise CellError(Fault("not_a_customer_id", message))
        if customer_id in self.strangers:
            message = f"There is no customer with the customerId “{customer_id}”."
            raise CellError(Fault("unknown_customer", message))
        self[cell] = customer_id
        return customer_id


class _Columns(dict[str, "_Column"]):
    """What reads the values of a field, by the name of it in the file."""

    def __init__(self, options: CustomerOptions, known: Mapping[str, CustomerField]) -> None:
        self.options = options
        self.known = known
        self.styles = {
            FieldType.NUMBER.value: number_reader(options.numbers),
            FieldType.DATETIME.value: date_reader(options.dates),
        }
        self.unknown: dict[str, Fault] = {}

    def __missing__(self, cell: str) -> "_Column":
        if cell in self.unknown:
            raise CellError(self.unknown[cell])
        name = unescaped(cell.strip(fields.SPACES))
        own = self.options.fields.get(name, name)
        if own is None:
            column = _Column(name, None, _ignore)
        elif not name:
            column = _Column(name, None, _refuse_nameless)
        elif own in self.known:
            column = self._column(self.known[own])
        else:
            self.unknown[cell] = self._unknown(name)
            raise CellError(self.unknown[cell])
        self[cell] = column
        return column

    def _column(self, field: CustomerField) -> "_Column":
        style = self.styles.get(field.type, str)
        nothing = "null" if self.options.empty == "clear" else None
        plain = _PLAIN[FieldType(field.type)]
        if field.type == FieldType.NUMBER and self.options.numbers != NUMBERS[0]:
            plain = re.compile("[0-9]{1,3}").fullmatch

        def read(text: str) -> str:
            return exact.dumps(fields.parse_value(field, style(text)))

        return _Column(field.name, nothing, read, plain, '"' if field.type in _QUOTED else "")

    def _unknown(self, name: str) -> Fault:
        message = f"There is no customer field called “{name[:100]}”."
        if len(self.unknown) < SUGGESTED:
            message += spelling.suggestion(name, self.known)
        return Fault(UNKNOWN, message, name[:100])


def _ignore(text: str) -> None:
    """Read a value that was chosen to be left out."""


def _refuse_nameless(text: str) -> str:
    raise FieldValueError("no_field_name", "The fieldName is missing.")


class _Column(dict[str, str | None]):
    """The values of one field as JSON, by their cell; None for a cell that says nothing.

    A cell that `plain` matches is the value itself, between quotes if these are given.
    """

    def __init__(
        self,
        name: str,
        nothing: str | None,
        read: Callable[[str], str | None],
        plain: Callable[[str], object] = lambda cell: None,
        quote: str = "",
    ) -> None:
        self.name = name
        self.nothing = nothing
        self._read = read
        self._plain = plain
        self._quote = quote

    def __missing__(self, cell: str) -> str | None:
        value: str | None
        value = self._quote + cell + self._quote if self._plain(cell) else self._look(cell)
        self[cell] = value
        return value

    def _look(self, cell: str) -> str | None:
        text = unescaped(cell.strip(fields.SPACES))
        try:
            return self._read(text) if text else self.nothing
        except FieldValueError as error:
            message = f"{self.name}: {error}" if self.name else str(error)
            raise CellError(Fault(error.code, message, self.name)) from error

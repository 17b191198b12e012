"""What the cells of one column mean: CustomerIds, and values as JSON."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from customers import exact, fields, identity, spelling
from customers.fields import FieldValueError
from customers.imports import consents
from customers.imports.options import (
    NUMBERS,
    CustomerOptions,
    boolean_reader,
    date_reader,
    in_words_of,
    number_reader,
)
from customers.models import CustomerField, FieldType

UNKNOWN: Final = "unknown_field"
REMEMBERED: Final = 50_000  # texts of a column whose meaning need not be found out again
SUGGESTED: Final = 100  # unknown names for which a similar one is looked up
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_KEPT: Final = re.compile('="([^"]*)"').fullmatch
_ROUNDED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[Ee]\+[0-9]{1,3}").fullmatch
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


def unescaped(cell: str) -> str:
    """Return the cell without what keeps spreadsheet programs from reading more than a text.

    That is the apostrophe with which our files keep it from being a formula, and ="…", with
    which others keep the zeros of a number.
    """
    if cell.startswith("'") and cell[1:].startswith(_FORMULA):
        cell = cell[1:]
    kept = _KEPT(cell)
    return kept[1] if kept else cell


def escaped(cell: str) -> str:
    """Return the cell so that a spreadsheet program does not take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


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


class CustomerIds(dict[str, str]):
    """CustomerIds as we keep them, by their cell."""

    def __init__(self, strangers: Collection[str]) -> None:
        self.strangers = strangers
        self.rounded: set[str] = set()  # those that a spreadsheet program has rounded, it seems

    def __missing__(self, cell: str) -> str:
        text = unescaped(cell.strip(fields.SPACES))
        if not text:
            raise CellError(Fault("no_customer_id", "The customerId is missing."))
        if len(text) > identity.MAX_LENGTH:
            message = f"The customerId is longer than {identity.MAX_LENGTH} characters."
            raise CellError(Fault("customer_id_too_long", message))
        customer_id = identity.normalise(identity.CUSTOMER_ID, text)
        if customer_id is None:
            why = identity.objection(identity.CUSTOMER_ID, text)
            message = f"“{text}” {why}: it cannot be a customerId."
            raise CellError(Fault("not_a_customer_id", message))
        if customer_id in self.strangers:
            message = f"There is no customer with the customerId “{customer_id}”."
            raise CellError(Fault("unknown_customer", message))
        if _ROUNDED(text):
            self.rounded.add(customer_id)
        self[cell] = customer_id
        return customer_id


def meant(name: str, options: CustomerOptions) -> str | None:
    """Return the field or purpose that a name in the file stands for; None to leave it out."""
    own = options.fields.get(name, name)
    return None if own is None else consents.normalised(own)


class Columns(dict[str, "Column"]):
    """What reads the values of a field, by the name of it in the file."""

    def __init__(self, options: CustomerOptions, known: Mapping[str, CustomerField]) -> None:
        self.options = options
        self.known = known
        self.styles = {
            FieldType.NUMBER.value: number_reader(options.numbers),
            FieldType.DATETIME.value: date_reader(options.dates),
            FieldType.BOOLEAN.value: boolean_reader(),
        }
        self.unknown: dict[str, Fault] = {}

    def __missing__(self, cell: str) -> "Column":
        if cell in self.unknown:
            raise CellError(self.unknown[cell])
        name = unescaped(cell.strip(fields.SPACES))
        own = meant(name, self.options)
        if own is None:
            column = Column(name, None, _ignore)
        elif not name:
            column = Column(name, None, _refuse_nameless)
        elif own in self.known:
            column = self._column(self.known[own])
        else:
            self.unknown[cell] = self._unknown(name)
            raise CellError(self.unknown[cell])
        self[cell] = column
        return column

    def _column(self, field: CustomerField) -> "Column":
        style = self.styles.get(field.type, str)
        is_cleared = self.options.empty == "clear" and not consents.is_meant(field.name)
        nothing = "null" if is_cleared else None
        plain = _PLAIN[FieldType(field.type)]
        if field.type == FieldType.NUMBER and self.options.numbers != NUMBERS[0]:
            plain = re.compile("0|[1-9][0-9]{0,2}").fullmatch

        def read(text: str) -> str:
            try:
                return exact.dumps(fields.parse_value(field, style(text)))
            except FieldValueError as error:
                raise in_words_of(self.options, text, error) from error

        return Column(field.name, nothing, read, plain, '"' if field.type in _QUOTED else "")

    def _unknown(self, name: str) -> Fault:
        message = f"There is no customer field called “{name[:100]}”."
        if consents.is_meant(name):
            message = f"There is no purpose of consent for “{name[:100]}”."
        if len(self.unknown) < SUGGESTED:
            message += spelling.suggestion(name, self.known)
        return Fault(UNKNOWN, message, name[:100])


def _ignore(text: str) -> None:
    """Read a value that was chosen to be left out."""


def _refuse_nameless(text: str) -> str:
    raise FieldValueError("no_field_name", "The fieldName is missing.")


class Column(dict[str, str | None]):
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
        if len(self) >= REMEMBERED:
            self.clear()
        value: str | None
        value = self._quote + cell + self._quote if self._plain(cell) else self._look(cell)
        self[cell] = value
        return value

    def _look(self, cell: str) -> str | None:
        text = unescaped(cell.strip(fields.SPACES))
        try:
            return self._read(text) if text else self.nothing
        except FieldValueError as error:
            hint = _hint(error.code, text)
            message = f"{self.name}: {error}{hint}" if self.name else str(error)
            raise CellError(Fault(error.code, message, self.name)) from error


_UNITS: Final = re.compile(r"[^0-9]*[0-9][0-9.,'’\s]*(?:[-–]|\s*[^0-9\s]{1,4})?").fullmatch
_SHORT_YEAR: Final = re.compile(r"[0-9]{1,2}([./-])[0-9]{1,2}\1[0-9]{2}").fullmatch
_DAY_OF_EXCEL: Final = re.compile(r"[2-7][0-9]{4}(?:[.,][0-9]+)?").fullmatch


def _hint(code: str, text: str) -> str:
    """Say what a table should hold instead, where that can be guessed."""
    if code == "not_a_number" and not text.startswith("=") and _UNITS(text):
        return " Choose how numbers look, and leave currencies and units out."
    if code == "not_a_datetime" and _DAY_OF_EXCEL(text):
        return " If it is Excel’s number of a day, choose that for how dates look."
    if code == "not_a_datetime" and _SHORT_YEAR(text):
        return " Write the year with four digits."
    return ""

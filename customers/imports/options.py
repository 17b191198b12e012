"""What whoever uploads a file chooses: what its numbers and dates look like, and what it may do."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

from customers.fields import FieldValueError, parse_value
from customers.imports.records import DELIMITERS
from customers.imports.uploads import ENCODINGS
from customers.models import CustomerField, FieldType

ISO: Final = "iso"
EXCEL: Final = "excel"  # days since the end of 1899, with the time of day as a fraction
AUTO: Final = "auto"  # the style that most of the first cells are written in
_NUMBERS: Final[Mapping[str, tuple[str, dict[int, str | None]]]] = {
    "1234.5": ("", {}),
    "1'234.50": (
        r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:['’][0-9]{3})+)(?:\.[0-9]+)?",
        {ord("'"): None, ord("’"): None},
    ),
    "1.234,50": (
        r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+)(?:,[0-9]+)?",
        {ord("."): None, ord(","): "."},
    ),
    "1,234.50": (
        r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?",
        {ord(","): None},
    ),
    "1 234,50": (
        r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:[ \u00a0\u2009\u202f][0-9]{3})+)(?:,[0-9]+)?",
        {**dict.fromkeys(map(ord, " \u00a0\u2009\u202f")), ord(","): "."},
    ),
}
_MINUS: Final = "\u2212"  # as typesetters write it
_TIME: Final = r"(?: +(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?))?"
_DATES: Final = {
    ISO: "",
    "dd.mm.yyyy": r"(?P<d>[0-9]{1,2})\.(?P<m>[0-9]{1,2})\.(?P<y>[0-9]{4})" + _TIME,
    "dd/mm/yyyy": r"(?P<d>[0-9]{1,2})/(?P<m>[0-9]{1,2})/(?P<y>[0-9]{4})" + _TIME,
    "mm/dd/yyyy": r"(?P<m>[0-9]{1,2})/(?P<d>[0-9]{1,2})/(?P<y>[0-9]{4})" + _TIME,
    "dd-mm-yyyy": r"(?P<d>[0-9]{1,2})-(?P<m>[0-9]{1,2})-(?P<y>[0-9]{4})" + _TIME,
    "yyyy/mm/dd": r"(?P<y>[0-9]{4})/(?P<m>[0-9]{1,2})/(?P<d>[0-9]{1,2})" + _TIME,
    EXCEL: r"(?P<days>[0-9]{1,6})(?:[.,](?P<part>[0-9]{1,12}))?",
}
NUMBERS: Final = tuple(_NUMBERS)
DATES: Final = tuple(_DATES)
EMPTY: Final = ("leave", "clear")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]").search
_MOMENT: Final = CustomerField(name="decided_at", type=FieldType.DATETIME)


class OptionError(ValueError):
    """An option that does not exist or cannot have this value."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read a file of any kind.

    `delimiter` and `encoding` are found out if they are empty; `numbers` and `dates` if they are
    "auto", which is settled when the file is received.
    """

    numbers: str = NUMBERS[0]
    dates: str = ISO
    delimiter: str = ""
    encoding: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Check options as they come from outside. Raises `OptionError`."""
        known = {each.name for each in fields(cls)}
        for name, value in raw.items():
            if name not in known:
                raise OptionError(name, f"There is no option “{name}”: {', '.join(sorted(known))}.")
            _refuse_unstorable(name, value)
            cls._check(name, value)
        return cls(**raw)

    @classmethod
    def _check(cls, name: str, value: Any) -> None:
        allowed = {
            "numbers": (*NUMBERS, AUTO),
            "dates": (*DATES, AUTO),
            "delimiter": ("", *DELIMITERS),
            "encoding": ("", *ENCODINGS),
        }
        cls._one_of(name, value, allowed[name])

    @staticmethod
    def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            listed = ", ".join(f"“{each}”" for each in allowed)
            raise OptionError(name, f"“{name}” must be one of {listed}.")


def _refuse_unstorable(name: str, value: Any) -> None:
    """Refuse what no column holds: NUL, and halves of characters. Raises `OptionError`."""
    members = [*value, *value.values()] if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for member in members:
            _refuse_unstorable(name, member)
    elif isinstance(value, str) and _UNSTORABLE(value):
        raise OptionError(name, "A text here holds a character that cannot be stored.")


@dataclass(frozen=True, kw_only=True)
class CustomerOptions(Options):
    """How to read a file of customers' values.

    Unknown customers are created or their lines refused; an empty cell leaves the value as it is
    or clears it. `fields` names the customer field for a name in the file that is not one, or None
    to leave such values out. `decided_at` says when decisions about consent were made, unless
    that was when the file was uploaded.
    """

    create_missing: bool = True
    empty: str = EMPTY[0]
    decided_at: str = ""
    fields: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def _check(cls, name: str, value: Any) -> None:
        if name == "create_missing":
            if not isinstance(value, bool):
                raise OptionError(name, "“create_missing” must be true or false.")
        elif name == "empty":
            cls._one_of(name, value, EMPTY)
        elif name == "fields":
            _check_mapping(name, value)
        elif name == "decided_at":
            moment(value)
        else:
            super()._check(name, value)


def moment(text: Any) -> datetime | None:
    """Read `decided_at`; None if it is empty. Raises `OptionError`."""
    try:
        value = parse_value(_MOMENT, text)
    except FieldValueError as error:
        raise OptionError(_MOMENT.name, str(error)) from error
    return datetime.fromisoformat(str(value)) if value else None


def _check_mapping(name: str, value: Any) -> None:
    is_mapping = isinstance(value, dict) and all(
        isinstance(own, str) and (other is None or isinstance(other, str))
        for own, other in value.items()
    )
    if not is_mapping:
        raise OptionError(name, f"“{name}” must be an object of names.")


def number_reader(style: str) -> Callable[[str], str]:
    """Return what turns a number written in this style into a plain one like 1234.50.

    That raises FieldValueError where the style is another: 1.5 is not read as 15.
    """
    pattern, table = _NUMBERS[style]
    if not pattern:
        return lambda text: text.replace(_MINUS, "-", 1)
    matches = re.compile(pattern).fullmatch

    def read(text: str) -> str:
        text = text.replace(_MINUS, "-", 1)
        if not matches(text):
            raise FieldValueError("not_a_number", f"“{text[:60]}” is not a number like {style}.")
        return text.translate(table)

    return read


def date_reader(style: str) -> Callable[[str], str]:
    """Return what turns a date written in this style into ISO 8601; what is not stays as it is."""
    pattern = _DATES[style]
    if not pattern:
        return str
    match = re.compile(pattern).fullmatch

    def read(text: str) -> str:
        found = match(text)
        if not found:
            return text
        if style == EXCEL:
            return _from_excel(int(found["days"]), f"0.{found['part'] or 0}") or text
        iso = f"{found['y']}-{found['m']:0>2}-{found['d']:0>2}"
        return f"{iso} {found['time']}" if found["time"] else iso

    return read


def in_words_of(options: Options, text: str, error: FieldValueError) -> FieldValueError:
    """Say of what is no date how dates are written in this file, if not as by us.

    What is returned is another error, for `from`: one that were its own cause would keep all that
    is read at the time in memory.
    """
    if error.code != "not_a_datetime" or options.dates == ISO:
        return FieldValueError(error.code, str(error))
    like = (
        "written as in Excel: a number of days"
        if options.dates == EXCEL
        else f"like {options.dates}"
    )
    return FieldValueError(error.code, f"“{text[:60]}” is not a date {like}.")


def _from_excel(days: int, part: str) -> str:
    """Return the time as ISO 8601, to the second; "" for what is no day."""
    try:
        seconds = round(86_400 * float(part))
        moment = datetime(1899, 12, 30, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
    except OverflowError:
        return ""
    return f"{moment:%Y-%m-%d}" if not seconds else f"{moment:%Y-%m-%dT%H:%M:%S}"


_TRUE: Final = ("ja", "j", "oui", "si", "sì", "y", "on", "wahr", "vrai", "vero", "x")
_FALSE: Final = ("nein", "n", "non", "off", "falsch", "faux", "falso")


def boolean_reader() -> Callable[[str], str]:
    """Return what turns a yes or no of German, French and Italian tables into true and false."""
    words = dict.fromkeys(_TRUE, "true") | dict.fromkeys(_FALSE, "false")
    return lambda text: words.get(text.lower(), text)


class Guess(NamedTuple):
    """The styles that cells are written in, and others in which they could be read as well."""

    numbers: str
    dates: str
    doubts: dict[str, list[str]]


def guess(cells: Iterable[str]) -> Guess:
    """Find out how numbers and dates are written, from some cells.

    The style by which most can be read; of several the first, and the others are its doubts.
    """
    texts = [cell.strip().replace(_MINUS, "-") for cell in cells]
    like_numbers = [text for text in texts if _LIKE_A_NUMBER(text)]
    numbers = {style: sum(map(_is_number(style), like_numbers)) for style in NUMBERS}
    dates = {style: sum(map(_is_date(style), texts)) for style in DATES if style != EXCEL}
    doubts = {"numbers": _others(numbers), "dates": _others(dates)}
    return Guess(
        _best(numbers), _best(dates), {what: them for what, them in doubts.items() if them}
    )


_LIKE_A_NUMBER: Final = re.compile(
    "[+-]?(?:0|[1-9][0-9]*)(?:['’.,\u0020\u00a0\u2009\u202f][0-9]+)+"
).fullmatch


def _is_number(style: str) -> Callable[[str], bool]:
    pattern = re.compile(_NUMBERS[style][0] or r"[+-]?[0-9]+(?:\.[0-9]+)?")
    return lambda text: pattern.fullmatch(text) is not None


def _is_date(style: str) -> Callable[[str], bool]:
    read = date_reader(style)

    def is_date(text: str) -> bool:
        iso = read(text)
        if style != ISO and iso == text:
            return False
        try:
            datetime.fromisoformat(iso)
        except ValueError:
            return False
        return "-" in iso

    return is_date


def _best(counts: Mapping[str, int]) -> str:
    return max(counts, key=lambda style: counts[style])  # of equals the first


def _others(counts: Mapping[str, int]) -> list[str]:
    best = _best(counts)
    return [style for style in counts if style != best and 0 < counts[style] == counts[best]]

"""What whoever uploads a file chooses: what its numbers and dates look like, and what it may do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Self

from customers.fields import FieldValueError
from customers.imports.records import DELIMITERS

ISO: Final = "iso"
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
}
_TIME: Final = r"(?: +(?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?))?"
_DATES: Final = {
    ISO: "",
    "dd.mm.yyyy": r"(?P<d>[0-9]{1,2})\.(?P<m>[0-9]{1,2})\.(?P<y>[0-9]{4})" + _TIME,
    "mm/dd/yyyy": r"(?P<m>[0-9]{1,2})/(?P<d>[0-9]{1,2})/(?P<y>[0-9]{4})" + _TIME,
}
NUMBERS: Final = tuple(_NUMBERS)
DATES: Final = tuple(_DATES)
EMPTY: Final = ("leave", "clear")


class OptionError(ValueError):
    """An option that does not exist or cannot have this value."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read a file of any kind.

    `delimiter` is found out if it is empty.
    """

    numbers: str = NUMBERS[0]
    dates: str = ISO
    delimiter: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Check options as they come from outside. Raises `OptionError`."""
        known = {each.name for each in fields(cls)}
        for name, value in raw.items():
            if name not in known:
                raise OptionError(name, f"There is no option “{name}”: {', '.join(sorted(known))}.")
            cls._check(name, value)
        return cls(**raw)

    @classmethod
    def _check(cls, name: str, value: Any) -> None:
        allowed = {"numbers": NUMBERS, "dates": DATES, "delimiter": ("", *DELIMITERS)}
        cls._one_of(name, value, allowed[name])

    @staticmethod
    def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            listed = ", ".join(f"“{each}”" for each in allowed)
            raise OptionError(name, f"“{name}” must be one of {listed}.")


@dataclass(frozen=True, kw_only=True)
class CustomerOptions(Options):
    """How to read a file of customers' values.

    Unknown customers are created or their lines refused; an empty cell leaves the value as it is
    or clears it. `fields` names the customer field for a name in the file that is not one, or None
    to leave such values out.
    """

    create_missing: bool = True
    empty: str = EMPTY[0]
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
        else:
            super()._check(name, value)


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
        return str
    matches = re.compile(pattern).fullmatch

    def read(text: str) -> str:
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
        iso = f"{found['y']}-{found['m']:0>2}-{found['d']:0>2}"
        return f"{iso} {found['time']}" if found["time"] else iso

    return read

"""Runs of lines that mean what they say: told by one pattern, and read without a look at each cell.

Most lines of most files are just as their values are stored. What such lines mean is what
`cells.Reader` would make of them one by one; all others are left to it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from customers.fields import SPACES
from customers.imports import consents
from customers.imports.columns import Columns, meant, unescaped
from customers.imports.layouts import Layout
from customers.imports.options import ISO, NUMBERS, CustomerOptions
from customers.models import CustomerField, FieldType

MAX_NAMES: Final = 200  # of fields that the pattern knows
# A CustomerId that is kept as it stands. The words that name nobody have neither digit nor @.
_CUSTOMER_ID: Final = "(?:[A-Za-z_][A-Za-z_.:-]{0,50}+[0-9@]|0{0,50}+[1-9])[A-Za-z0-9_.:@-]{0,99}+"
_DATE: Final = (
    r"(?:1[1-9]|[2-9][0-9])[0-9]{2}-(?:(?:0[13-9]|1[0-2])-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_SWISS_DATE: Final = (
    r"(?:(?:0?[1-9]|[12][0-9]|30)\.(?:0?[13-9]|1[0-2])|(?:0?[1-9]|1[0-9]|2[0-8])\.0?2)"
    r"\.(?:1[1-9]|[2-9][0-9])[0-9]{2}"
)
_TIME: Final = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z?"


class Target(NamedTuple):
    """A field that cells are for. They are its value between `quote`s, unless `read` tells it."""

    name: str
    quote: str
    read: Callable[[str], str | None] | None


class Found(NamedTuple):
    """What was read: lines, values, and values of what is no field."""

    lines: int
    given: int
    unknown: Counter[str]


class Runs:
    """How to recognise runs in a file, and what their lines mean.

    `pattern` is None where there are none to be expected. `examples` holds a cell for each field,
    `strange` one for each column that is none.
    """

    def __init__(
        self,
        columns: Sequence[str],
        delimiter: str,
        layout: Layout,
        options: CustomerOptions,
        known: Mapping[str, CustomerField],
    ) -> None:
        self.width = len(columns)
        self.delimiter = delimiter
        self.layout = layout
        self.options = options
        self.known = known
        self.columns = Columns(options, known)
        self.examples: dict[str, str] = {}
        self.strange: dict[str, str] = {}
        self.unknown: list[str] = []  # columns that are no field
        self.targets = self._targets()
        is_clear = len({target.name for target in self.targets.values()}) == len(self.targets)
        is_long = layout.name is not None
        self.pattern = (
            self._pattern() if (is_clear or is_long) and len(self.targets) <= MAX_NAMES else None
        )

    def read(self, text: str, customers: defaultdict[str, dict[str, str]]) -> Found:
        """Add what the lines of a run say to `customers`."""
        cells = text.replace('"', "").replace("\n", self.delimiter).split(self.delimiter)
        del cells[-1]
        customer_ids = cells[self.layout.customer :: self.width]
        if self.layout.name is None or self.layout.value is None:
            return self._read_wide(cells, customer_ids, customers)
        names = cells[self.layout.name :: self.width]
        values = cells[self.layout.value :: self.width]
        targets = self.targets
        for customer_id, name, cell in zip(customer_ids, names, values, strict=True):
            own, quote, read = targets[name]
            if read is None:
                customers[customer_id][own] = quote + cell + quote
            elif (value := read(cell)) is not None:
                customers[customer_id][own] = value
        if len(self.examples) < len(targets):
            samples = dict(zip(names, values, strict=True))
            self.examples |= {targets[name].name: cell for name, cell in samples.items()}
        return Found(len(customer_ids), len(customer_ids), Counter())

    def _read_wide(
        self,
        cells: Sequence[str],
        customer_ids: Sequence[str],
        customers: defaultdict[str, dict[str, str]],
    ) -> Found:
        rows = [customers[customer_id] for customer_id in customer_ids]
        nothing = "null" if self.options.empty == "clear" else None
        unknown: Counter[str] = Counter()
        given = 0
        for at, column in self.layout.fields.items():
            column_cells = cells[at :: self.width]
            if column not in self.targets:
                if column in self.unknown:
                    given_here = [cell for cell in column_cells if cell.strip()]
                    unknown[column] = len(given_here)
                    self.strange.update(
                        dict.fromkeys([column], given_here[0]) if given_here else {}
                    )
                continue
            own, quote, read = self.targets[column]
            is_consent = consents.is_meant(own)
            for values, cell in zip(rows, column_cells, strict=True):
                if not cell:
                    value = None if is_consent else nothing
                else:
                    value = quote + cell + quote if read is None else read(cell)
                    self.examples.setdefault(own, cell)
                if value is not None:
                    values[own] = value
                    given += 1
        return Found(len(rows), given, unknown)

    def _targets(self) -> dict[str, Target]:
        """Return the fields meant by names in the file, as far as a pattern can recognise them."""
        if self.layout.name is None:
            return self._columns()
        targets = {}
        for name in {**dict.fromkeys(self.known), **self.options.fields}:
            own = meant(name, self.options) or ""
            is_whole = not set(name) & {self.delimiter, '"', "\n"}
            if own in self.known and is_whole and name == unescaped(name.strip(SPACES)):
                targets[name] = self._target(name, own)
        return targets

    def _columns(self) -> dict[str, Target]:
        targets = {}
        for column in self.layout.fields.values():
            name = unescaped(column.strip(SPACES))
            own = meant(name, self.options)
            if own is not None and own in self.known:
                targets[column] = self._target(column, own)
            elif own is not None:
                self.unknown.append(column)
        return targets

    def _target(self, name: str, own: str) -> Target:
        kind = self.known[own].type
        if kind in (FieldType.STRING, FieldType.NUMBER):
            return Target(own, '"' if kind == FieldType.STRING else "", None)
        return Target(own, "", self.columns[name].__getitem__)

    def _pattern(self) -> re.Pattern[str] | None:
        lines = self._lines()
        return re.compile(f"(?:(?:{'|'.join(lines)})\n)*+") if lines else None

    def _lines(self) -> list[str]:
        """Return what lines look like: those with values of each type, or all of them."""
        if self.layout.name is None or self.layout.value is None:
            cells = {
                at: f"(?:{self._cell(name)})?"
                for at, name in self.layout.fields.items()
                if name in self.targets
            }
            return [self._line(cells)]
        by_type: dict[str, list[str]] = defaultdict(list)
        for name, target in self.targets.items():
            by_type[self.known[target.name].type].append(name)
        return [
            self._line(
                {
                    self.layout.name: _quotable("|".join(map(re.escape, names))),
                    self.layout.value: self._cell(names[0]),
                }
            )
            for names in by_type.values()
        ]

    def _line(self, cells: Mapping[int, str]) -> str:
        delimiter = re.escape(self.delimiter)
        patterns = {
            **dict.fromkeys(range(self.width), f'[^{delimiter}"\n]*+'),
            **cells,
            self.layout.customer: _quotable(_CUSTOMER_ID),
        }
        return delimiter.join(patterns.values())

    def _cell(self, name: str) -> str:
        """Return the pattern of the cells of a field that runs may hold."""
        match self.known[self.targets[name].name].type:
            case FieldType.NUMBER if self.options.numbers == NUMBERS[0]:
                return _quotable(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?")
            case FieldType.NUMBER:
                return _quotable("0|[1-9][0-9]{0,2}")
            case FieldType.DATETIME if self.options.dates == ISO:
                return _quotable(f"{_DATE}(?:{_TIME})?")
            case FieldType.DATETIME:
                return _quotable(_SWISS_DATE if self.options.dates == "dd.mm.yyyy" else _DATE)
            case FieldType.BOOLEAN:
                return _quotable("true|false|yes|no|1|0")
        return _quotable(self._text())

    def _text(self) -> str:
        """Return the pattern of a text between whose words there may be spaces."""
        out = {"\\", '"', self.delimiter}
        ascii_letters = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in out]
        inner = "".join(map(re.escape, ascii_letters)) + "À-ɏ"
        first = "".join(re.escape(letter) for letter in ascii_letters if letter != "'") + "À-ɏ"
        return f"[{first}][{inner}]*+(?: ++[{inner}]++)*+"


def _quotable(pattern: str) -> str:
    return f'(?:{pattern}|"(?:{pattern})")' if pattern else ""

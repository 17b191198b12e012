"""Runs of lines that mean what they say: told by one pattern, and read without a look at each cell.

Most lines of most files are just as their values are stored. What such lines mean is what
`cells.Reader` would make of them one by one; all others are left to it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, count, islice, pairwise
from operator import ne
from typing import Any, Final, NamedTuple

from customers.fields import SPACES
from customers.imports import shapes
from customers.imports.columns import Columns, meant, unescaped
from customers.imports.layouts import Layout
from customers.imports.options import ISO, NUMBERS, CustomerOptions
from customers.imports.shapes import Customers, Shape
from customers.models import CustomerField, FieldType

MAX_NAMES: Final = 200  # of fields that the pattern knows
MAX_SHAPES: Final = 5_000  # that are remembered
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


class _Groups(dict[tuple[str, ...], tuple[Shape, list[tuple[int, Any]]]]):
    """The shape of values that have these names in the file, and what reads some of them."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self.targets = targets

    def __missing__(self, names: tuple[str, ...]) -> tuple[Shape, list[tuple[int, Any]]]:
        targets = [self.targets[name] for name in names]
        shape = shapes.of(
            tuple(target.name for target in targets), tuple(target.quote for target in targets)
        )
        found = shape, [(at, target.read) for at, target in enumerate(targets) if target.read]
        if len(self) < MAX_SHAPES:
            self[names] = found
        return found


class _Shapes(dict[tuple[bool, ...], Shape]):
    """The shape of the lines of a wide file by which of their cells say something."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self.targets = targets

    def __missing__(self, told: tuple[bool, ...]) -> Shape:
        targets = [*compress(self.targets, told)]
        shape = shapes.of(
            tuple(target.name for target in targets), tuple(target.quote for target in targets)
        )
        if len(self) < MAX_SHAPES:
            self[told] = shape
        return shape


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
        self._groups = _Groups(self.targets)
        wide = [self.targets[name] for name in layout.fields.values() if name in self.targets]
        self._shapes = _Shapes(wide)
        is_clear = len({target.name for target in self.targets.values()}) == len(self.targets)
        is_long = layout.name is not None
        self.pattern = (
            self._pattern() if (is_clear or is_long) and len(self.targets) <= MAX_NAMES else None
        )

    def read(self, text: str, customers: Customers) -> Found:
        """Add what the lines of a run say to `customers`."""
        cells = text.replace('"', "").replace("\n", self.delimiter).split(self.delimiter)
        del cells[-1]
        customer_ids = cells[self.layout.customer :: self.width]
        if self.layout.name is None or self.layout.value is None:
            return self._read_wide(cells, customer_ids, customers)
        names = cells[self.layout.name :: self.width]
        values = cells[self.layout.value :: self.width]
        if len(self.examples) < len(self.targets):
            samples = dict(zip(names, values, strict=True))
            self.examples |= {self.targets[name].name: cell for name, cell in samples.items()}
        starts = [0, *compress(count(1), map(ne, customer_ids, islice(customer_ids, 1, None)))]
        if 2 * len(starts) <= len(customer_ids):
            starts.append(len(customer_ids))
            self._read_grouped(starts, customer_ids, names, values, customers)
        else:
            self._read_mixed(zip(customer_ids, names, values, strict=True), customers)
        return Found(len(customer_ids), len(customer_ids), Counter())

    def _read_grouped(
        self,
        starts: Sequence[int],
        customer_ids: Sequence[str],
        names: Sequence[str],
        cells: Sequence[str],
        customers: Customers,
    ) -> None:
        """Read lines of which those about one customer mostly stand together."""
        groups = self._groups
        for start, end in pairwise(starts):
            customer_id = customer_ids[start]
            shape, reads = groups[tuple(names[start:end])]
            given: list[Any] = [*cells[start:end]]
            for at, read in reads:
                given[at] = read(given[at])
            if shape.is_clear and customer_id not in customers:
                customers[customer_id] = shape, given
            else:
                customers.opened(customer_id).update(shape.values(given))

    def _read_mixed(self, lines: Iterator[tuple[str, str, str]], customers: Customers) -> None:
        targets = self.targets
        for customer_id, name, cell in lines:
            own, quote, read = targets[name]
            value = quote + cell + quote if read is None else read(cell)
            if value is not None:
                customers.opened(customer_id)[own] = value

    def _read_wide(
        self, cells: Sequence[str], customer_ids: Sequence[str], customers: Customers
    ) -> Found:
        columns: list[Sequence[str | None]] = []
        unknown: Counter[str] = Counter()
        for at, name in self.layout.fields.items():
            column = cells[at :: self.width]
            if name in self.targets:
                columns.append(self._read_column(name, column))
            elif name in self.unknown and (strange := [*filter(str.strip, column)]):
                unknown[name] = len(strange)
                self.strange[name] = strange[0]
        given = 0
        rows = zip(*columns, strict=True) if columns else ((),) * len(customer_ids)
        for customer_id, row in zip(customer_ids, rows, strict=True):
            shape = self._shapes[tuple(map(bool, row))]
            values = [*compress(row, row)]
            given += len(values)
            if customer_id in customers:
                customers.opened(customer_id).update(shape.values(values))
            else:
                customers[customer_id] = shape, values
        return Found(len(customer_ids), given, unknown)

    def _read_column(self, name: str, cells: Sequence[str]) -> Sequence[Any]:
        """Read the cells of a field; what says nothing is empty or None."""
        own, _, read = self.targets[name]
        if own not in self.examples and (example := next(filter(None, cells), None)):
            self.examples[own] = example
        return [*map(read, cells)] if read else cells

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
        is_wide = self.layout.name is None
        is_cleared = is_wide and self.options.empty == "clear"  # by an empty cell
        if not is_cleared and kind in (FieldType.STRING, FieldType.NUMBER):
            return Target(own, '"' if kind == FieldType.STRING else "", None)
        return Target(own, "", self.columns[name].__getitem__)

    def _pattern(self) -> re.Pattern[str] | None:
        """Return what matches lines in a row: with values of each type, or of all fields."""
        if self.layout.name is None or self.layout.value is None:
            cells = {
                at: f"(?:{self._cell(name)})?"
                for at, name in self.layout.fields.items()
                if name in self.targets
            }
            return re.compile(f"(?:{self._line(cells, 0, self.width)}\n)*+")
        by_type: dict[str, list[str]] = defaultdict(list)
        for name, target in self.targets.items():
            by_type[self.known[target.name].type].append(name)
        if not by_type:
            return None
        start = min(self.layout.name, self.layout.value)  # up to there all lines are alike
        ends = [
            self._line(
                {
                    self.layout.name: _quotable("|".join(map(re.escape, names))),
                    self.layout.value: self._cell(names[0]),
                },
                start,
                self.width,
            )
            for names in by_type.values()
        ]
        return re.compile(f"(?:{self._line({}, 0, start)}(?:{'|'.join(ends)})\n)*+")

    def _line(self, cells: Mapping[int, str], start: int, end: int) -> str:
        """Return the pattern of the cells from one column up to another."""
        delimiter = re.escape(self.delimiter)
        patterns = {
            **dict.fromkeys(range(self.width), f'[^{delimiter}"\n]*+'),
            **cells,
            self.layout.customer: _quotable(_CUSTOMER_ID),
        }
        line = delimiter.join(patterns[at] for at in range(start, end))
        return line + delimiter if start < end < self.width else line

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

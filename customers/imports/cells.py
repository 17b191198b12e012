"""What the lines of a file of customers' values say together."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from customers.imports.columns import UNKNOWN, CellError, Column, Columns, CustomerIds, Fault
from customers.imports.layouts import Layout
from customers.imports.options import CustomerOptions
from customers.imports.records import Chunk, Problem
from customers.imports.runs import Found, Runs
from customers.imports.shapes import Customers
from customers.models import CustomerField

Records: TypeAlias = Sequence[tuple[int, list[str]]]  # line, cells


@dataclass
class Batch:
    """What a chunk says: values by CustomerId, as JSON, "null" to clear a field.

    `lines` counts the lines that can be imported, `repeated` the values that another line of the
    chunk gives anew, `unknown` the values of what is no field.
    """

    customers: Customers = field(default_factory=Customers)
    problems: list[Problem] = field(default_factory=list)
    lines: int = 0
    repeated: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    rounded: int = 0  # CustomerIds that a spreadsheet program has rounded, it seems
    examples: dict[str, str] = field(default_factory=dict)
    strange: dict[str, str] = field(default_factory=dict)  # a cell for each name that is no field


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
        runs: Runs | None = None,
    ) -> None:
        self.layout = layout
        self.customer_ids = CustomerIds(strangers)
        self.columns = Columns(options, known)
        self.batch = Batch()
        self.given = 0  # values
        self.runs = runs

    def read(self, chunk: Chunk) -> Batch:
        """Read a chunk, which has runs only if it was read by the pattern of our `runs`."""
        at = 0
        for run in chunk.runs:
            self._read_records(chunk.records[at : run.before])
            at = run.before
            if self.runs:
                self._note(self.runs.read(run.text, self.batch.customers))
        self._read_records(chunk.records[at:])
        batch = self.batch
        batch.problems = sorted(batch.problems + chunk.problems, key=lambda each: each.line)
        batch.repeated = self.given - batch.customers.count()
        batch.rounded = len(self.customer_ids.rounded)
        batch.unknown.update(p.about for p in batch.problems if p.code == UNKNOWN)
        if self.runs:
            batch.examples.update(self.runs.examples)
            batch.strange.update(self.runs.strange)
        for column in self.columns.values():
            if text := next((text for text, value in column.items() if value), None):
                batch.examples[column.name] = text
        return batch

    def _note(self, found: Found) -> None:
        self.batch.lines += found.lines
        self.given += found.given
        self.batch.unknown.update(found.unknown)

    def _read_records(self, records: Records) -> None:
        if self.layout.name is None or self.layout.value is None:
            self._read_wide(records)
        else:
            self._read_long(records, self.layout.name, self.layout.value)

    def _read_long(self, records: Records, name_at: int, value_at: int) -> None:
        customer_at = self.layout.customer
        customer_ids, columns = self.customer_ids, self.columns
        opened = self.batch.customers.opened
        lines = given = 0
        for line, cells in records:
            try:
                customer_id = customer_ids[cells[customer_at]]
                column = columns[cells[name_at]]
                value = column[cells[value_at]]
            except CellError as error:
                self._refuse(line, cells, [error.fault])
                if error.fault.code == UNKNOWN:
                    self.batch.strange.setdefault(error.fault.about, cells[value_at].strip())
                continue
            lines += 1
            values = opened(customer_id)
            if value is not None:
                given += 1
                values[column.name] = value
        self.batch.lines += lines
        self.given += given

    def _read_wide(self, records: Records) -> None:
        batch = self.batch
        columns = []
        for at, name in self.layout.fields.items():
            try:
                columns.append((at, self.columns[name]))
            except CellError:
                given = [cells[at] for _, cells in records if cells[at].strip()]
                batch.unknown[name] += len(given)
                batch.strange |= {name: given[0]} if given else {}
        for line, cells in records:
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
                batch.customers.opened(customer_id).update(values)

    def _refuse(self, line: int, cells: Sequence[str], faults: Sequence[Fault]) -> None:
        if any(cell.strip() for cell in cells):
            message = " ".join(fault.message for fault in faults)
            code, _, about = faults[0]
            self.batch.problems.append(Problem(line, code, message, cells, about))


def _read_cells(
    cells: Sequence[str], columns: Sequence[tuple[int, Column]]
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

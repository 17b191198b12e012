"""What an import says of itself: counts, what was found in the file, and lines with problems."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from customers.imports import columns, layouts, sql
from customers.imports.records import Problem
from customers.models import CustomerField, FieldType, Import, ImportProblem

KEPT_PROBLEMS: Final = 100_000  # lines with problems that can be downloaded
GROUPS: Final = 100  # kinds of problems, and names, that are told apart
LINES: Final = 5  # first lines that are named for a kind of problem

EXAMPLES: Final = {
    FieldType.STRING: "Anna",
    FieldType.NUMBER: "1234.50",
    FieldType.DATETIME: "2026-01-31T12:30:00+01:00",
    FieldType.BOOLEAN: "true",
}


@dataclass
class Tally:
    """What a chunk adds to the report of its import.

    `found` is {heading: {name: count}}, such as {"fields": {"email": 12}}; `notes` has more to say
    of some of these names, such as {"fields": {"email": {"example": "a@b.ch"}}}.
    """

    ok: int = 0
    problems: Sequence[Problem] = ()
    created: int = 0
    updated: int = 0
    found: dict[str, Counter[str]] = field(default_factory=dict)
    notes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)


def add(run: Import, tally: Tally) -> None:
    """Add what a chunk brought to the import's counts and summary, and keep its problems."""
    run.rows_ok += tally.ok
    run.rows_failed += len(tally.problems)
    run.rows_total = run.rows_ok + run.rows_failed
    run.customers_created += tally.created
    run.customers_updated += tally.updated
    for heading, counts in tally.found.items():
        if not counts and heading == "warnings":
            continue
        section = run.summary.setdefault(heading, {})
        for name, count in counts.items():
            if name in section or len(section) < GROUPS:
                entry = section.setdefault(name, {"count": 0})
                entry["count"] += count
                for key, note in tally.notes.get(heading, {}).get(name, {}).items():
                    entry.setdefault(key, note)
    _group(run.summary.setdefault("errors", []), tally.problems)
    _keep(run, tally.problems)


def _group(groups: list[dict[str, Any]], problems: Iterable[Problem]) -> None:
    """Count problems by what they are and what they are about, with the first lines."""
    by_reason = {(group["code"], group["about"]): group for group in groups}
    for problem in problems:
        reason = (problem.code, problem.about)
        if reason not in by_reason:
            if len(groups) >= GROUPS:
                reason = (problem.code, "")
            if reason not in by_reason:
                by_reason[reason] = {
                    "code": reason[0],
                    "about": reason[1],
                    "message": problem.message,
                    "count": 0,
                    "lines": [],
                }
                groups.append(by_reason[reason])
        group = by_reason[reason]
        group["count"] += 1
        if len(group["lines"]) < LINES:
            group["lines"].append(problem.line)


def _keep(run: Import, problems: Sequence[Problem]) -> None:
    room = KEPT_PROBLEMS - (run.rows_failed - len(problems))
    sql.copy_problems(
        (run.pk, line, code, _storable(message), json.dumps([*map(_storable, row)]))
        for line, code, message, row, _ in problems[: max(0, room)]
    )


def _storable(text: str) -> str:
    """Replace what the database cannot hold, which is why the line has a problem."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "�")


def without_examples(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary for those who may not see personal data: no cell of the file is in it."""
    hidden = "A cell cannot be read as what it should be."
    shown = {**summary}
    for heading in ("fields", "unknown_fields"):
        entries = summary.get(heading, {})
        shown[heading] = {name: {**entry, "example": ""} for name, entry in entries.items()}
    shown["errors"] = [
        group
        if "“" not in group["message"] or group["code"] == columns.UNKNOWN
        else group | {"message": hidden}
        for group in summary.get("errors", [])
    ]
    return shown


def error_file(run: Import) -> Iterator[str]:
    """Yield a CSV file of the lines with problems: line number and reason, then the line's cells.

    Mended, it can be uploaded as it is: those two columns are passed over, and the apostrophe
    before what a spreadsheet program might take for a formula is taken off again.
    """
    yield "\ufeff"  # so that spreadsheet programs see that it is UTF-8
    delimiter = run.format.get("delimiter", ",")
    yield _line([*layouts.ADDED, *run.format.get("columns", [])], delimiter)
    for problem in (
        ImportProblem.objects.filter(source=run, line__gt=0).order_by("line", "id").iterator()
    ):
        yield _line([str(problem.line), problem.message, *problem.row], delimiter)


def example_file(known: Iterable[CustomerField]) -> str:
    """Return a small CSV file in the long format, with a value for each field."""
    rows = [("customerId", "fieldName", "fieldValue")]
    rows += [("C-1001", field.name, EXAMPLES[FieldType(field.type)]) for field in known]
    return "".join(_line(row, ",") for row in rows)


def _line(row: Sequence[str], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerow([columns.escaped(cell) for cell in row])
    return text.getvalue()

"""What imports still hold of somebody who is erased: lines with problems, examples, files."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from django.core.files.storage import default_storage

from customers.imports import recoding, records, sql
from customers.models import Import, ImportProblem

# Columns that say whose a line is; there a short number is somebody, elsewhere it is a number.
NAMING: Final = {"customerid", "userid", "anonymousid", "email", "phone"}
TELLING: Final = 8  # characters of a text that is somebody's wherever it stands


def forget(owner_of: Mapping[str, int], values: Collection[str]) -> Counter[int]:
    """Remove lines of which a cell is one of these addresses, and examples that are `values`.

    Of files that wait to be imported, such lines are blanked. Returns how many lines that were, by
    owner of the address.
    """
    wanted = {address.strip().lower(): owner for address, owner in owner_of.items()}
    told = {*values, *owner_of}
    for run in Import.objects.select_for_update().exclude(summary={}).order_by("pk"):
        summary = _without(run.summary, told)
        if summary != run.summary:
            Import.objects.filter(pk=run.pk).update(summary=summary)
    lines = _forget_problems(wanted)
    for run in Import.objects.select_for_update().exclude(file="").order_by("pk"):
        run.format["blanked"] = run.format.get("blanked", 0) + 1  # what was read of it is void
        run.save(update_fields=["format"])
        blanked = [_blank(run, name, wanted) for name in _files(run)]
        most = max(blanked, key=Counter[int].total)
        lines += most
    return lines


def _without(value: Any, told: Collection[str]) -> Any:
    """Return a report without what it says of somebody."""
    if isinstance(value, dict):
        return {key: _without(inner, told) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, told) for inner in value]
    if isinstance(value, str) and any(value == text or f"“{text}”" in value for text in told):
        return ""
    return value


def _forget_problems(wanted: Mapping[str, int]) -> Counter[int]:
    columns = dict(Import.objects.values_list("pk", "format__columns"))
    guilty = {
        problem_id: owner
        for problem_id, import_id, row in sql.select_problems_with(sorted(wanted))
        if (owner := _owner(row, columns.get(import_id) or [], wanted)) is not None
    }
    ImportProblem.objects.filter(pk__in=guilty).delete()
    return Counter(guilty.values())


def _owner(cells: Sequence[str], columns: Sequence[str], wanted: Mapping[str, int]) -> int | None:
    """Return whose a line is, by what stands in its cells; None if it is nobody's."""
    for place, cell in enumerate(cells):
        text = str(cell).strip().lower()
        if text not in wanted:
            continue
        names = place < len(columns) and records.plain(columns[place]) in NAMING
        if names or (len(text) >= TELLING and not text.isdigit()):
            return wanted[text]
    return None


def _files(run: Import) -> list[str]:
    return [str(run.file.name), *recoding.unfinished(run)]


def _blank(run: Import, name: str, wanted: Mapping[str, int]) -> Counter[int]:
    """Overwrite the lines of a file that are somebody's by spaces; return how many, by owner.

    The file keeps its length, so that an import under way finds its place again.
    """
    columns, delimiter = run.format.get("columns", []), run.format.get("delimiter", ",")
    found: Counter[int] = Counter()
    with default_storage.open(name, "r+b") as file:
        while line := file.readline():
            text = line.decode("utf-8", "replace").replace("\0", "")
            if not any(needle in text.lower() for needle in wanted):
                continue
            cells = next(csv.reader(io.StringIO(text), delimiter=delimiter), [])
            if (owner := _owner(cells, columns, wanted)) is not None:
                file.seek(-len(line), io.SEEK_CUR)
                file.write(b" " * len(line.rstrip(b"\r\n")))
                file.readline()
                found[owner] += 1
    return found

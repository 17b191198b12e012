"""How much of a file one transaction takes: less where the database is slow at the time.

A task that runs for a minute is killed, and what it began is undone: without this, an import whose
chunks take longer would never come further. `Import.format["pace"]` holds

    {"tried": where the last task began, "bytes": what a chunk has now, if it is not the usual}
"""

from typing import Any, Final

from django.db import transaction

from customers.models import Import

KEY: Final = "pace"
LEAST: Final = 64 << 10  # bytes
SLOW: Final = 10.0  # seconds for a chunk; then the next one has half of it
QUICK: Final = 2.0


@transaction.atomic
def begin(import_id: int, usual: int) -> None:
    """Note where a task begins; if one died at the very same place, take a quarter from now on."""
    run = Import.objects.select_for_update(skip_locked=True).filter(pk=import_id).first()
    if run is None:
        return
    pace: dict[str, Any] = run.format.get(KEY, {})
    if pace.get("tried") == run.offset:
        pace["bytes"] = _at_least(size(run, usual) // 4, usual)
    run.format[KEY] = pace | {"tried": run.offset}
    run.save(update_fields=["format"])


def size(run: Import, usual: int) -> int:
    """Return how many bytes the next chunk has."""
    return min(usual, int(run.format.get(KEY, {}).get("bytes", usual)))


def note(run: Import, usual: int, seconds: float) -> None:
    """Go by how long a chunk has taken; the import is saved by the caller."""
    present, pace = size(run, usual), run.format.setdefault(KEY, {})
    if seconds > SLOW:
        pace["bytes"] = _at_least(present // 2, usual)
    elif seconds < QUICK and present < usual:
        pace["bytes"] = min(usual, 2 * present)


def _at_least(wanted: int, usual: int) -> int:
    return min(usual, max(LEAST, wanted))

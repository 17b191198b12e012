"""Customer values from a CSV file, against COPY of the same file into a plain table.

Alone: python -m bench.csv_import --rows 1000000
"""

import argparse
import io
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from bench import ground
from bench.ground import Row, Size

FIELDS = {
    **dict.fromkeys(("firstName", "lastName", "email", "city", "language"), "string"),
    **dict.fromkeys(("points", "revenue"), "number"),
    **dict.fromkeys(("birthday", "lastVisit"), "datetime"),
    "newsletter": "boolean",
}
PLAIN = "CREATE TABLE plain (customer text, name text, value text)"


def write(path: Path, rows: int) -> None:
    """A file in the long format: ten values a customer, one line in a thousand bad."""
    chance = random.Random(42)
    with path.open("w") as file:
        file.write("customerId,fieldName,fieldValue\n")
        for number in range(rows):
            name = [*FIELDS][number % len(FIELDS)]
            value = "oops" if number % 1_000 == 15 else _value(name, chance)
            file.write(f"C{number // len(FIELDS):07},{name},{value}\n")


def _value(name: str, chance: random.Random) -> str:
    number = chance.randrange(10**6)
    match FIELDS[name]:
        case "number":
            return f"{number / 100:.2f}"
        case "datetime":
            day = f"{1950 + number % 70}-{1 + number % 12:02}-{1 + number % 28:02}"
            return day if name == "birthday" else f"{day}T{number % 24:02}:{number % 60:02}:07Z"
        case "boolean":
            return str(number % 2 == 0).lower()
        case _ if name == "email":
            return f"customer.{number}@example.ch"
        case _:
            return chance.choice(["Anna", "Zoë", "Müller", "Genève", "Bern"]) + str(number % 5_000)


def run(size: Size) -> Iterator[Row]:
    """The rows of the table. Each figure is the median of three runs, interleaved with COPY."""
    from customers.models import CustomerField

    CustomerField.objects.bulk_create(
        (CustomerField(name=name, type=kind) for name, kind in FIELDS.items()),
        ignore_conflicts=True,
    )
    rows = size.customers * len(FIELDS)
    path = Path(ground_directory()) / "bench.csv"
    write(path, rows)
    copies, loads, reloads, checks = [], [], [], []
    for _ in range(3):
        _empty()
        copies.append(_copy(path))
        checks.append(_import(path, "check"))
        loads.append(_import(path, "apply"))
        copies.append(_copy(path))
        reloads.append(_import(path, "apply"))
    copy = _median(copies)
    for what, times, goal in (
        ("first load", loads, "≤ 6×"),
        ("no-op reload", reloads, "≤ 3×"),
        ("check", checks, ""),
    ):
        figure = f"{_median(times):.2f} s"
        against = f"COPY of the file: {copy:.2f} s"
        yield Row(f"CSV, {rows:,} lines, {what}", figure, against, _median(times) / copy, goal)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Row(f"CSV, {rows:,} lines, peak memory", f"{peak:.0f} MB", "", None, "≤ 300 MB")
    _empty()


def ground_directory() -> str:
    from django.conf import settings

    return str(settings.DATA_DIR)


def _median(times: list[float]) -> float:
    return sorted(times)[len(times) // 2]


def _empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE customers_customer, customers_identifier, customers_fieldchange, "
            "customers_change RESTART IDENTITY CASCADE"
        )
        cursor.execute("CHECKPOINT")


def _copy(path: Path) -> float:
    from django.db import connection, transaction

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS plain")
        cursor.execute(PLAIN)
    start = time.perf_counter()
    with (
        transaction.atomic(),
        connection.cursor() as cursor,
        cursor.copy("COPY plain FROM STDIN WITH (FORMAT csv, HEADER)") as copy,
        path.open("rb") as file,
    ):
        while block := file.read(1 << 20):
            copy.write(block)
    return time.perf_counter() - start


def _import(path: Path, verb: str) -> float:
    """Seconds that the tasks of the queue take; the upload came before."""
    from customers import imports

    run = imports.create(io.BytesIO(path.read_bytes()), name="bench.csv")
    start = time.perf_counter()
    while run.state not in ("checked", "done"):
        getattr(imports, verb)(run.pk)
        run.refresh_from_db()
    seconds = time.perf_counter() - start
    assert run.rows_failed == sum(1 for _ in range(15, run.rows_total, 1_000)), run.summary
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with ground.database():
        for row in run(Size(options.rows // len(FIELDS), 0)):
            print(*row, sep=" | ", flush=True)

"""Run the rows and print them as a Markdown table: python -m bench --customers 1000000 …"""

import argparse
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from bench import (
    collection,
    csv_import,
    deliveries,
    evaluation,
    filling,
    ground,
    growth,
    large_file,
    latency,
    pages,
    refreshing,
    river,
    sending,
)
from bench.ground import Row, Size

BENCHES = {
    "evaluation": evaluation.run,
    "filling": filling.run,
    "pages": pages.run,
    "deliveries": deliveries.run,
    "store": river.store,
    "river": river.run,
    "rechecks": refreshing.rechecks,
    "collection": collection.run,
    "latency": latency.run,
    "sending": sending.run,
    "refreshing": refreshing.run,
}
FIRST = {
    "csv": csv_import.run,
    "file": large_file.run,
    "growth": growth.run,
}  # on an empty database


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*FIRST, *BENCHES]
    parser.add_argument("names", nargs="*", help=f"all if none is named: {' '.join(names)}")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="use the database in this directory, keep it")
    options = parser.parse_args()
    if unknown := {*options.names} - {*names}:
        parser.error(f"there is no row {', '.join(unknown)}")
    size = Size(options.customers, options.events)
    print(f"{machine()}; {size.customers:,} customers, {size.events:,} events\n")
    print("| row | figure | against | ratio | goal |\n| --- | --- | --- | --- | --- |")
    with ground.database(options.keep):
        run(options.names or names, size)


def run(names: Iterable[str], size: Size) -> None:
    """Print the rows of these benches, those first that want an empty database."""
    if ground.is_empty():
        for name in [name for name in FIRST if name in {*names}]:
            show(FIRST[name](size))
    ground.populate(size)
    for name in names:
        if name in BENCHES:
            show(BENCHES[name](size))


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB"


def show(rows: Iterable[Row]) -> None:
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        print(f"| {row.what} | {row.figure} | {row.against} | {ratio} | {row.goal} |", flush=True)


if __name__ == "__main__":
    main()

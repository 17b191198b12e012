"""Run the rows and print them as a Markdown table: python -m bench --customers 1000000 …"""

import argparse
import os
import platform
from collections.abc import Iterable
from pathlib import Path

from bench import evaluation, filling, ground, refreshing, river
from bench.ground import Row, Size

BENCHES = {
    "store": river.store,
    "river": river.run,
    "evaluation": evaluation.run,
    "filling": filling.run,
    "refreshing": refreshing.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="all if none is named")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="use the database in this directory, keep it")
    options = parser.parse_args()
    size = Size(options.customers, options.events)
    print(f"{machine()}; {size.customers:,} customers, {size.events:,} events\n")
    print("| row | figure | against | ratio | goal |\n| --- | --- | --- | --- | --- |")
    with ground.database(options.keep):
        ground.populate(size)
        for name in options.names or BENCHES:
            show(BENCHES[name](size))


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB"


def show(rows: Iterable[Row]) -> None:
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        print(f"| {row.what} | {row.figure} | {row.against} | {ratio} | {row.goal} |", flush=True)


main()

"""Run the rows and print them as a Markdown table: python -m bench --customers 1000000 …"""

import argparse
import platform
from collections.abc import Iterable

from bench import evaluation, ground, refreshing
from bench.ground import Row

BENCHES = {"evaluation": evaluation.run, "refreshing": refreshing.run}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="all if none is named")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    options = parser.parse_args()
    print(f"{platform.machine()}, {options.customers:,} customers, {options.events:,} events\n")
    print("| row | figure | against | ratio | goal |\n| --- | --- | --- | --- | --- |")
    with ground.database():
        ground.populate(options.customers, options.events)
        for name in options.names or BENCHES:
            show(BENCHES[name]())


def show(rows: Iterable[Row]) -> None:
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        print(f"| {row.what} | {row.figure} | {row.against} | {ratio} | {row.goal} |", flush=True)


main()

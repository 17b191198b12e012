"""What every row stands on: a database of its own with generated customers, and fair timing."""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cdp import embedded

EVENT_NAMES = [
    *("Page Viewed", "Product Viewed", "Product Added", "Order Completed", "Email Opened"),
    *("Email Delivered", "Email Link Clicked", "Logged In", "Search Performed", "Order Refunded"),
    *(f"Custom {n}" for n in range(1, 31)),
]


class Row(NamedTuple):
    """A line of the table: what, against what, the figures and the goal."""

    what: str
    figure: str
    against: str
    ratio: float | None
    goal: str


@contextlib.contextmanager
def database() -> Iterator[None]:
    """A migrated database, with durability on as in production; gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="cdp-bench-") as directory,
        embedded.running(Path(directory)) as url,
    ):
        os.environ |= {
            "DATABASE_URL": url,
            "CDP_DATA_DIR": directory,
            "DJANGO_SETTINGS_MODULE": "cdp.settings",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        yield
        connection.close()


def populate(customers: int, events: int) -> None:
    """Fill with customers and their events of the last 400 days: zipf names, log-normal activity.

    The figures are deterministic but for the instant, which is now.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute(CUSTOMERS, {"customers": customers})
        make_events(customers, events)
        cursor.execute("VACUUM ANALYZE")


def make_events(customers: int, events: int) -> None:
    """Give the customers with the ids from 1 events of two sources."""
    from django.db import connection

    from events.models import EventName, Source

    Source.objects.create(key="web", name="Web", kind="website", write_key="web", currency="CHF")
    Source.objects.create(
        key="till", name="Till", kind="store", channel="offline", write_key="till", currency="CHF"
    )
    EventName.objects.bulk_create(EventName(name=name) for name in EVENT_NAMES)
    with connection.cursor() as cursor:
        cursor.execute(EVENTS, {"customers": customers, "events": events, "kinds": 40})


CUSTOMERS = """
    INSERT INTO customers_customer (external_id, fields, first_seen_at, last_seen_at)
    SELECT CASE WHEN n %% 5 > 0 THEN 'C' || n END,
           jsonb_build_object(
               'city', (ARRAY['Basel', 'Bern', 'Genève', 'Lausanne', 'Lugano', 'Zürich'])
                           [1 + n %% 6],
               'points', n %% 1000,
               'birthday', to_char(timestamp '1950-01-01' + n %% 20000 * interval '1 day',
                                   'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'newsletter', n %% 3 = 0),
           now() - interval '400 days', now()
    FROM generate_series(1, %(customers)s) n;
    INSERT INTO customers_customerfield (name, type) VALUES
        ('city', 'string'), ('points', 'number'), ('birthday', 'datetime'),
        ('newsletter', 'boolean');
"""
EVENTS = """
    INSERT INTO events_event (customer_id, name_id, source_id, message_id, came_by, occurred_at,
                              amount, currency, properties)
    SELECT customer_id, name_id, 1 + (n %% 3 = 0)::int, 'm' || n, 'customer_id:C' || customer_id,
           at, CASE WHEN name_id = 4 THEN round((random() * 120 + 5)::numeric, 2) END,
           CASE WHEN name_id = 4 THEN 'CHF' END,
           jsonb_build_object('category', (ARRAY['shoes', 'coats', 'hats'])[1 + n %% 3],
                              'path', '/p/' || n %% 997)
    FROM (
        SELECT n,
               -- the square of a uniform number: a few customers are very active
               1 + floor(power(random(), 2) * %(customers)s)::bigint AS customer_id,
               least(%(kinds)s, floor(power(%(kinds)s::float, random()))::int) AS name_id,
               now() - random() * interval '400 days' AS at
        FROM generate_series(1, %(events)s) n
    ) AS generated
    ORDER BY at
"""


def times(work: Callable[[], object], runs: int = 5) -> float:
    """The median seconds of some runs, after one to warm up."""
    work()
    return statistics.median(once(work) for _ in range(runs))


def once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(
    one: Callable[[], object], other: Callable[[], object], runs: int = 5
) -> tuple[float, float]:
    """The median seconds of two competitors that take turns, so that both meet the same machine."""
    one(), other()
    pairs = [(once(one), once(other)) for _ in range(runs)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)

"""What every row stands on: a database of its own with generated customers, and fair timing."""

import contextlib
import math
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from cdp import embedded

EVENT_NAMES = [
    *("Page Viewed", "Product Viewed", "Product Added", "Order Completed", "Email Opened"),
    *("Email Delivered", "Email Link Clicked", "Logged In", "Search Performed", "Order Refunded"),
    *(f"Custom {n}" for n in range(1, 31)),
]


SIGMA = 1.68  # of log-normal activity: a fifth of the customers do four fifths of what is done


class Row(NamedTuple):
    """A line of the table: what, against what, the figures and the goal."""

    what: str
    figure: str
    against: str = ""
    ratio: float | None = None
    goal: str = ""


class Size(NamedTuple):
    """How much there is to work on."""

    customers: int
    events: int

    @property
    def is_small(self) -> bool:
        """Whether it is only to be seen that the scripts run."""
        return self.customers < 50_000


@contextlib.contextmanager
def database(keep: Path | None = None) -> Iterator[Path]:
    """A migrated database in a directory, with durability on as in production.

    It is gone at the end unless it is kept; one that was kept is used again.
    """
    with contextlib.ExitStack() as stack:
        directory = keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="cdp-bench-"))
        )
        url = stack.enter_context(embedded.running(directory))
        os.environ |= {
            "DATABASE_URL": url,
            "CDP_DATA_DIR": str(directory),
            "DJANGO_SETTINGS_MODULE": "cdp.settings",
        }
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        yield directory
        connection.close()


def populate(size: Size, *, vacuum: bool = True) -> None:
    """Fill with customers and their events of the last 400 days: zipf names, log-normal activity.

    The figures are deterministic but for the instant, which is now. A database that holds
    customers already stays as it is.
    """
    from django.db import connection

    if not is_empty():
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.42)")
        cursor.execute(FIELDS)
    add_customers(size.customers)
    make_events(size.customers, size.events)
    analyze(vacuum=vacuum)


def is_empty() -> bool:
    """Whether there are no customers."""
    from customers.models import Customer

    return not Customer.objects.exists()


def analyze(*, vacuum: bool = True) -> None:
    """Bring statistics up to date; within a transaction without VACUUM."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if vacuum else "ANALYZE")


def make_events(customers: int, events: int, *, first: int = 1) -> None:
    """Give so many customers, from the id `first` on, events of two sources."""
    from django.db import connection

    from events.models import EventName, Source

    if not EventName.objects.exists():
        common = {"currency": "CHF"}
        Source.objects.create(key="web", name="Web", kind="website", write_key="web", **common)
        Source.objects.create(
            key="till", name="Till", kind="store", channel="offline", write_key="till", **common
        )
        EventName.objects.bulk_create(EventName(name=name) for name in EVENT_NAMES)
    first_name, first_source = (
        model.objects.order_by("id").values_list("id", flat=True)[0]
        for model in (EventName, Source)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            EVENTS,
            {
                "first": first,
                "customers": customers,
                "sigma": SIGMA,
                "events": events,
                "kinds": len(EVENT_NAMES),
                "name": first_name - 1,
                "source": first_source,
            },
        )


def add_customers(count: int) -> None:
    """Have `count` more, four in five with a CustomerId, the others with an anonymous id only."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(CUSTOMERS, {"count": count})


FIELDS = """
    INSERT INTO customers_customerfield (name, type) VALUES
        ('city', 'string'), ('points', 'number'), ('birthday', 'datetime'),
        ('newsletter', 'boolean')
    ON CONFLICT DO NOTHING
"""
CUSTOMERS = """
    WITH made AS (
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
        FROM (SELECT count(*) AS before FROM customers_customer) AS already,
             generate_series(before + 1, before + %(count)s) AS n
        RETURNING id, external_id
    )
    INSERT INTO customers_identifier (kind, value, customer_id)
    SELECT CASE WHEN external_id IS NULL THEN 'anonymous_id' ELSE 'customer_id' END,
           coalesce(external_id, 'anonymous-' || id), id
    FROM made
"""
EVENTS = """
    INSERT INTO events_event (customer_id, name_id, source_id, message_id, came_by, occurred_at,
                              amount, currency, properties)
    SELECT customer_id, %(name)s + name_id, %(source)s + (n %% 3 = 0)::int, 'm' || n,
           'customer_id:C' || customer_id,
           at, CASE WHEN name_id = 4 THEN round((random() * 120 + 5)::numeric, 2) END,
           CASE WHEN name_id = 4 THEN 'CHF' END,
           jsonb_build_object('category', (ARRAY['shoes', 'coats', 'hats'])[1 + n %% 3],
                              'path', '/p/' || n %% 997)
    FROM (
        SELECT n,
               -- log-normal activity: who does an event, its size having been taken into account
               %(first)s + floor(
                   erfc((%(sigma)s + random_normal()) / sqrt(2)) / 2 * %(customers)s
               )::bigint AS customer_id,
               least(%(kinds)s, floor(power(%(kinds)s::float, random()))::int) AS name_id,
               now() - random() * interval '400 days' AS at
        FROM generate_series(1, %(events)s) n
    ) AS generated
    ORDER BY at
"""


def who(chance: random.Random, customers: int) -> int:
    """The id of a customer who does something, of so many: those who were active are, as before.

    Of log-normal activity, what is done has a log-normal distribution among customers that is
    shifted by its variance; the most active have the lowest ids.
    """
    return 1 + int(math.erfc((SIGMA + chance.gauss(0, 1)) / math.sqrt(2)) / 2 * customers)


class Spent(NamedTuple):
    """What some work took, in seconds: by the clock, and of the CPU here and in the database."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


def spent(work: Callable[[], object], *, in_threads: bool = False) -> Spent:
    """Measure work on this thread's connection, or on those of all threads, which must be open.

    Workers of a parallel plan are not counted.
    """
    backends = _all_backends() if in_threads else [_backend()]
    server, client, wall = _server_seconds(backends), _client_seconds(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    return Spent(wall, _client_seconds() - client, _server_seconds(backends) - server)


def _client_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _backend() -> int:
    from django.db import connection

    connection.ensure_connection()
    return int(connection.connection.info.backend_pid)


def _all_backends() -> list[int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return [pid for (pid,) in cursor.fetchall()]


def _server_seconds(backends: Iterable[int]) -> float:
    """The CPU seconds of backends; the embedded server runs on this machine."""
    stats = [Path(f"/proc/{pid}/schedstat") for pid in backends]
    return sum(int(stat.read_text().split()[0]) / 1e9 for stat in stats if stat.exists())


def times(work: Callable[[], object], runs: int = 5) -> float:
    """The median seconds of some runs, after one to warm up."""
    work()
    return statistics.median(once(work) for _ in range(runs))


def once(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(*competitors: Callable[[], object], runs: int = 5) -> list[float]:
    """The median seconds of each competitor; they take turns, so all meet the same machine."""
    for work in competitors:
        work()
    rounds = [[once(work) for work in competitors] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]

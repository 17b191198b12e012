"""Segments in the running product: a fill whose process is killed, and a clock that acts alone."""

import json
from datetime import UTC, datetime, timedelta
from urllib import request

import psycopg
import pytest

from cdp import embedded
from tests.live.product import Product, wait_for

pytestmark = pytest.mark.live

ONCE = """
    SELECT count(*) FROM (SELECT FROM events_event GROUP BY customer_id HAVING count(*) = 1) AS x
"""
CUSTOMERS = 100_000
DUE = 1_000
PAST = """
    WITH made AS (
        INSERT INTO customers_customer (external_id)
        SELECT 'F-' || n FROM generate_series(1, %s) AS n RETURNING id, external_id
    )
    INSERT INTO customers_identifier (kind, value, customer_id)
    SELECT 'customer_id', external_id, id FROM made
"""
DID = """
    INSERT INTO events_event
        (customer_id, name_id, source_id, message_id, came_by, occurred_at, properties)
    SELECT c.id, %s, %s, 'p' || c.id, '', now() - interval '1 day', '{}'
    FROM customers_customer c WHERE c.id %% 2 = 0 AND c.external_id LIKE 'F-%%'
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("segments") / "var")
    product.start()
    yield product
    product.stop()


@pytest.fixture(scope="module")
def database(product):
    with psycopg.connect(embedded.url(product.data_dir), autocommit=True) as connection:
        yield connection


class Api:
    """Speaks to a running product, as its API key and as its sources."""

    def __init__(self, product):
        self.url, self.key = product.url, product.manage("create_api_key", "tests")

    def call(self, path, body=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        own = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        asked = request.Request(self.url + path, data, own | headers)
        with request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)

    def track(self, write_key, name, *left):
        """Send events of (CustomerId, when)."""
        batch = [
            {"type": "track", "event": name, "userId": who, "timestamp": at.isoformat()}
            for who, at in left
        ]
        self.call("/v1/import", {"batch": batch, "writeKey": write_key}, Authorization="")


@pytest.fixture(scope="module")
def api(product):
    return Api(product)


def one(database, query, *values):
    return database.execute(query, values).fetchone()[0]


def test_a_killed_fill_goes_on_and_misses_no_change(product, database, api):
    write_key = product.manage("create_source", "Shop")
    api.track(write_key, "Order Completed", ("first", datetime.now(UTC)))
    wait_for(lambda: one(database, "SELECT count(*) FROM events_event"), "the first event")
    name, source = database.execute("SELECT name_id, source_id FROM events_event").fetchone()
    database.execute(PAST, [CUSTOMERS])
    database.execute(DID, [name, source])
    rule = {"event": "Order Completed", "op": "is", "value": 1}
    api.call("/api/segments/", {"key": "once", "name": "Once", "rule": rule})
    reached = "SELECT fill_after FROM segments_segment WHERE key = 'once' AND state = 'filling'"
    wait_for(lambda: (database.execute(reached).fetchone() or [0])[0], "the fill")
    product.child("pipeline").kill()
    killed_at = datetime.now(UTC)
    assert one(database, "SELECT state FROM segments_segment WHERE key = 'once'") == "filling"
    changed = (f"F-{n}" for n in (1, 2, CUSTOMERS - 1, CUSTOMERS))
    api.track(write_key, "Order Completed", *((who, datetime.now(UTC)) for who in changed))
    wait_for(lambda: api.call("/api/segments/once/")["state"] == "live", "the end of the fill")
    product.wait_until_healed(killed_at)
    wait_for(lambda: one(database, "SELECT count(*) FROM customers_change") == 0, "changes")
    assert api.call("/api/segments/once/")["size"] == one(database, ONCE)
    members = "SELECT count(*), count(DISTINCT customer_id) FROM segments_membershipchange"
    entered, people = database.execute(f"{members} WHERE entered").fetchone()
    assert entered == people  # nobody entered twice


def test_the_clock_alone_takes_customers_out_on_time(product, database, api, record_property):
    write_key = product.manage("create_source", "Till")
    rule = {"event": "Cart Left", "within": {"last": 1, "unit": "minutes"}}
    api.call("/api/segments/", {"key": "carts", "name": "Carts", "rule": rule})
    start = datetime.now(UTC)
    offsets = [timedelta(seconds=15 * (n * 0.618 % 1) - 50) for n in range(DUE)]
    left = ((f"D-{n}", start + offset) for n, offset in enumerate(offsets))
    api.track(write_key, "Cart Left", *left)
    gone = "SELECT count(*) FROM segments_membershipchange h JOIN segments_segment s"
    gone += " ON s.id = segment_id WHERE s.key = 'carts' AND NOT entered"
    wait_for(lambda: one(database, gone) == DUE, "all to leave")
    late = """
        SELECT percentile_cont(array[0.5, 0.99, 1]) WITHIN GROUP (
            ORDER BY extract(epoch FROM h.at - e.occurred_at - interval '1 minute'))
        FROM segments_membershipchange h
        JOIN segments_segment s ON s.id = h.segment_id AND s.key = 'carts'
        JOIN events_event e ON e.customer_id = h.customer_id
        WHERE NOT h.entered AND h.cause = 'time'
    """
    half, most, longest = one(database, late)
    record_property("late_seconds", f"median {half:.3f}, p99 {most:.3f}, most {longest:.3f}")
    assert half >= 0
    assert most <= longest < 60  # seconds; other tests may have all processors at this moment

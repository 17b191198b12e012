"""Cost follows change: a batch reads what it is about, however much is stored."""

import random

import pytest
from django.db import connection

from bench import deliveries, ground, river, typical
from cdp import pipeline
from customers import adminkit

pytestmark = pytest.mark.django_db

CUSTOMERS, EVENTS, BATCH = 20_000, 40_000, 20
STORED = ("customers_customer", "customers_identifier", "events_event", "events_receipt")
DERIVED = ("segments_membership", "segments_recheck", "segments_membershipchange")


@pytest.fixture(autouse=True)
def _ids_from_one(db):
    """As in the empty databases of the benches, whatever ran before in this process."""
    with connection.cursor() as cursor:
        for table in ("customers_customer", "events_eventname", "events_source"):
            cursor.execute(f"ALTER TABLE {table} ALTER COLUMN id RESTART")


@pytest.fixture
def stored(db):
    """Far more customers than a batch is about; statistics as they are after an ANALYZE."""
    ground.populate(ground.Size(CUSTOMERS, EVENTS), vacuum=False)
    typical.save_segments(24)
    typical.fill(vacuum=False)


def read_rows():
    """Rows that this transaction has read from each table, and those of them by reading it all."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0), seq_tup_read"
            " FROM pg_stat_xact_user_tables WHERE relname = ANY(%s)",
            [[*STORED, *DERIVED]],
        )
        return {name: counts for name, *counts in cursor.fetchall()}


def move(count):
    """Send events through the river; return (rows read, rows read in scans) of each table."""
    river.receive(count, CUSTOMERS)
    before = read_rows()
    assert pipeline.ingest(1_000) == count
    pipeline.tick(1_000)
    assert pipeline.refresh(1_000) >= count
    after = read_rows()
    return {
        table: [now - then for now, then in zip(counts, before.get(table, (0, 0)), strict=True)]
        for table, counts in after.items()
    }


def test_a_batch_reads_only_what_it_is_about(stored):
    for table, (rows, scanned) in move(BATCH).items():
        assert scanned == 0, f"{table} was read from end to end"
        assert rows <= 60 * BATCH, f"{rows} rows of {table} for {BATCH} events"


def test_the_number_of_statements_follows_neither_customers_nor_events(
    stored, django_assert_max_num_queries
):
    """They follow how many kinds of events there are in the batch; each is prepared once."""
    move(20 * BATCH)
    with django_assert_max_num_queries(60) as few:
        move(BATCH)
    with django_assert_max_num_queries(len(few.captured_queries) + len(ground.EVENT_NAMES)):
        move(20 * BATCH)


def read_log():
    """Messages read so far: by going through the log, and by indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
            " WHERE relname = 'activation_delivery'"
        )
        return cursor.fetchone()


def test_pages_of_messages_read_what_they_show_of_a_long_log(staff, monkeypatch):
    monkeypatch.setattr(adminkit.AtMost, "EXACT", 200)
    ground.populate(ground.Size(3_000, 3_000), vacuum=False)
    deliveries.make(20_000, 3_000, vacuum=False)
    for kind, make in deliveries.kinds(random.Random(42)).items():
        before = read_log()
        assert staff.get(make(), follow=True).status_code == 200
        scanned, found = (now - then for now, then in zip(read_log(), before, strict=True))
        # Of what is frequent, a few are found by reading on until there are enough.
        assert scanned + found <= 3_000, f"{kind}: {scanned} + {found} messages were read"

"""Events through the river: from the inbox to the store, and on to memberships and the outbox.

Alone: python -m bench store river
"""

import json
import random
import statistics
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench import ground, typical
from bench.ground import Row, Size, Spent

if TYPE_CHECKING:
    from cdp.pipeline import Stage

BATCH = 1_000
SEGMENTS = 100
_chance = random.Random(42)


def event(customers: int) -> dict[str, object]:
    """A track call as a browser's SDK sends it, of one of so many customers."""
    chosen = ground.who(_chance, customers)
    name = ground.EVENT_NAMES[int(40 ** _chance.random()) - 1]
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    properties: dict[str, object] = {"category": "shoes", "path": f"/p/{chosen % 997}"}
    if name == "Order Completed":
        properties |= {"total": round(_chance.random() * 120 + 5, 2), "currency": "CHF"}
    who = {"userId": f"C{chosen}"} if chosen % 5 else {"anonymousId": f"anonymous-{chosen}"}
    return {
        "type": "track",
        "event": name,
        **who,
        "messageId": str(uuid.uuid4()),
        "timestamp": at,
        "sentAt": at,
        "properties": properties,
        "context": {
            "library": {"name": "analytics.js", "version": "next-1.77"},
            "locale": "de-CH",
            "page": {"path": "/shoes", "referrer": "", "url": "https://shop.example/shoes"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/148.0",
        },
    }


def receive(count: int, customers: int) -> None:
    """Put so many requests of one event each into the inbox."""
    from django.db import connection

    from events.models import Source

    source_id = Source.objects.get(key="web").pk
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY events_inbox (source_id, call, body) FROM STDIN") as copy,
    ):
        for _ in range(count):
            copy.write_row((source_id, "track", json.dumps(event(customers)).encode()))


def store(size: Size) -> Iterator[Row]:
    """Inbox to stored, against COPY of the very rows into a table without an index."""
    from cdp import pipeline
    from cdp.management.commands import run_pipeline

    run_pipeline.prepare()
    _plain_table()
    ours, copies = [], []
    for _ in range(3 if size.is_small else 9):
        receive(BATCH, size.customers)
        ours.append(ground.spent(lambda: pipeline.ingest(BATCH)))
        rows = _latest(BATCH)
        copies.append(ground.spent(lambda rows=rows: _copy(rows)))
        _forget_changes()
    yield _against_copy(_median(ours), _median(copies))


def _against_copy(mine: Spent, copy: Spent) -> Row:
    micros = 1e6 / BATCH
    return Row(
        f"events, inbox to stored, {BATCH:,} a batch",
        f"{mine.cpu * micros:.0f} µs of CPU an event: Python {mine.client * micros:.0f}, "
        f"PostgreSQL {mine.server * micros:.0f}",
        f"COPY, no index: {copy.cpu * micros:.0f} µs",
        mine.cpu / max(copy.cpu, 1e-9),
        "≤ 5×",
    )


_COLUMNS = (
    "customer_id, id, name_id, source_id, message_id, came_by, occurred_at, received_at, amount, "
    "currency, properties, context"
)


def _plain_table() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS plain_event")
        cursor.execute("CREATE TABLE plain_event AS SELECT * FROM events_event LIMIT 0")


def _latest(count: int) -> list[bytes]:
    from django.db import connection

    query = f"SELECT {_COLUMNS} FROM events_event ORDER BY id DESC LIMIT {count}"
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT") as copy:
        return [bytes(block) for block in copy]


def _copy(rows: list[bytes]) -> None:
    from django.db import connection

    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY plain_event ({_COLUMNS}) FROM STDIN") as copy,
    ):
        copy.write(b"".join(rows))


def _forget_changes() -> None:
    from customers.models import Change

    Change.objects.all().delete()


def run(size: Size) -> Iterator[Row]:
    """Inbox to memberships and outbox, by one pipeline, with many segments and some triggers."""
    from cdp import lanes, pipeline
    from cdp.management.commands import run_pipeline
    from segments.models import Membership, MembershipChange

    typical.save_segments(SEGMENTS)
    if not Membership.objects.exists():
        typical.fill()
    save_triggers(10)
    _forget_changes()
    events = (2 if size.is_small else 30) * BATCH
    run_pipeline.prepare()
    arrivals, *others = pipeline.LANES
    taken = Taken(arrivals.stages[0])
    running = lanes.Lanes([arrivals._replace(stages=(taken.stage,)), *others])
    running.start()
    try:
        receive(BATCH, size.customers)
        taken.wait(BATCH)  # warm
        before = MembershipChange.objects.count()
        receive(events, size.customers)
        cost = ground.spent(lambda: taken.wait(events), in_threads=True)
    finally:
        running.stop()
        running.wait()
    churn = (MembershipChange.objects.count() - before) / events
    micros = 1e6 / events
    yield Row(
        f"events, inbox to memberships and outbox, {SEGMENTS} segments, one pipeline",
        f"{events / cost.wall:,.0f} events/s; {cost.cpu * micros:.0f} µs of CPU an event: Python "
        f"{cost.client * micros:.0f}, PostgreSQL {cost.server * micros:.0f}; "
        f"{churn:.2f} changes of membership an event",
        "rudder-server's gateway, which only stores: 1,700/s",
        events / cost.wall / 1_700,
        "≥ 5,000 events/s",
    )


class Taken:
    """Counts the requests that a stage takes: to ask the database again and again costs too."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage._replace(work=self._work)
        self._take = stage.work
        self._count = 0

    def _work(self, limit: int) -> int:
        taken = self._take(limit)
        self._count += taken
        return taken

    def wait(self, requests: int) -> None:
        """Wake the pipeline, and wait until so many have flowed to the end."""
        from customers.models import Change
        from events.sql import queue

        queue.notify()
        while self._count < requests:
            time.sleep(0.01)
        self._count -= requests
        while Change.objects.filter(error="").exists():
            time.sleep(0.05)


def save_triggers(count: int) -> None:
    """Have so many triggers, each on a segment of its own, to a destination that is switched off.

    What is queued for it stays queued: no queue process runs here.
    """
    from activation import destinations
    from activation.models import Destination, Trigger
    from segments.models import Segment

    if Trigger.objects.exists():
        return
    target = Destination.objects.filter(key="bench").first()
    if target is None:
        target = Destination(key="bench", name="Bench", config={"url": "https://shop.example/"})
        destinations.save(target)
    for segment in Segment.objects.order_by("id")[:count]:
        Trigger.objects.create(
            key=segment.key,
            name=segment.name,
            segment=segment,
            destination=target,
            is_enabled=True,
        )


def _median(costs: list[Spent]) -> Spent:
    return Spent(*(statistics.median(column) for column in zip(*costs, strict=True)))

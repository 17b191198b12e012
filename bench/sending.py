"""100,000 messages at once: how quickly they go out, what new ones wait, what is left behind."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from bench import ground
from bench.ground import Row, Size
from bench.latency import PING
from tests.live.product import Product

EVERY = 0.5  # seconds between new entries
PATIENCE = 1_800.0
TEMPLATE = '{"who": {{ customer.customer_id | json }}, "city": {{ customer.fields.city | json }}}'


class Case(NamedTuple):
    """A destination that everybody is sent to at once."""

    what: str
    share: float  # of the messages
    rate: float | None = None
    template: str = ""
    is_dumped: bool = False  # what was there when it began stays visible to somebody to its end


CASES = (
    Case("as quickly as it answers", 1.0),
    Case("so beside a dump of the database", 0.5, is_dumped=True),
    Case("1,000/s at most", 0.3, rate=1_000.0),
    Case("100/s at most", 0.03, rate=100.0),
    Case("each with a text from a template", 0.1, template=TEMPLATE),
)


FORGET = """
    TRUNCATE activation_destination, activation_turn, activation_tally CASCADE;
    DELETE FROM segments_membership WHERE segment_id IN (
        SELECT id FROM segments_segment WHERE key LIKE 'crowd-%'
    );
    DELETE FROM segments_segment WHERE key LIKE 'crowd-%'
"""


class Hook:
    """The receiver."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "bench.hook"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)
        self.url = f"http://127.0.0.1:{self._told().strip()}"

    def _told(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def state(self) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._told())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def run(size: Size) -> Iterator[Row]:
    most = min(100_000, size.customers)
    hook = Hook()
    _prepare(hook.url)
    with tempfile.TemporaryDirectory(prefix="cdp-bench-product-") as directory:
        product = _product(Path(directory) / "var")
        product.start()
        try:
            for number, case in enumerate(CASES):
                yield from _measure(product, hook, number, case, max(100, int(most * case.share)))
            for part, megabytes in _memory(product).items():
                yield Row(
                    f"peak memory of {part} meanwhile", f"{megabytes:.0f} MB", goal="≤ 200 MB"
                )
        finally:
            product.stop()
            requests = sum(hook.state()["count"].values())
            hook.close()
    yield _sizes()
    yield _twice(requests)


def _product(directory: Path) -> Product:
    from django.conf import settings

    return Product(
        directory,
        DATABASE_URL=os.environ["DATABASE_URL"],
        CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8",
        # The destination's secret was encrypted here: by a key of its own it signs nothing.
        CDP_SECRET_KEY=settings.SECRET_KEY,
    )


def _prepare(url: str) -> None:
    """Have a segment of those who have pinged, and a trigger that sends elsewhere for them."""
    from django.db import connection

    from segments import definitions
    from segments.models import Segment, SegmentState

    with connection.cursor() as cursor:
        cursor.execute(FORGET)
    if not Segment.objects.filter(key="pinged").exists():
        definitions.save(Segment(key="pinged", name="Pinged", rule={"event": PING}))
        Segment.objects.update(state=SegmentState.LIVE)
    _send_to("elsewhere", "pinged", {"url": f"{url}/elsewhere"})


def _send_to(key: str, segment: str, config: dict[str, Any], **more: Any) -> None:
    """Have a trigger, and a destination unless there is one of this key."""
    from activation import destinations, triggers
    from activation.models import Destination, Trigger
    from segments.models import Segment

    found = Destination.objects.filter(key=key).first()
    target = found or Destination(key=key, name=key, config=config, rate=more.pop("rate", None))
    if found is None:
        destinations.save(target)
    triggers.save(
        Trigger(
            key=f"{key}-{segment}",
            name=key,
            segment=Segment.objects.get(key=segment),
            destination=target,
            is_enabled=True,
            **more,
        )
    )


def _crowd(number: int, count: int) -> str:
    """Make a segment with so many members; return its key."""
    from django.db import connection

    from segments.models import Segment

    key = f"crowd-{number}"
    segment = Segment.objects.create(key=key, name=key, kind="static", rule=None, state="live")
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO segments_membership (customer_id, segment_id, entered_at, entry_no, cause)
            SELECT id, %s, now(), 1, 'manual' FROM customers_customer ORDER BY id LIMIT %s
            """,
            [segment.pk, count],
        )
    return key


def _measure(product: Product, hook: Hook, number: int, case: Case, count: int) -> Iterator[Row]:
    key, crowd = f"busy-{number}", _crowd(number, count)
    config = {"url": f"{hook.url}/{key}"} | ({"template": case.template} if case.template else {})
    dump = _dump() if case.is_dumped else None
    before = _cpu(product)
    began = time.monotonic()
    _send_to(key, crowd, config, rate=case.rate, include_existing=True)
    _send_to(key, "pinged", config)
    sent: dict[str, float] = {}
    over = threading.Event()
    pings = threading.Thread(target=_ping, args=(product.port, sent, over))
    pings.start()
    first = 0.0
    while (state := hook.state())["count"].get(f"/{key}", 0) < count:
        first = first or (time.monotonic() if state["count"].get(f"/{key}") else 0.0)
        assert time.monotonic() < began + PATIENCE, f"{state['count']} after {PATIENCE:.0f} s"
        time.sleep(0.1)
    seconds = time.monotonic() - (first or began)
    spent = [after - then for after, then in zip(_cpu(product), before, strict=True)]
    over.set()
    pings.join()
    time.sleep(2)
    if dump:
        dump.close()
    state = hook.state()
    yield Row(
        f"{count:,} messages at once, {case.what}",
        f"{count / seconds:,.0f}/s; CPU of a message: sender {spent[0] / count * 1000:.2f} ms, "
        f"PostgreSQL {spent[1] / count * 1000:.2f} ms",
        f"{case.rate:,.0f}/s" if case.rate else "",
        count / seconds / case.rate if case.rate else None,
    )
    yield Row(
        "a new message meanwhile",
        f"to another destination {_waits(sent, state, '/elsewhere')}; "
        + ("" if case.template else f"to the same {_waits(sent, state, f'/{key}')}"),
    )
    from activation import triggers
    from activation.models import Trigger

    triggers.switch_off(Trigger.objects.get(key=f"{key}-pinged"))


def _dump() -> Any:
    """Look at the database as pg_dump does: as it was at one moment, for as long as it takes."""
    from django.db import connection

    session = connection.copy()
    with session.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        cursor.execute("SELECT count(*) FROM activation_trigger")
    return session


def _waits(sent: dict[str, float], state: dict[str, Any], path: str) -> str:
    arrived = state["arrived"]
    waits = [
        arrived[f"{path} {who}"] - at for who, at in sent.items() if f"{path} {who}" in arrived
    ]
    if not waits:
        return f"none of {len(sent)}"
    p50, p99 = (ground.percentile(waits, share) * 1_000 for share in (0.5, 0.99))
    missing = f", {len(sent) - len(waits)} missing" if len(waits) < len(sent) else ""
    return f"p50 {p50:,.0f} ms, p99 {p99:,.0f} ms of {len(waits)}{missing}"


def _ping(port: int, sent: dict[str, float], over: threading.Event) -> None:
    """Have a new visitor enter now and then."""
    link = HTTPConnection("127.0.0.1", port, timeout=60)
    while not over.wait(EVERY):
        who = f"ping-{uuid.uuid4()}"
        sent[who] = time.monotonic()
        event = {"event": PING, "anonymousId": who, "messageId": who}
        while not _told(link, event):
            link.close()


def _told(link: HTTPConnection, event: dict[str, str]) -> bool:
    """Send an event; say whether it got there. A connection may have been ended meanwhile."""
    try:
        link.request("POST", "/v1/track", json.dumps(event), {"X-Write-Key": "web"})
        answer = link.getresponse()
    except OSError:
        return False
    answer.read()
    assert answer.status == 200, answer.status
    return True


def _cpu(product: Product) -> tuple[float, float]:
    """The CPU seconds so far of what sends, and of the whole PostgreSQL."""
    data = Path(os.environ["CDP_DATA_DIR"]) / "pg" / "postmaster.pid"
    database = psutil.Process(int(data.read_text().split()[0]))
    return _seconds(product.child("sending")), _seconds(database)


def _seconds(parent: psutil.Process) -> float:
    spent = 0.0
    for one in [parent, *parent.children(recursive=True)]:
        with_children = one.cpu_times()
        spent += sum(with_children[:4] if one == parent else with_children[:2])
    return spent


def _memory(product: Product) -> dict[str, float]:
    """The most memory in MB that a process of each part has had."""
    peaks = {}
    for part in ("pipeline", "queue", "sending"):
        child = product.child(part)
        family = [child, *child.children(recursive=True)]
        status = [Path(f"/proc/{one.pid}/status").read_text() for one in family]
        peaks[part] = max(int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024 for text in status)
    return peaks


def _sizes() -> Row:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, pg_table_size(c.oid) / 1e6, pg_indexes_size(c.oid) / 1e6,
                   (SELECT count(*) FROM activation_delivery)
            FROM pg_class c WHERE relname IN ('activation_delivery', 'activation_attempt')
            ORDER BY 1 DESC
            """
        )
        rows = cursor.fetchall()
    text = "; ".join(
        f"{name}: {table:.0f} MB, indexes {index:.0f} MB" for name, table, index, _ in rows
    )
    return Row(f"the log of these {rows[0][3]:,} messages", text)


def _twice(requests: int) -> Row:
    from activation.models import Attempt, Delivery

    delivered = Delivery.objects.filter(delivered_at__isnull=False).count()
    return Row(
        "requests for these messages",
        f"{requests:,} came, {Attempt.objects.count():,} noted; {delivered:,} delivered",
        goal="one each",
    )

"""The whole product at work: from an event that is sent to the webhook that arrives, and memory."""

import json
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil

from bench import ground, river, typical
from bench.ground import Row, Size
from cdp import cluster
from tests.live.product import Product

RATE = 200  # events a second, one in twenty of a visitor who enters a segment
CLIENTS = 4
PING = "Bench Ping"
PARTS = ("web", "pipeline", "queue", "sending")


class Receiver(BaseHTTPRequestHandler):
    """Notes when each visitor's message arrived."""

    arrived: dict[str, float] = {}

    def do_POST(self) -> None:
        now = time.perf_counter()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for visitor in re.findall(rb"ping-[0-9a-f-]{36}", body):
            self.arrived.setdefault(visitor.decode(), now)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def run(size: Size) -> Iterator[Row]:
    from django.conf import settings

    from segments.models import Membership

    duration = 5 if size.is_small else 30
    typical.save_segments(100)
    if not Membership.objects.exists():
        typical.fill()
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    _prepare(f"http://127.0.0.1:{receiver.server_port}/")
    with tempfile.TemporaryDirectory(prefix="cdp-bench-product-") as directory:
        product = Product(
            Path(directory) / "var",
            DATABASE_URL=os.environ["DATABASE_URL"],
            CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8",
            # The destination's secret was encrypted here: by a key of its own it signs nothing.
            CDP_SECRET_KEY=settings.SECRET_KEY,
        )
        product.start()
        try:
            if not size.is_small:
                _come_to_rest()
            _send(product.port, 3, size.customers)  # warm
            before, worked = _memory(product), _cpu(product)
            began_at = time.perf_counter()
            sent = _send(product.port, duration, size.customers)
            _wait(sent)
            lasted = time.perf_counter() - began_at
            after, works = _memory(product), _cpu(product)
        finally:
            product.stop()
            receiver.shutdown()
    yield from _rows(sent)
    shares = ", ".join(
        f"{part} {100 * (seconds - worked[part]) / lasted:.0f} %" for part, seconds in works.items()
    )
    yield Row("of one core meanwhile", shares)
    for part, most in after.items():
        yield Row(
            f"peak memory of {part}, its largest process",
            f"{most:.0f} MB",
            f"before those events: {before[part]:.0f} MB",
            most / before[part],
            "≤ 200 MB, flat",
        )


def _rows(sent: dict[str, float]) -> Iterator[Row]:
    """How long the messages took, or why none came."""
    what = f"event sent → webhook received, at {RATE} events/s, 100 segments"
    waits = [Receiver.arrived[who] - at for who, at in sent.items() if who in Receiver.arrived]
    lost = len(sent) - len(waits)
    if not waits:
        yield Row(what, f"none of {lost} arrived: {_reasons()}")
        return
    p50, p99 = (ground.percentile(waits, share) * 1000 for share in (0.5, 0.99))
    yield Row(
        what,
        f"p50 {p50:.0f} ms, p99 {p99:.0f} ms of {len(waits)}; {lost} not there after a minute",
        goal="p50 ≤ 250 ms, p99 ≤ 1 s",
    )


def _reasons() -> str:
    """Say what the log of deliveries has to say."""
    from activation.models import Attempt, Delivery

    errors = Attempt.objects.order_by("error").values_list("error", flat=True).distinct()
    return "; ".join(errors[:3]) or f"{Delivery.objects.count()} queued, none attempted"


def _prepare(url: str) -> None:
    """Have one trigger: a message when a visitor's first ping arrives."""
    from activation import destinations, triggers
    from activation.models import Delivery, Destination, Trigger
    from customers.models import Change
    from segments import definitions
    from segments.models import Segment, SegmentState

    Delivery.objects.all().delete()
    Trigger.objects.all().delete()
    Destination.objects.all().delete()
    Change.objects.all().delete()
    segment = Segment.objects.filter(key="pinged").first()
    if segment is None:
        segment = Segment(key="pinged", name="Pinged", rule={"event": PING})
        definitions.save(segment)
        Segment.objects.update(state=SegmentState.LIVE)
    target = Destination(key="receiver", name="Receiver", config={"url": url})
    destinations.save(target)
    triggers.save(
        Trigger(key="pinged", name="Pinged", segment=segment, destination=target, is_enabled=True)
    )


def _send(port: int, duration: float, customers: int) -> dict[str, float]:
    """Send at the rate for so many seconds; return when each visitor's ping was sent."""
    sent: dict[str, float] = {}
    began_at = time.perf_counter()

    def client(number: int) -> None:
        link = HTTPConnection("127.0.0.1", port, timeout=60)
        for turn in range(number, int(duration * RATE), CLIENTS):
            event = river.event(customers)
            if turn % 20 == 0:
                who = f"ping-{uuid.uuid4()}"
                event |= {"event": PING, "anonymousId": who, "userId": None}
            time.sleep(max(0.0, began_at + turn / RATE - time.perf_counter()))
            if turn % 20 == 0:
                sent[who] = time.perf_counter()
            link.request("POST", "/v1/track", json.dumps(event), {"X-Write-Key": "web"})
            answer = link.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent


def _come_to_rest() -> None:
    """Wait until the queue has worked out how large these new segments were on each past day."""
    from django_q.models import OrmQ

    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and OrmQ.objects.exists():
        time.sleep(0.5)


def _wait(sent: dict[str, float]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not sent.keys() <= Receiver.arrived.keys():
        time.sleep(0.1)


def _cpu(product: Product) -> dict[str, float]:
    """The seconds of CPU that each part has taken so far; the rest is the bench's own."""
    spent = {"bench": sum(psutil.Process().cpu_times()[:2])}
    for part in PARTS:
        spent[part] = sum(sum(one.cpu_times()[:4]) for one in _family(product, part))
    pid_file = cluster.directory(Path(os.environ["CDP_DATA_DIR"])) / "postmaster.pid"
    database = psutil.Process(int(pid_file.read_text().split()[0]))
    for one in [database, *database.children()]:
        spent["PostgreSQL"] = spent.get("PostgreSQL", 0.0) + sum(one.cpu_times()[:4])
    return spent


def _family(product: Product, part: str) -> list[psutil.Process]:
    child = product.child(part)
    return [child, *child.children(recursive=True)]


def _memory(product: Product) -> dict[str, float]:
    """The most memory in MB that a process of each part has had."""
    peaks = {}
    for part in PARTS:
        status = [Path(f"/proc/{one.pid}/status").read_text() for one in _family(product, part)]
        peaks[part] = max(int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1024 for text in status)
    return peaks

"""A file of ten values a customer through the whole product: uploaded, checked, imported, followed.

Meanwhile a worker of the queue is killed, pages are asked for, and the memory of all processes is
looked at. In the end every value is compared with the file.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench import csv_import, ground
from bench.ground import Row, Size
from tests.live.product import Product

HOURS = 6  # after which it has not come to an end
PARTS = ("web", "pipeline", "queue", "sending")


def run(size: Size) -> Iterator[Row]:
    from cdp import apikeys
    from customers.models import CustomerField

    CustomerField.objects.bulk_create(
        (CustomerField(name=name, type=kind) for name, kind in csv_import.FIELDS.items()),
        ignore_conflicts=True,
    )
    _, key = apikeys.create("bench of a large file")
    with tempfile.TemporaryDirectory(prefix="cdp-bench-product-") as directory:
        path = Path(directory) / "large.csv"
        lines = size.customers * len(csv_import.FIELDS)
        csv_import.write(path, lines)
        product = Product(Path(directory) / "var", DATABASE_URL=os.environ["DATABASE_URL"])
        product.start()
        watch = Watch(product, key)
        try:
            yield from _follow(product, key, path, lines, watch)
        finally:
            watch.stop()
            product.stop()
        yield _compared(path, lines)
    csv_import._empty()


def _follow(product: Product, key: str, path: Path, lines: int, watch: "Watch") -> Iterator[Row]:
    what = f"file of {lines:,} lines"
    start = time.perf_counter()
    run_id = _upload(product.port, key, path)
    yield Row(f"{what}, upload", f"{time.perf_counter() - start:.0f} s")
    yield Row(f"{what}, check", _until(run_id, "checked", lines, watch))
    _ask(product.port, key, "POST", f"/api/imports/{run_id}/apply/")
    yield Row(f"{what}, import, a worker killed half way", _until(run_id, "done", lines, watch, 2))
    start = time.perf_counter()
    _wait_for_changes()
    yield Row(f"{what}, changes followed by the pipeline", f"{time.perf_counter() - start:.0f} s")
    for part, most in watch.most.items():
        yield Row(f"{what}, peak memory of {part}", f"{most:.0f} MB", goal="≤ 300 MB")
    waits = watch.waits
    p50, p95 = (ground.percentile(waits, share) * 1000 for share in (0.5, 0.95))
    figure = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms of {len(waits)}"
    yield Row(f"{what}, a request for a customer meanwhile", figure)


def _until(run_id: int, state: str, lines: int, watch: "Watch", kill_at: int = 0) -> str:
    """Wait until an import has come so far; kill who works on it once, at this part of it."""
    from customers.models import Import

    start, before, lost = time.perf_counter(), watch.cpu(), 0.0
    seen: set[int] = set()
    while (run := Import.objects.get(pk=run_id)).state != state:
        assert run.state in ("waiting", "checking", "importing"), (run.state, run.error)
        assert time.perf_counter() - start < HOURS * 3600
        seen.add(run.lines_done)
        if kill_at and run.lines_done > lines // kill_at:
            began = time.perf_counter()
            watch.kill_worker()
            while Import.objects.get(pk=run_id).lines_done == run.lines_done:
                time.sleep(0.2)
            kill_at, lost = 0, time.perf_counter() - began
        time.sleep(0.2)
    took, after = time.perf_counter() - start, watch.cpu()
    spent = ", ".join(f"{part} {after[part] - before[part]:.0f}" for part in after)
    kept = f"; {lost:.0f} s of it until somebody went on" if lost else ""
    return f"{took:.0f} s{kept}; CPU s: {spent}; progress seen at {len(seen)} places"


class Watch:
    """Looks at the memory of all processes, and asks for a page now and then."""

    def __init__(self, product: Product, key: str) -> None:
        self.product = product
        self.key = key
        self.most: dict[str, float] = {}
        self.waits: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    def kill_worker(self) -> None:
        """Kill the worker of the queue that has worked most."""
        workers = self.product.child("queue").children(recursive=True)
        max(workers, key=lambda one: sum(one.cpu_times()[:2])).kill()

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far, of processes that live."""
        return {
            part: sum(sum(one.cpu_times()[:2]) for one in self._family(part)) for part in PARTS
        } | {"database": _database_seconds()}

    def _family(self, part: str) -> list[psutil.Process]:
        child = self.product.child(part)
        return [child, *child.children(recursive=True)] if child else []

    def _look(self) -> None:
        while not self._is_over.wait(0.5):
            for part in PARTS:
                for one in self._family(part):
                    try:
                        most = _high_water(one.pid)
                    except OSError:
                        continue
                    self.most[part] = max(most, self.most.get(part, 0))
            start = time.perf_counter()
            _ask(self.product.port, self.key, "GET", "/api/customers/?page_size=10")
            self.waits.append(time.perf_counter() - start)


def _high_water(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _database_seconds() -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        pids = [pid for (pid,) in cursor.fetchall()]
    total = 0.0
    for pid in pids:
        try:
            total += sum(psutil.Process(pid).cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def _upload(port: int, key: str, path: Path) -> int:
    """Send a file as a form does, a piece at a time."""
    edge = "large-file"
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="dry_run"\r\n\r\ntrue\r\n'
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="large.csv"\r\n'
        "Content-Type: text/csv\r\n\r\n"
    ).encode()
    tail = f"\r\n--{edge}--\r\n".encode()
    link = HTTPConnection("127.0.0.1", port, timeout=3600)
    link.putrequest("POST", "/api/imports/")
    link.putheader("Authorization", f"Bearer {key}")
    link.putheader("Content-Type", f"multipart/form-data; boundary={edge}")
    link.putheader("Content-Length", str(len(head) + path.stat().st_size + len(tail)))
    link.endheaders()
    link.send(head)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            link.send(block)
    link.send(tail)
    answer = link.getresponse()
    text = answer.read().decode()
    assert answer.status == 201, text
    return int(json.loads(text)["id"])


def _ask(port: int, key: str, method: str, path: str) -> None:
    link = HTTPConnection("127.0.0.1", port, timeout=600)
    link.request(method, path, headers={"Authorization": f"Bearer {key}"})
    answer = link.getresponse()
    text = answer.read()
    assert answer.status == 200, text


def _wait_for_changes() -> None:
    from customers.models import Change

    deadline = time.monotonic() + HOURS * 3600
    while Change.objects.filter(error="").exists():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _compared(path: Path, lines: int) -> Row:
    """Compare every good line of the file with the customers."""
    from django.conf import settings
    from django.db import connection

    csv_import._copy(path)
    with connection.cursor() as cursor:
        cursor.execute(COMPARED, [settings.TIME_ZONE])
        good, same, stored, logged = cursor.fetchone()
    figure = f"{same:,} of {good:,} values as in the file; {stored:,} stored, {logged:,} logged"
    assert good == same == stored == logged, figure
    return Row(f"file of {lines:,} lines, afterwards", figure)


COMPARED = """
    WITH good AS (
        SELECT customer, name, CASE
            WHEN name = 'birthday' THEN to_char(
                (value::timestamp AT TIME ZONE %s) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            ELSE value END AS value
        FROM plain WHERE value <> 'oops'
            OR name IN ('firstName', 'lastName', 'email', 'city', 'language')
    ), stored AS (
        SELECT external_id AS customer, key AS name, value
        FROM customers_customer CROSS JOIN LATERAL jsonb_each_text(fields)
    )
    SELECT (SELECT count(*) FROM good),
           (SELECT count(*) FROM good JOIN stored USING (customer, name, value)),
           (SELECT count(*) FROM stored),
           (SELECT count(*) FROM customers_fieldchange
            CROSS JOIN LATERAL jsonb_each(changes) WHERE import_id IS NOT NULL)
"""

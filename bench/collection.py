"""Events over HTTP, one by one and in batches, against the same view without a database."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench import river
from bench.ground import Row, Size
from tests.live.product import MANAGE, free_port, wait_for

CLIENTS = 8
BATCH = 100


def run(size: Size) -> Iterator[Row]:
    requests = 200 if size.is_small else 4_000
    with _server([str(MANAGE), "run_web"]) as ours, _server(["-m", "bench.no_database"]) as bare:
        for what, path, count, goal in (
            ("single events", "/v1/track", requests, "≥ 0.4"),
            (f"batches of {BATCH}", "/v1/batch", requests // 20, "≥ 0.3"),
        ):
            bodies = [_body(path, size.customers) for _ in range(count)]
            for server in (ours, bare):  # warm
                server.send(path, bodies[: CLIENTS * 2])
            mine, theirs = [], []
            for _ in range(3):
                bodies = [_body(path, size.customers) for _ in range(count)]
                mine.append(ours.send(path, bodies))
                theirs.append(bare.send(path, bodies))
            (seconds, cpu), (bare_seconds, bare_cpu) = sorted(mine)[1], sorted(theirs)[1]
            yield Row(
                f"collection over HTTP, {what}, 2 workers",
                f"{count / seconds:,.0f} requests/s; {cpu * 1e6 / count:.0f} µs of CPU each, "
                "PostgreSQL's included",
                f"without a database: {count / bare_seconds:,.0f} requests/s, "
                f"{bare_cpu * 1e6 / count:.0f} µs",
                bare_seconds / seconds,
                goal,
            )
    _empty_inbox()


def _body(path: str, customers: int) -> bytes:
    one = river.event(customers)
    if path == "/v1/track":
        return json.dumps(one).encode()
    return json.dumps({"batch": [river.event(customers) for _ in range(BATCH)]}).encode()


class Server:
    """A web server of ours, and the CPU that it and the database take."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process, self.port = process, port

    def send(self, path: str, bodies: list[bytes]) -> tuple[float, float]:
        """Send from some clients at once; return seconds by the clock, and of the CPU."""
        waiting = [*bodies]
        threads = [
            threading.Thread(target=self._client, args=(path, waiting)) for _ in range(CLIENTS)
        ]
        cpu, clock = self._cpu(), time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - clock, self._cpu() - cpu

    def _client(self, path: str, waiting: list[bytes]) -> None:
        link = HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.suppress(IndexError):
            while body := waiting.pop():
                link.request("POST", path, body, {"X-Write-Key": "web"})
                answer = link.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
        link.close()

    def _cpu(self) -> float:
        web = psutil.Process(self.process.pid)
        return seconds([web, *web.children(recursive=True), *backends()])


def seconds(processes: list[psutil.Process]) -> float:
    total = 0.0
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


def backends() -> list[psutil.Process]:
    """The processes of the database."""
    data = Path(os.environ["CDP_DATA_DIR"]) / "pg" / "postmaster.pid"
    postmaster = psutil.Process(int(data.read_text().split()[0]))
    return [postmaster, *postmaster.children()]


@contextlib.contextmanager
def _server(arguments: list[str]) -> Iterator[Server]:
    port = free_port()
    env = os.environ | {"CDP_PORT": str(port), "CDP_HOST": "127.0.0.1"}
    given = arguments if arguments[0] != "-m" else [*arguments, str(port)]
    process = subprocess.Popen([sys.executable, *given], env=env, start_new_session=True)
    server = Server(process, port)
    try:
        wait_for(lambda: _answers(port), 60, "the web server")
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    link = HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.suppress(OSError):
        link.request("GET", "/healthz")
        return link.getresponse().status == 200
    return False


def _empty_inbox() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE events_inbox")

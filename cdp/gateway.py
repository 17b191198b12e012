"""From the web server's event loop to Django: what a request brings is awaited here.

Were a thread to wait for each body, as WSGI servers do, a few clients that send one byte a second
would hold all of them, and nobody else's events would be taken. A thread gets a request that is
here, whole; and the time in which it must be is limited.
"""

import asyncio
import io
import logging
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final

from django.conf import settings

from cdp.wsgi import application as django

THREADS: Final = 8  # of a worker. Each keeps a database connection; Python runs one at a time
PATIENCE: Final = 10.0  # seconds until a body must be here, and one more for each SLOWEST bytes
SLOWEST: Final = 10_000  # bytes a second
SMALL: Final = 64 * 1024  # bytes that are read in one go
IN_MEMORY: Final = 256 * 1024  # bytes of a body; more goes into a file
READER_PATIENCE: Final = 60.0  # seconds in which a client must read a part of a long answer
LAST_SECONDS: Final = 6.0  # for what is under way when a worker is told to stop
LOOKS: Final = 5  # a tenth of a second apart, by which nothing is under way: then it stops
_COLLECTING: Final = ("/v1/", "/beacon/", "/api/s/", "/hooks/")  # larger bodies are cut off

logger = logging.getLogger(__name__)


class Gateway:
    """Serves Django by RSGI, the server's own protocol."""

    def __init__(self, application: Callable[..., Iterable[bytes]], threads: int) -> None:
        self._application = application
        self._pool = ThreadPoolExecutor(threads, "django")
        self._under_way = 0

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        if scope.proto != "http":
            return
        self._under_way += 1
        try:
            await self._answer(scope, proto)
        finally:
            self._under_way -= 1

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what has come before the worker goes: the server itself would leave it."""
        loop.run_until_complete(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        loop = asyncio.get_running_loop()
        deadline, quiet = loop.time() + LAST_SECONDS, 0
        while quiet < LOOKS and loop.time() < deadline:
            await asyncio.sleep(0.1)
            quiet = 0 if self._under_way else quiet + 1

    async def _answer(self, scope: Any, proto: Any) -> None:
        try:
            body, size = await _receive(scope, proto)
        except TimeoutError:
            proto.response_str(503, _REFUSED, _TOO_SLOW)
            return
        except (RuntimeError, OSError):  # the client is gone
            proto.response_str(400, _REFUSED, _BROKEN_OFF)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._pool, self._serve, _environ(scope, body, size), proto, loop
        )

    def _serve(self, environ: dict[str, Any], proto: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Have Django answer, in a thread of its own, which keeps its database connection."""
        started = _Started()
        answer: Any = self._application(environ, started)
        try:
            if getattr(answer, "streaming", False):
                transport = proto.response_stream(started.status, started.headers)
                _send(transport.send_bytes, answer, loop)
            else:
                proto.response_bytes(started.status, started.headers, b"".join(answer))
        finally:
            answer.close()
            environ["wsgi.input"].close()


def _send(
    send: Callable[[bytes], Awaitable[None]],
    parts: Iterator[bytes],
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Send a long answer as it is written; give up on who does not read it."""

    async def one(part: bytes) -> None:
        await send(part)

    try:
        for part in parts:
            asyncio.run_coroutine_threadsafe(one(part), loop).result(READER_PATIENCE)
    except (RuntimeError, TimeoutError):
        logger.info("a long answer was not read to its end")


class _Started:
    """What Django calls to begin its answer."""

    status = 500

    def __init__(self) -> None:
        self.headers: list[tuple[str, str]] = []

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> None:
        self.status = int(status[:3])
        self.headers = [(name.lower(), value) for name, value in headers]


_REFUSED: Final = [
    ("content-type", "application/json"),
    ("access-control-allow-origin", "*"),
    ("connection", "close"),
    ("retry-after", "2"),
]
_TOO_SLOW: Final = '{"code": "too_slow", "message": "The request did not arrive in time."}'
_BROKEN_OFF: Final = '{"code": "malformed", "message": "The request broke off."}'


async def _receive(scope: Any, proto: Any) -> tuple[IO[bytes], int]:
    """Wait for the body; return it and its size. Raises TimeoutError, OSError, RuntimeError."""
    headers = scope.headers
    given = headers.get("content-length")
    length = int(given) if given and given.isdecimal() else None
    if not length and "transfer-encoding" not in headers:
        return io.BytesIO(), 0
    if length is not None and length <= SMALL:
        async with asyncio.timeout(PATIENCE):
            body = await proto()
        if len(body) < length:
            raise ConnectionError
        return io.BytesIO(body), length
    spool, size = await _receive_long(proto, _most(scope.path))
    if length is not None and size < min(length, _most(scope.path)):
        raise ConnectionError
    return spool, size


async def _receive_long(proto: Any, most: float) -> tuple[IO[bytes], int]:
    loop = asyncio.get_running_loop()
    began, size = loop.time(), 0
    spool: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (closed when answered)
    try:
        async with asyncio.timeout_at(began + PATIENCE) as limit:
            async for part in proto:
                spool.write(part)
                size += len(part)
                if size >= most:
                    break
                limit.reschedule(began + PATIENCE + size / SLOWEST)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool, size


def _most(path: str) -> float:
    """Return how many bytes of a body are read: where events come in, one beyond the limit."""
    return settings.MAX_REQUEST_BYTES + 1 if path.startswith(_COLLECTING) else float("inf")


def _environ(scope: Any, body: IO[bytes], size: int) -> dict[str, Any]:
    """Describe the request as WSGI does."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    for name, value in scope.headers.items():
        if "_" not in name:  # would pass for the header with a dash
            _add_header(environ, name.upper().replace("-", "_"), value)
    environ.pop("HTTP_CONTENT_LENGTH", None)
    if size:
        environ["CONTENT_LENGTH"] = str(size)
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    return environ


def _add_header(environ: dict[str, Any], name: str, value: str) -> None:
    key = f"HTTP_{name}"
    if key in environ and name == "COOKIE":
        value = f"{environ[key]}; {value}"
    elif key in environ and name not in ("HOST", "CONTENT_LENGTH", "CONTENT_TYPE"):
        value = f"{environ[key]},{value}"
    environ[key] = value


application = Gateway(django, THREADS)

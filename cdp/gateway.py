"""From the web server's threads to Django's: what a request brings is awaited here.

A thread that serves Django keeps a database connection, so there are few. Were they to wait for
bodies, a few clients that send one byte a second would hold all of them, and nobody else's events
would be taken. So the server's own threads do, of which there may be as many as connections; one
of Django's gets a request that is here, whole.
"""

import contextlib
import io
import itertools
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import IO, Any, Final, TypeAlias

from django.conf import settings

from cdp.wsgi import application as django

THREADS: Final = 8  # of a worker. Each keeps a database connection; Python runs one at a time
PART: Final = 64 * 1024  # bytes that are read in one go
IN_MEMORY: Final = 256 * 1024  # bytes of a body; more goes into a file
AT_ONCE: Final = 512  # bodies that are awaited from one address
READER_PATIENCE: Final = 60.0  # seconds in which a client must read a part of a long answer
LAST_SECONDS: Final = 6.0  # for what is under way when a worker is told to stop
LOOKS: Final = 5  # a tenth of a second apart, by which nothing is under way: then it stops
_COLLECTING: Final = ("/v1/", "/beacon/", "/api/s/", "/hooks/")  # larger bodies are cut off

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[[str, list[tuple[str, str]]], Any]

logger = logging.getLogger(__name__)


class Gateway:
    """Serves Django by WSGI, from threads of its own."""

    def __init__(self, application: Callable[..., Any], threads: int) -> None:
        self._application = application
        self._pool = ThreadPoolExecutor(threads, "django")
        self._awaited = _Awaited()
        self._under_way = 0
        self._lock = threading.Lock()
        self._last: threading.Thread | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self._under_way += 1
            if self._last is None:  # in the process that serves: threads do not survive a fork
                self._last = threading.Thread(target=self._come_to_rest, name="last")
                self._last.start()
        try:
            return self._answer(environ, start_response)
        finally:
            with self._lock:
                self._under_way -= 1

    def _come_to_rest(self) -> None:
        """Keep the process until all is answered that has come: the server itself would not."""
        threading.main_thread().join()
        deadline, quiet = time.monotonic() + LAST_SECONDS, 0
        while quiet < LOOKS and time.monotonic() < deadline:
            time.sleep(0.1)
            quiet = 0 if self._under_way else quiet + 1

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            body, size = self._receive(environ)
        except _TooManyError:
            start_response("503 Service Unavailable", _REFUSED)
            return [_TOO_MANY]
        except (RuntimeError, OSError):  # the client is gone
            start_response("400 Bad Request", _REFUSED)
            return [_BROKEN_OFF]
        environ |= {"wsgi.input": body, "CONTENT_LENGTH": str(size)}
        begun: Future[Iterable[bytes]] = Future()
        self._pool.submit(self._serve, environ, start_response, begun)
        return begun.result()

    def _receive(self, environ: Environ) -> tuple[IO[bytes], int]:
        """Wait for the body; return it and its size.

        Raises _TooManyError, OSError and RuntimeError.
        """
        given = environ.get("CONTENT_LENGTH", "")
        length = int(given) if given.isdecimal() else None
        if not length and "HTTP_TRANSFER_ENCODING" not in environ:
            return io.BytesIO(), 0
        most = _most(environ["PATH_INFO"])
        wanted = most if length is None else min(length, most)
        with self._awaited.from_address(environ["REMOTE_ADDR"]):
            body, size = _read(environ["wsgi.input"], wanted)
        if length is not None and size < wanted:
            body.close()
            raise ConnectionError
        return body, size

    def _serve(
        self, environ: Environ, start_response: StartResponse, begun: Future[Iterable[bytes]]
    ) -> None:
        """Have Django answer, in a thread that keeps its database connection."""
        try:
            with contextlib.closing(self._application(environ, start_response)) as answer:
                if getattr(answer, "streaming", False):
                    parts = _Parts()
                    begun.set_result(parts)
                    parts.send(answer)
                else:
                    begun.set_result([b"".join(answer)])
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)
        finally:
            environ["wsgi.input"].close()


class _TooManyError(Exception):
    """So many bodies are awaited from an address that another one is not."""


class _Awaited:
    """How many bodies are awaited from each address, lest one client hold all threads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def from_address(self, address: str) -> Iterator[None]:
        """Count the block. Raises _TooManyError if too many from there are under way."""
        with self._lock:
            if self._counts[address] >= AT_ONCE:
                raise _TooManyError
            self._counts[address] += 1
        try:
            yield
        finally:
            with self._lock:
                self._counts[address] -= 1
                if not self._counts[address]:
                    del self._counts[address]


class _Parts:
    """A long answer on its way from Django's thread to the server's, a few parts at a time."""

    def __init__(self) -> None:
        self._parts: Queue[bytes | None] = Queue(2)
        self._is_broken_off = False

    def send(self, parts: Iterable[bytes]) -> None:
        """Hand over the parts as they are made; give up on who does not read them."""
        try:
            for part in itertools.chain(parts, [None]):
                if self._is_broken_off:
                    return
                self._parts.put(part, timeout=READER_PATIENCE)
        except Full:
            self.close()
            logger.info("a long answer was not read to its end")
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            yield part
        if self._is_broken_off:
            raise ConnectionError("the answer broke off")

    def close(self) -> None:
        """Break off, whatever still waits: a reader must see that the end is missing."""
        self._is_broken_off = True
        with contextlib.suppress(Empty):
            while True:
                self._parts.get_nowait()
        self._parts.put(None)


_REFUSED: Final = [
    ("content-type", "application/json"),
    ("access-control-allow-origin", "*"),
    ("connection", "close"),
    ("retry-after", "2"),
]
_TOO_MANY: Final = b'{"code": "too_many", "message": "Too many requests at once are unfinished."}'
_BROKEN_OFF: Final = b'{"code": "malformed", "message": "The request broke off."}'


def _read(source: Any, wanted: float) -> tuple[IO[bytes], int]:
    if wanted <= PART:
        body = source.read(int(wanted))
        return io.BytesIO(body), len(body)
    size = 0
    spool: Any = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 (closed when answered)
    try:
        while size < wanted and (part := source.read(PART)):
            spool.write(part)
            size += len(part)
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool, size


def _most(path: str) -> float:
    """Return how many bytes of a body are read: where events come in, one beyond the limit."""
    return settings.MAX_REQUEST_BYTES + 1 if path.startswith(_COLLECTING) else float("inf")


application = Gateway(django, THREADS)

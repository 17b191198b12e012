"""Reading the next chunk of a file while the present one is written to the database.

Reading is Python's work and writing is PostgreSQL's: side by side, they take the time of one.
"""

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeAlias

from django.core.files.storage import default_storage

from customers.imports import records
from customers.imports.records import Chunk, Header
from customers.imports.work import Work

_TURN: Final = 0.0005  # seconds after which a thread lets the other go on, usually 0.005

Read: TypeAlias = tuple[Chunk, Any]


class Place(NamedTuple):
    """Where a chunk begins, and how long it is."""

    file: str
    offset: int
    line: int
    size: int  # in bytes, about


class Ahead:
    """Chunks of a file, the next one of which is being read already.

    What was read by rules that do not hold any more is read anew.
    """

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads
        self._work: Work | None = None
        self._next: tuple[Place, Future[Read]] | None = None

    def read(self, place: Place, header: Header, work: Work) -> Read:
        """Return a chunk, and what `work` reads in it; begin to read the next.

        Work that goes by the same rules as before goes on with what it remembers.
        """
        if self._work is None or self._work.basis != work.basis:
            self._work, self._next = work, None
        work = self._work
        if self._next and self._next[0] == place:
            reading = self._next[1]
        else:
            reading = self._threads.submit(_read, place, header, work)
        self._next = None
        chunk, said = reading.result()
        if not chunk.is_last:
            then = place._replace(offset=chunk.next_offset, line=chunk.next_line)
            self._next = then, self._threads.submit(_read, then, header, work)
        return chunk, said


def _read(place: Place, header: Header, work: Work) -> Read:
    with default_storage.open(place.file, "rb") as file:
        chunk = records.read_chunk(file, header, place.offset, place.line, place.size, work.pattern)
    return chunk, work.read(chunk)


@contextlib.contextmanager
def reading() -> Iterator[Ahead]:
    """Give what reads ahead; at the end it has stopped."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    threads = ThreadPoolExecutor(1, "import")
    try:
        yield Ahead(threads)
    finally:
        threads.shutdown(cancel_futures=True)
        sys.setswitchinterval(usual)

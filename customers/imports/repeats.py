"""Lines of a file that are the same to the letter: which of them is which."""

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from customers.imports import sql


def ordinals(import_id: int, lines: Sequence[str]) -> list[int]:
    """Return for each line how many equal ones stand before it in the file.

    Remembers the lines of this chunk with the import; ask once for each chunk, in its transaction.
    """
    keys = [_hash(line) for line in lines]
    counted: Counter[int] = Counter(sql.select_seen(import_id, sorted(set(keys))))
    found = []
    for key in keys:
        found.append(counted[key])
        counted[key] += 1
    if keys:
        sql.remember_seen(import_id, {key: counted[key] for key in keys})
    return found


def _hash(line: str) -> int:
    return int.from_bytes(blake2b(line.encode(), digest_size=8).digest(), signed=True)

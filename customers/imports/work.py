"""What is to be done with the chunks of a file."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from customers.imports.records import Chunk
from customers.imports.reports import Tally
from customers.models import Import


def _nothing(chunk: Chunk) -> None:
    """Leave it to whoever handles the chunk to read it."""


class Work(NamedTuple):
    """How to handle a chunk, and what there is to add when all are done.

    `handle` gets the chunk and what `read` made of it, which happens in another thread, may happen
    in vain, and must not use the database; whatever it goes by is in `basis`, to be compared. Of
    lines that the pattern matches the cells need not be seen. `size` is that of a chunk in
    bytes, if it is not the usual one.
    """

    handle: Callable[[Chunk, Any], Tally]
    read: Callable[[Chunk], Any] = _nothing
    basis: object = None
    pattern: re.Pattern[str] | None = None
    conclude: Callable[[], Tally] = Tally
    size: int | None = None


Prepare: TypeAlias = Callable[[Import], Work]


def by_records(handle: Callable[[Import, Chunk], Tally]) -> Prepare:
    """Let a function work on chunks whose lines are all cut into cells."""

    def prepare(run: Import) -> Work:
        return Work(lambda chunk, _: handle(run, chunk), basis=run.format.get("blanked"))

    return prepare

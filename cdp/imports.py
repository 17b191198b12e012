"""Files of members of segments, whose news the triggers hear of."""

from functools import partial
from typing import Final

from activation import outbox
from segments import imports
from segments.imports import (
    check,
    example,
    is_undoable,
    start_apply,
    start_check,
    start_check_again,
    start_undo,
)

__all__ = [
    "apply",
    "check",
    "create",
    "example",
    "is_undoable",
    "start_apply",
    "start_check",
    "start_check_again",
    "start_undo",
    "undo",
]

create: Final = partial(imports.create, app="cdp")


def apply(import_id: int) -> None:
    """Put in whom a file names, as far as one task of the queue may; triggers send for them."""
    imports.apply(import_id, outbox.enqueue)


def undo(import_id: int) -> None:
    """Take out whom an import put in, as far as one task of the queue may."""
    imports.undo(import_id, outbox.enqueue)

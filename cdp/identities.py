"""Joining two customers, and separating them again, on every floor."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.db import transaction

from cdp import sql
from customers import merging, unmerging
from customers.matching import Key
from customers.models import Customer, Merge
from customers.unmerging import Split
from events import rehoming, sources

# Seconds that a statement may take: a hundred thousand events move in about seven.
PATIENCE: Final = 300


class ValueMove(NamedTuple):
    """A field: what it is now, what stays, and what the one who leaves gets."""

    field: str
    now: Any
    stays: Any
    goes: Any


class Preview(NamedTuple):
    """What a separation would take along: events by name, and values before and after."""

    split: Split
    events: Mapping[str, int]

    @property
    def event_count(self) -> int:
        return sum(self.events.values())

    @property
    def values(self) -> list[ValueMove]:
        """The fields of which something goes along."""
        before, kept, gone = (
            self.split.kept_fields_before,
            self.split.kept_fields,
            self.split.fields,
        )
        return [
            ValueMove(name, before.get(name), kept.get(name), gone.get(name))
            for name in sorted({*before, *gone})
            if before.get(name) != kept.get(name) or name in gone
        ]


def preview_undo(merge: Merge) -> Preview:
    """Say what undoing a merge would take along. Raises `unmerging.CannotSeparateError`."""
    split = unmerging.plan_undo(merge)
    return Preview(split, rehoming.count_leaving(split))


def preview_detach(customer_id: int, key: Key) -> Preview:
    """Say what an identifier would take along. Raises `unmerging.CannotSeparateError`."""
    split = unmerging.plan_detach(customer_id, key)
    return Preview(split, rehoming.count_leaving(split))


@transaction.atomic
def undo(merge: Merge, *, by: str) -> Split:
    """Separate again who was merged, with exactly what is theirs.

    Raises `unmerging.CannotSeparateError`.
    """
    sql.allow_seconds(PATIENCE)
    return _follow(unmerging.undo(merge, by))


@transaction.atomic
def detach(customer_id: int, key: Key, *, by: str) -> Split:
    """Give an identifier, with exactly what came by it, to a customer of its own.

    Raises `unmerging.CannotSeparateError`.
    """
    sql.allow_seconds(PATIENCE)
    return _follow(unmerging.detach(customer_id, key, by))


def _follow(split: Split) -> Split:
    moved = rehoming.separate(split)
    unmerging.note_seen(split, moved.seen, moved.left)
    return split


@transaction.atomic
def join(one: Customer, other: Customer, *, by: str) -> Merge:
    """Make two customers one. Raises `merging.CannotJoinError`."""
    sql.allow_seconds(PATIENCE)
    merged = merging.join(one.pk, other.pk, by, sources.protective_origins)
    rehoming.follow(merged)
    ((absorbed_id, survivor_id),) = merged.items()
    return Merge.objects.get(survivor=survivor_id, absorbed_id=absorbed_id, undone_at=None)

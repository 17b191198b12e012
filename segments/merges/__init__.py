"""Memberships and their history follow customers who become one, or two again; nobody is told."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final

from customers.changes import Fact
from segments.merges import sql
from segments.sql import change_sizes

UNMERGED: Final = "unmerged:"


def undone(facts: Iterable[Fact]) -> dict[int, int]:
    """Return who was separated from whom again, as these facts tell."""
    return {
        int(separated): fact.customer_id
        for fact in facts
        if fact.name.startswith(UNMERGED)
        and (separated := fact.name.removeprefix(UNMERGED)) != str(fact.customer_id)
    }


def unfollowed(survivors: Collection[int]) -> dict[int, int]:
    """Return who was merged into these, and has memberships or a history of their own yet.

    Their events are the survivor's already, who must not enter where they have been all along.
    """
    return dict(sql.select_unfollowed(sorted(survivors)))


def follow(survivor_of: Mapping[int, int], undone: Mapping[int, int], now: datetime) -> None:
    """Carry memberships to whoever customers are now, and back to those separated again.

    Call it inside a transaction that holds all of them. Who was merged again since stays so.
    """
    merged = {old: new for old, new in survivor_of.items() if old != new}
    if merged:
        absorbed, survivors = [*merged], [*merged.values()]
        sql.carry_history(absorbed, survivors)
        change_sizes(dict(sql.carry_memberships(absorbed, survivors, now)))
    pairs = {
        separated: survivor_of[kept]
        for separated, kept in undone.items()
        if kept in survivor_of and survivor_of.get(separated) == separated
    }
    if pairs:
        kept, separated = [*pairs.values()], [*pairs]
        sql.return_history(kept, separated)
        sql.return_ends(kept, separated)
        change_sizes(dict(sql.restore_memberships([*kept, *separated])))

"""Two customers who turn out to be one: carry what the absorbed had to the survivor."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from customers import changes, consent, exact
from customers.changes import Fact
from customers.matching import Key
from customers.models import Customer, Merge
from customers.sql import identities, records

_NEVER = datetime.min.replace(tzinfo=UTC)


# Names the sources whose word does not count against what others told. Asked only if some merge.
Weak: TypeAlias = Callable[[], Collection[str]]


class CannotJoinError(Exception):
    """Two customers cannot be made one; the message is for people."""


class Absorbed(NamedTuple):
    """A merge; `keys` are identifiers known to move with it, besides those that are stored."""

    survivor_id: int
    absorbed_id: int
    cause: str
    keys: frozenset[Key] = frozenset()


def nobody() -> Collection[str]:
    return ()


def absorb(absorptions: Sequence[Absorbed], weak: Weak = nobody) -> None:
    """Carry out these merges, in order; the absorbed stay as signposts to who they are now.

    A survivor's field stands unless the absorbed one's was written later, and not by a weak
    source where another's word is that did not come from one. What belongs to customers on higher
    floors is theirs to carry. Call it inside a transaction that holds all customers concerned.
    """
    now = _final(absorptions)
    pairs = sorted(now.items())
    records.lock_persons(sorted({*now, *now.values()}))
    _move_identifiers(absorptions, pairs)
    _merge_profiles(now, weak())
    identities.move_field_changes(pairs)
    consent.absorb(pairs)
    identities.leave_signposts(pairs)
    changes.record(
        Fact(customer_id, changes.merged(absorbed_id))
        for absorbed_id, survivor_id in pairs
        for customer_id in (survivor_id, absorbed_id)
    )


def note_latest_event(absorbed_ids: Sequence[int], event_id: int) -> None:
    """Keep with the merges just made the highest id of an event so far: later ones are told apart.

    For the floor above, in the transaction of the merges.
    """
    merges = Merge.objects.filter(absorbed_id__in=absorbed_ids, undone_at=None, last_event_id=None)
    merges.update(last_event_id=event_id)


def join(one_id: int, other_id: int, by: str, weak: Weak = nobody) -> dict[int, int]:
    """Make two customers one because somebody says so; return {absorbed: survivor}.

    The identified survives, else the older. Where both have a CustomerId the absorbed one's stays
    known as an identifier, so that what the CRM says of it arrives. Raises `CannotJoinError`. Call
    it inside a transaction; what belongs to customers on higher floors is theirs to carry.
    """
    identities.hold_identities(exclusive=False)
    rows = records.lock_profiles(sorted({one_id, other_id}))
    if len(rows) < 2 or any(merged_into for _, _, merged_into in rows):
        raise CannotJoinError("One of the two is gone or was merged meanwhile.")
    (survivor_id, *_), (absorbed_id, *_) = sorted(rows, key=lambda row: (row[1] is None, row[0]))
    absorb([Absorbed(survivor_id, absorbed_id, f"by hand: {by}")], weak)
    return {absorbed_id: survivor_id}


def fields_together(one: Customer, other: Customer, weak: Weak = nobody) -> dict[str, Any]:
    """Return the values that two customers would have if they were one."""
    survivor, absorbed = sorted((one, other), key=lambda c: (c.external_id is None, c.pk))
    values = {survivor.pk: survivor.fields, absorbed.pk: absorbed.fields}
    return _merge_fields(values, _last_writes([*values], weak()))


def _final(absorptions: Sequence[Absorbed]) -> dict[int, int]:
    """Return {absorbed: who they are after all of these}."""
    into = {a.absorbed_id: a.survivor_id for a in absorptions}
    final = {}
    for absorbed_id, survivor_id in into.items():
        while survivor_id in into:
            survivor_id = into[survivor_id]
        final[absorbed_id] = survivor_id
    return final


def _move_identifiers(absorptions: Sequence[Absorbed], pairs: Sequence[tuple[int, int]]) -> None:
    """Give the survivors the identifiers, and note with each merge which ones it moved."""
    stored: dict[int, set[Key]] = defaultdict(set)
    for kind, value, absorbed_id in identities.inherit_identifiers(pairs):
        stored[absorbed_id].add((kind, value))
    rows = []
    for survivor_id, absorbed_id, cause, keys in absorptions:
        # An identifier that came up may have left the survivor since; of the others none has.
        stored[survivor_id] |= stored[absorbed_id] - keys
        moved = sorted(stored[absorbed_id] | keys)
        rows.append((survivor_id, absorbed_id, cause, exact.dumps(moved)))
    identities.insert_merges(rows)


def _merge_profiles(now: Mapping[int, int], weak: Collection[str]) -> None:
    everyone = sorted({*now, *now.values()})
    rows = {row[0]: row for row in records.select_profiles(everyone)}
    writes = _last_writes(everyone, weak)
    parts: dict[int, list[int]] = {survivor_id: [survivor_id] for survivor_id in now.values()}
    for absorbed_id, survivor_id in now.items():
        parts[survivor_id].append(absorbed_id)
    merged = []
    for survivor_id, members in sorted(parts.items()):
        values = {member: exact.loads(rows[member][1]) for member in members}
        firsts = [rows[member][2] for member in members if rows[member][2]]
        lasts = [rows[member][3] for member in members if rows[member][3]]
        merged.append(
            (
                survivor_id,
                exact.dumps(_merge_fields(values, writes)),
                min(firsts, default=None),
                max(lasts, default=None),
            )
        )
    records.update_profiles(merged)


class _Write(NamedTuple):
    """When a value was written, and whether by a source whose word counts less than others'."""

    at: datetime = _NEVER
    is_weak: bool = False


_UNKNOWN = _Write()


def _last_writes(
    customer_ids: Sequence[int], weak: Collection[str]
) -> dict[tuple[int, str], _Write]:
    return {
        (customer_id, name): _Write(at, source in weak)
        for customer_id, name, at, source in records.select_last_writes(customer_ids)
    }


def _merge_fields(
    values: Mapping[int, Mapping[str, Any]], writes: Mapping[tuple[int, str], _Write]
) -> dict[str, Any]:
    """Take each field from whoever wrote it last, from the first (the survivor) if in doubt.

    To clear a field is to write it: a value cleared last stays cleared. What a weak source wrote
    gives way to any value that others wrote.
    """
    names = {name for owner in values for name in values[owner]}
    merged = {}
    for name in sorted(names):
        written = {
            owner: writes.get((owner, name), _UNKNOWN)
            for owner in values
            if name in values[owner] or (owner, name) in writes
        }
        if any(name in values[owner] and not write.is_weak for owner, write in written.items()):
            written = {owner: write for owner, write in written.items() if not write.is_weak}
        last = max(written, key=lambda owner: written[owner].at)
        if name in values[last]:
            merged[name] = values[last][name]
    return merged

"""Two customers who turn out to be one: carry what the absorbed had to the survivor."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from customers import changes, consent, exact
from customers.changes import Fact
from customers.matching import Key
from customers.models import Customer, Merge
from customers.sql import identities, records

_NEVER = datetime.min.replace(tzinfo=UTC)


class CannotJoinError(Exception):
    """Two customers cannot be made one; the message is for people."""


class Absorbed(NamedTuple):
    """A merge; `keys` are identifiers known to move with it, besides those that are stored."""

    survivor_id: int
    absorbed_id: int
    cause: str
    keys: frozenset[Key] = frozenset()


def absorb(absorptions: Sequence[Absorbed]) -> None:
    """Carry out these merges, in order; the absorbed stay as signposts to who they are now.

    A survivor's field stands unless the absorbed one's was written later. What belongs to
    customers on higher floors is theirs to carry. Call it inside a transaction that holds all
    customers concerned.
    """
    now = _final(absorptions)
    pairs = sorted(now.items())
    _move_identifiers(absorptions, pairs)
    _merge_profiles(now)
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


def join(one_id: int, other_id: int, by: str) -> dict[int, int]:
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
    absorb([Absorbed(survivor_id, absorbed_id, f"by hand: {by}")])
    return {absorbed_id: survivor_id}


def fields_together(one: Customer, other: Customer) -> dict[str, Any]:
    """Return the values that two customers would have if they were one."""
    survivor, absorbed = sorted((one, other), key=lambda c: (c.external_id is None, c.pk))
    written_at = {
        (c, name): at for c, name, at in records.select_last_writes([survivor.pk, absorbed.pk])
    }
    return _merge_fields({survivor.pk: survivor.fields, absorbed.pk: absorbed.fields}, written_at)


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


def _merge_profiles(now: Mapping[int, int]) -> None:
    everyone = sorted({*now, *now.values()})
    rows = {row[0]: row for row in records.select_profiles(everyone)}
    written_at = {(c, name): at for c, name, at in records.select_last_writes(everyone)}
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
                exact.dumps(_merge_fields(values, written_at)),
                min(firsts, default=None),
                max(lasts, default=None),
            )
        )
    records.update_profiles(merged)


def _merge_fields(
    values: Mapping[int, Mapping[str, Any]], written_at: Mapping[tuple[int, str], datetime]
) -> dict[str, Any]:
    """Take each field from whoever wrote it last, from the first (the survivor) if in doubt.

    To clear a field is to write it: a value cleared last stays cleared.
    """
    names = {name for owner in values for name in values[owner]}
    merged = {}
    for name in sorted(names):
        writers = [o for o in values if name in values[o] or (o, name) in written_at]
        last = max(writers, key=lambda owner: written_at.get((owner, name), _NEVER))
        if name in values[last]:
            merged[name] = values[last][name]
    return merged

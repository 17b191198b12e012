"""One customer who turns out to be two: a merge is undone, or an identifier detached.

Exactly what belongs to the one who leaves goes along: identifiers, values with their history and,
on the floor above, events. That is what was theirs before the merge, and of what came later what
came by their identifiers. No message joins the two again; staff may.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q, QuerySet

from customers import changes, consent, exact, fields
from customers.changes import Fact
from customers.matching import CUSTOMER_ID, Key
from customers.models import Customer, Identifier, Merge
from customers.sql import identities, records
from customers.unmerging import sql

NEVER = 2**62  # an id that no row reaches: of later rows, none goes along


class CannotSeparateError(Exception):
    """What was asked for does not fit what is so; the message is for people."""


class Seen(NamedTuple):
    """When somebody was first and last seen, if ever."""

    first_at: datetime | None = None
    last_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Who leaves whom, and what goes along.

    `members` are the customers whose rows were theirs once: the one who leaves (`separated_id`,
    0 before a new customer is made) and those it had absorbed. What came by one of `keys`
    (<kind>:<value>) goes along if its number is above `after_event_id` or `after_change_id`.
    """

    kept_id: int
    separated_id: int
    members: tuple[int, ...]
    identifiers: tuple[Key, ...]
    external_id: str | None
    kept_external_id: str | None
    after_event_id: int
    after_change_id: int
    merge: Merge | None = None
    change_ids: tuple[int, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    kept_fields: Mapping[str, Any] = field(default_factory=dict)
    kept_fields_before: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        return [f"{kind}:{value}" for kind, value in self.identifiers]


def undo(merge: Merge, by: str) -> Split:
    """Undo a merge, also one within a chain of merges. Raises `CannotSeparateError`.

    Higher floors must let their rows follow, then call `note_seen`. Call it inside a transaction;
    it waits for what is being identified, and holds the customers.
    """
    identities.hold_identities(exclusive=True)
    merge = Merge.objects.get(pk=merge.pk)
    planned = plan_undo(merge)
    records.lock_persons(sorted({planned.kept_id, *planned.members}))
    split = _carry_out(plan_undo(merge), by)
    Merge.objects.filter(pk=merge.pk).update(undone_at=sql.now(), undone_by=by)
    return split


def detach(customer_id: int, key: Key, by: str) -> Split:
    """Give an identifier, with what came by it, to a new customer. Raises `CannotSeparateError`.

    As `undo`. The two are kept apart by a merge that is undone from the beginning.
    """
    identities.hold_identities(exclusive=True)
    kept_id = _current(customer_id).pk
    records.lock_persons([kept_id])
    split = _carry_out(plan_detach(kept_id, key), by)
    now = sql.now()
    Merge.objects.create(
        survivor_id=kept_id,
        absorbed_id=split.separated_id,
        cause="",
        identifiers=[list(key)],
        at=now,
        undone_at=now,
        undone_by=by,
    )
    return split


def history(customer: Customer) -> QuerySet[Merge]:
    """Return the merges that made this customer, also those undone, and who left or was left."""
    absorbed = [*Customer.objects.filter(merged_into=customer).values_list("pk", flat=True)]
    return Merge.objects.filter(
        Q(survivor=customer) | Q(absorbed_id=customer.pk) | Q(absorbed_id__in=absorbed)
    )


def plan_undo(merge: Merge) -> Split:
    """Say what undoing a merge would do; write nothing. Raises `CannotSeparateError`."""
    if merge.undone_at is not None:
        raise CannotSeparateError("These two are separated already.")
    absorbed = Customer.objects.filter(pk=merge.absorbed_id).first()
    if absorbed is None or absorbed.merged_into_id is None:
        raise CannotSeparateError("The other customer is gone.")
    kept = _current(absorbed.merged_into_id)
    owners = identities.select_owners([(kind, value) for kind, value in merge.identifiers])
    leaving = tuple(sorted(key for key, owner in owners.items() if owner == kept.pk))
    external_id = merge.external_id if (CUSTOMER_ID, merge.external_id) in leaving else None
    return _with_values(
        kept,
        absorbed.fields,
        Split(
            kept_id=kept.pk,
            separated_id=absorbed.pk,
            members=_members(absorbed.pk),
            identifiers=leaving,
            external_id=external_id,
            kept_external_id=_external_id_without(kept, leaving),
            after_event_id=NEVER if merge.last_event_id is None else merge.last_event_id,
            after_change_id=NEVER if merge.last_change_id is None else merge.last_change_id,
            merge=merge,
        ),
    )


def plan_detach(customer_id: int, key: Key) -> Split:
    """Say what detaching an identifier would do; write nothing. Raises `CannotSeparateError`."""
    kept = _current(customer_id)
    known_by = {*kept.identifiers.values_list("kind", "value")}
    if key not in known_by:
        raise CannotSeparateError("The customer is not known by this identifier.")
    if len(known_by) == 1:
        raise CannotSeparateError("It is all that the customer is known by.")
    return _with_values(
        kept,
        {},
        Split(
            kept_id=kept.pk,
            separated_id=0,
            members=(),
            identifiers=(key,),
            external_id=key[1] if key[0] == CUSTOMER_ID else None,
            kept_external_id=_external_id_without(kept, (key,)),
            after_event_id=0,
            after_change_id=0,
        ),
    )


def note_seen(split: Split, moved: Seen, left: Seen) -> None:
    """Correct when both were seen, from the events that went along and those that stayed."""
    kept = Customer.objects.get(pk=split.kept_id)
    separated = Customer.objects.get(pk=split.separated_id)
    absorbed = Customer.objects.filter(pk__in=split.members)
    theirs = [moved, *(Seen(c.first_seen_at, c.last_seen_at) for c in absorbed)]
    others = Customer.objects.filter(merged_into=kept)
    ours = [left, *(Seen(c.first_seen_at, c.last_seen_at) for c in others)]
    if split.merge:
        ours.append(Seen(split.merge.survivor_first_seen_at, split.merge.survivor_last_seen_at))
    separated.first_seen_at = _first(theirs)
    separated.last_seen_at = _last(theirs)
    if _is_reached(kept.first_seen_at, separated.first_seen_at, earliest=True):
        kept.first_seen_at = _first(ours) or kept.first_seen_at
    if _is_reached(kept.last_seen_at, separated.last_seen_at, earliest=False):
        kept.last_seen_at = _last(ours) or kept.last_seen_at
    for customer in (kept, separated):
        customer.save(update_fields=["first_seen_at", "last_seen_at"])


def _first(seen: list[Seen]) -> datetime | None:
    return min((one.first_at for one in seen if one.first_at), default=None)


def _last(seen: list[Seen]) -> datetime | None:
    return max((one.last_at for one in seen if one.last_at), default=None)


def _is_reached(bound: datetime | None, leaving: datetime | None, *, earliest: bool) -> bool:
    """Whether a bound of the time somebody was seen may be due to the one who leaves."""
    if bound is None or leaving is None:
        return False
    return leaving <= bound if earliest else leaving >= bound


def _current(customer_id: int) -> Customer:
    customer = Customer.objects.get(pk=customer_id)
    while customer.merged_into_id is not None:
        customer = Customer.objects.get(pk=customer.merged_into_id)
    return customer


def _members(customer_id: int) -> tuple[int, ...]:
    """Return a customer with all it had absorbed, directly or through others."""
    found = {customer_id}
    new = found
    while new:
        merges = Merge.objects.filter(survivor__in=new, undone_at=None)
        new = {*merges.values_list("absorbed_id", flat=True)} - found
        found |= new
    return tuple(sorted(found))


def _external_id_without(kept: Customer, leaving: tuple[Key, ...]) -> str | None:
    """Return the CustomerId that stays; of two, joined by hand, the other if one leaves."""
    if kept.external_id is None or (CUSTOMER_ID, kept.external_id) not in leaving:
        return kept.external_id
    gone = [value for kind, value in leaving if kind == CUSTOMER_ID]
    others = Identifier.objects.filter(customer=kept, kind=CUSTOMER_ID).exclude(value__in=gone)
    return others.values_list("value", flat=True).order_by("created_at").first()


def _with_values(kept: Customer, base: Mapping[str, Any], split: Split) -> Split:
    """Work out which values and which of their history go along, and what each has then."""
    takes_unnamed = kept.external_id is not None and split.kept_external_id != kept.external_id
    rows = sql.select_field_changes(
        kept.pk, split.members, split.keys, split.after_change_id, takes_unnamed=takes_unnamed
    )
    known = fields.known()
    going: dict[str, Any] = dict(base)
    staying: dict[str, Any] = {}
    told: set[str] = set()
    from_staying: dict[str, bool] = {}  # whether a change that stays gave the present value
    for _, goes, text in rows:
        values = {name: new for name, (_, new) in exact.loads(text).items()}
        (going if goes else staying).update(values)
        told |= values.keys() if goes else set()
        for name, value in values.items():
            if value == kept.fields.get(name):
                from_staying[name] = not goes
    lost = {name for name in told if not from_staying.get(name)}
    kept_fields = {**kept.fields, **{name: staying.get(name) for name in lost}}
    return replace(
        split,
        change_ids=tuple(change_id for change_id, goes, _ in rows if goes),
        fields={n: v for n, v in going.items() if v is not None and n in known},
        kept_fields={n: v for n, v in kept_fields.items() if v is not None},
        kept_fields_before=kept.fields,
    )


def _carry_out(split: Split, by: str) -> Split:
    separated_id = split.separated_id or Customer.objects.create().pk
    split = replace(split, separated_id=separated_id)
    Customer.objects.filter(pk=split.kept_id).update(
        fields=split.kept_fields, external_id=split.kept_external_id
    )
    Customer.objects.filter(pk=separated_id).update(
        fields=split.fields, external_id=split.external_id, merged_into=None
    )
    others = [member for member in split.members if member != separated_id]
    Customer.objects.filter(pk__in=others).update(merged_into=separated_id)
    if split.identifiers:
        rows = [(*key, separated_id) for key in split.identifiers]
        identities.repoint_identifiers(rows)
    sql.move_field_changes(split.kept_id, separated_id, split.change_ids, others)
    if split.members:
        consent.separate(split.kept_id, separated_id, split.members)
    fact = changes.unmerged(separated_id)
    changes.record(
        Fact(customer_id, name)
        for customer_id in (split.kept_id, separated_id)
        for name in (fact, changes.field("@identified"))
    )
    return split

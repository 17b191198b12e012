"""Forgetting customers: what this floor keeps of them."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from customers import contacts, duplicates, identity, suppression
from customers.imports import erasing
from customers.matching import Key
from customers.models import (
    Change,
    Consent,
    ConsentChange,
    Customer,
    FieldChange,
    Identifier,
    Merge,
    SearchEntry,
)
from customers.sql import identities

MIN_TELLING = 3  # characters of a value that could tell somebody; shorter ones are everybody's


@dataclass(frozen=True)
class Traces:
    """What may lead to somebody where rows do not say whose they are.

    `keys` are identifiers and addresses, normalised; `addresses` the same as texts, also as they
    were written; `values` all texts that were ever known of the person.
    """

    keys: frozenset[Key]
    addresses: frozenset[str]
    values: frozenset[str]


def hold(customer_ids: Collection[int]) -> None:
    """Lock customers in order of id, so that nothing new is written about them meanwhile.

    Nobody is identified until the transaction ends. Call it inside the transaction that forgets
    them, before the floors above do.
    """
    identities.hold_identities(exclusive=True)
    locked = Customer.objects.filter(pk__in=customer_ids).order_by("pk").select_for_update()
    locked.values_list("pk").last()


def persons_of(people: Iterable[Collection[int]]) -> dict[int, int]:
    """Return who each customer is, by the first of the ids that mean a person, for all of these.

    That is also the person of those who were merged into them, directly or through others.
    """
    person_of = {own: ids[0] for ids in map(sorted, people) for own in ids}
    wanted = {*person_of}
    while wanted:
        rows = Customer.objects.filter(merged_into__in=wanted).values_list("pk", "merged_into")
        found = {pk: person_of[into] for pk, into in rows if into and pk not in person_of}
        person_of |= found
        wanted = {*found}
    return person_of


def traces(person_of: Mapping[int, int]) -> dict[int, Traces]:
    """Collect what may lead to persons elsewhere. An address of somebody else is none."""
    keys: dict[int, set[Key]] = {person: set() for person in person_of.values()}
    known = Identifier.objects.filter(customer__in=person_of)
    for customer_id, kind, text in known.values_list("customer", "kind", "value"):
        keys[person_of[customer_id]].add((kind, text))
    addresses = {person: {value for _, value in own} for person, own in keys.items()}
    values: dict[int, set[str]] = {person: set() for person in keys}
    told = set()
    for customer_id, fields in _fields(person_of):
        person = person_of[customer_id]
        values[person].update(_texts(fields))
        told |= {
            (person, kind, raw, identity.normalise(kind, raw))
            for kind in (identity.EMAIL, identity.PHONE)
            for raw in contacts.values(kind, fields)
            if raw
        }
    owners = identities.select_owners(sorted({(kind, v) for _, kind, _, v in told if v}))
    for person, kind, raw, normal in told:
        owner = owners.get((kind, normal)) if normal else None
        if normal and (owner is None or person_of.get(owner) == person):
            keys[person].add((kind, normal))
            addresses[person] |= {raw, normal}
    return {
        person: Traces(
            frozenset(own),
            frozenset(addresses[person]),
            frozenset(addresses[person] | values[person]),
        )
        for person, own in keys.items()
    }


def _fields(customer_ids: Collection[int]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Yield the values that customers have, and those that they had once."""
    yield from Customer.objects.filter(pk__in=customer_ids).values_list("pk", "fields")
    rows = FieldChange.objects.filter(customer__in=customer_ids)
    for customer_id, changes in rows.values_list("customer", "changes"):
        yield customer_id, {name: new for name, (_, new) in changes.items()}
        yield customer_id, {name: old for name, (old, _) in changes.items()}


def _texts(fields: dict[str, Any]) -> Iterable[str]:
    return (v for v in fields.values() if isinstance(v, str) and len(v) >= MIN_TELLING)


def forget(customer_ids: Collection[int]) -> None:
    """Remove customers with all that this floor keeps of them.

    Call it inside a transaction, after the floors above have forgotten them.
    """
    _forget_addresses(customer_ids)
    Change.objects.filter(customer_id__in=customer_ids).delete()
    Identifier.objects.filter(customer__in=customer_ids).delete()
    Merge.objects.filter(Q(survivor__in=customer_ids) | Q(absorbed_id__in=customer_ids)).delete()
    FieldChange.objects.filter(customer__in=customer_ids).delete()
    ConsentChange.objects.filter(customer__in=customer_ids).delete()
    Consent.objects.filter(customer__in=customer_ids).delete()
    SearchEntry.objects.filter(customer_id__in=customer_ids).delete()
    duplicates.forget(customer_ids)
    Customer.objects.filter(pk__in=customer_ids).delete()


def forget_traces(found: Mapping[int, Traces]) -> Counter[int]:
    """Remove what imports still hold of persons; return how many lines that were of each."""
    owner_of = {text: person for person, own in found.items() for text in own.addresses}
    return erasing.forget(owner_of, {text for own in found.values() for text in own.values})


def _forget_addresses(customer_ids: Collection[int]) -> None:
    """Keep of suppressed addresses what is needed to know them again, and no more."""
    known = Identifier.objects.filter(customer__in=customer_ids)
    values = Customer.objects.filter(pk__in=customer_ids).values_list("fields", flat=True)
    emails = {*known.filter(kind=identity.EMAIL).values_list("value", flat=True)}
    phones = {*known.filter(kind=identity.PHONE).values_list("value", flat=True)}
    for fields in values:
        emails |= {*contacts.values(identity.EMAIL, fields)}
        phones |= {*contacts.values(identity.PHONE, fields)}
    suppression.forget(identity.EMAIL, emails)
    suppression.forget(identity.PHONE, phones)

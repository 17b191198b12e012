"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection, Iterable
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


def absorbed_by(customer_ids: Collection[int]) -> set[int]:
    """Return the customers that were merged into these, directly or through others."""
    found: set[int] = set()
    wanted = set(customer_ids)
    while wanted:
        absorbed = Customer.objects.filter(merged_into__in=wanted).values_list("pk", flat=True)
        wanted = set(absorbed) - found
        found |= wanted
    return found - set(customer_ids)


def traces(customer_ids: Collection[int]) -> Traces:
    """Collect what may lead to these customers elsewhere. An address of somebody else is none."""
    known = Identifier.objects.filter(customer__in=customer_ids)
    keys = {*known.values_list("kind", "value")}
    texts = {value for _, value in keys}
    fields = [
        *Customer.objects.filter(pk__in=customer_ids).values_list("fields", flat=True),
        *_former(customer_ids),
    ]
    told = {
        (kind, raw)
        for values in fields
        for kind in (identity.EMAIL, identity.PHONE)
        for raw in contacts.values(kind, values)
        if raw
    }
    addresses = {(kind, raw, identity.normalise(kind, raw)) for kind, raw in told}
    others = identities.select_owners(sorted({(kind, v) for kind, _, v in addresses if v}))
    for kind, raw, value in addresses:
        if value and others.get((kind, value)) in (None, *customer_ids):
            keys.add((kind, value))
            texts |= {raw, value}
    values = texts | {v for each in fields for v in _texts(each)}
    return Traces(frozenset(keys), frozenset(texts), frozenset(values))


def _former(customer_ids: Collection[int]) -> Iterable[dict[str, Any]]:
    """Yield values that these customers had once."""
    rows = FieldChange.objects.filter(customer__in=customer_ids)
    for changes in rows.values_list("changes", flat=True):
        yield {name: new for name, (_, new) in changes.items()}
        yield {name: old for name, (old, _) in changes.items()}


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


def forget_traces(found: Traces) -> int:
    """Remove what imports still hold of somebody; return how many lines that were."""
    return erasing.forget(found.addresses, found.values)


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

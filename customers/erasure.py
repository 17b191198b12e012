"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection

from django.db.models import Q

from customers import contacts, identity, suppression
from customers.models import (
    Change,
    Consent,
    ConsentChange,
    Customer,
    FieldChange,
    Identifier,
    ImportProblem,
    Merge,
    SearchEntry,
)


def hold(customer_ids: Collection[int]) -> None:
    """Lock customers in order of id, so that nothing new is written about them meanwhile.

    Call it inside the transaction that forgets them, before the floors above do.
    """
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


def forget(customer_ids: Collection[int]) -> None:
    """Remove customers with all that this floor keeps of them.

    Call it inside a transaction, after the floors above have forgotten them.
    """
    known_as = [
        *Identifier.objects.filter(customer__in=customer_ids).values_list("value", flat=True)
    ]
    _forget_addresses(customer_ids)
    ImportProblem.objects.filter(row__has_any_keys=known_as).delete()
    Change.objects.filter(customer_id__in=customer_ids).delete()
    Identifier.objects.filter(customer__in=customer_ids).delete()
    Merge.objects.filter(Q(survivor__in=customer_ids) | Q(absorbed_id__in=customer_ids)).delete()
    FieldChange.objects.filter(customer__in=customer_ids).delete()
    ConsentChange.objects.filter(customer__in=customer_ids).delete()
    Consent.objects.filter(customer__in=customer_ids).delete()
    SearchEntry.objects.filter(customer_id__in=customer_ids).delete()
    Customer.objects.filter(pk__in=customer_ids).delete()


def _forget_addresses(customer_ids: Collection[int]) -> None:
    """Keep of suppressed addresses what is needed to know them again, and no more."""
    known = Identifier.objects.filter(customer__in=customer_ids)
    values = Customer.objects.filter(pk__in=customer_ids).values_list("fields", flat=True)
    emails = {*known.filter(kind=identity.EMAIL).values_list("value", flat=True)}
    phones = {*known.filter(kind=identity.PHONE).values_list("value", flat=True)}
    for fields in values:
        emails.add(contacts.email(fields))
        phones.add(contacts.phone(fields))
    suppression.forget(identity.EMAIL, emails)
    suppression.forget(identity.PHONE, phones)

"""Forgetting customers: what this floor keeps of them."""

from collections.abc import Collection

from django.db.models import Q

from customers.models import Change, Customer, FieldChange, Identifier, ImportProblem, Merge


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
    ImportProblem.objects.filter(row__has_any_keys=known_as).delete()
    Change.objects.filter(customer_id__in=customer_ids).delete()
    Identifier.objects.filter(customer__in=customer_ids).delete()
    Merge.objects.filter(Q(survivor__in=customer_ids) | Q(absorbed_id__in=customer_ids)).delete()
    FieldChange.objects.filter(customer__in=customer_ids).delete()
    Customer.objects.filter(pk__in=customer_ids).delete()

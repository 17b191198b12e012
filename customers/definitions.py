"""Changing what customer fields there are, without leaving values that nobody can read."""

from django.db import models, transaction

from customers import fields
from customers.models import Customer, CustomerField, FieldType

CHUNK = 5_000  # customers cleared in one transaction


class HasValuesError(Exception):
    """Customers have values of this field, which another type could not hold."""


def retype(field: CustomerField, new_type: FieldType) -> None:
    """Give a field another type. Raises `HasValuesError` once any customer has a value."""
    if _holders(field.name).exists():
        raise HasValuesError(
            f"Customers have values of “{field.name}”: its type cannot change any more. "
            "Create another field, or delete this one with its values."
        )
    field.type = new_type
    field.save()


def delete(field: CustomerField, *, source: str) -> None:
    """Remove a field and its values, recorded as cleared by `source`.

    Works in chunks that commit, each a fraction of a second; if it is interrupted, the field
    still stands and may be deleted again. Call it outside a transaction.
    """
    _clear(field.name, source)
    field.delete()
    _clear(field.name, source)  # what others wrote meanwhile


def _holders(name: str) -> models.QuerySet[Customer]:
    return Customer.objects.current().filter(fields__has_key=name)


def _clear(name: str, source: str) -> None:
    last_id = 0
    while ids := _next_ids(name, last_id):
        with transaction.atomic():
            fields.set_values({customer_id: {name: None} for customer_id in ids}, source=source)
        last_id = ids[-1]


def _next_ids(name: str, after_id: int) -> list[int]:
    following = _holders(name).filter(id__gt=after_id).order_by("id")
    return [*following.values_list("id", flat=True)[:CHUNK]]

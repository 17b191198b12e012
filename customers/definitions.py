"""Changing what customer fields there are, without leaving values that nobody can read."""

import time
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import models, transaction
from django_q.tasks import async_task

from customers import exact, fields, indexing
from customers.fields import Value
from customers.models import Customer, CustomerField, FieldType
from customers.sql import lists

CHUNK = 5_000  # customers cleared in one transaction
SLICE = 20  # seconds of work in one task; the queue has others to serve
CHECKED = 50_000  # customers whose values are looked at before a type changes


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


class Conversion(NamedTuple):
    """What giving a field another type would do to the values that customers have of it."""

    kept: int
    lost: int
    examples: list[tuple[str, int]]  # values that would be lost, with their customers
    changed: list[tuple[str, Value]]  # values and what would become of them
    is_sample: bool = False  # of CHECKED customers, whose figures were scaled up


def check_retype(field: CustomerField, new_type: str) -> Conversion:
    """Say what would become of the values of a field if its type changed; nothing is written."""
    target = CustomerField(name=field.name, type=new_type)
    total = lists.estimate_rows(Customer._meta.db_table)
    percent = min(100.0, 100.0 * CHECKED / total) if total else 100.0
    found = Conversion(0, 0, [], [], is_sample=percent < 100)
    for json, count in lists.select_values(field.name, percent):
        value = exact.loads(json)
        converted = _converted(target, value)
        if converted is None:
            found.examples.append((as_text(value), count))
            found = found._replace(lost=found.lost + count)
        else:
            found.changed.append((as_text(value), converted))
            found = found._replace(kept=found.kept + count)
    return found


def start_retype(field: CustomerField, new_type: str, *, source: str) -> None:
    """Give a field another type; the queue converts its values.

    A value that does not fit is cleared, and stays in the history of its customer.
    """
    with transaction.atomic():
        field.type = new_type
        field.indexed_at = None
        field.save(update_fields=["type", "indexed_at"])
        async_task("customers.definitions.convert", field.pk, source)
        if field.is_indexed:
            indexing.ask()


def convert(field_id: int, source: str, last_id: int = 0) -> None:
    """Convert the values of a field to its type, or clear them; a task of the queue.

    Works in chunks that commit, and leaves the rest to another task in time; it may run again.
    """
    field = CustomerField.objects.filter(pk=field_id).first()
    until = time.monotonic() + SLICE
    while field and (ids := _next_ids(field.name, last_id)):
        with transaction.atomic():
            rows = Customer.objects.filter(pk__in=ids, fields__has_key=field.name)
            held = rows.order_by("pk").select_for_update(no_key=True).values_list("pk", "fields")
            values = {pk: {field.name: _converted(field, own[field.name])} for pk, own in held}
            fields.set_values(values, source=source)
        last_id = ids[-1]
        if time.monotonic() > until:
            async_task("customers.definitions.convert", field_id, source, last_id)
            return


def _converted(field: CustomerField, value: Any) -> Value:
    """A stored value as a value of the field's type; None if it does not fit."""
    try:
        return fields.parse_value(field, as_text(value))
    except fields.FieldValueError:
        return None


def as_text(value: Any) -> str:
    """Write a stored value so that a field of any type may read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def start_delete(field: CustomerField, *, source: str) -> bool:
    """Remove a field with its values: at once if these are few, else by the queue; say which.

    Until the queue is done with it, the field stands, and what is personal stays masked.
    """
    if len(_next_ids(field.name, 0)) < CHUNK:
        delete(field, source=source)
        return True
    async_task("customers.definitions.delete_by_queue", field.pk, source)
    return False


def delete_by_queue(field_id: int, source: str, last_id: int = 0) -> None:
    """Clear the values of a field, for as long as a task may; then remove it. May run again."""
    field = CustomerField.objects.filter(pk=field_id).first()
    if field is None:
        return
    after = _clear(field.name, source, last_id, time.monotonic() + SLICE)
    if after is None:
        delete(field, source=source)
    else:
        async_task("customers.definitions.delete_by_queue", field_id, source, after)


def delete(field: CustomerField, *, source: str) -> None:
    """Remove a field and its values, recorded as cleared by `source`.

    Works in chunks that commit, each a fraction of a second; if it is interrupted, the field
    still stands and may be deleted again. Call it outside a transaction.
    """
    _clear(field.name, source)
    field.delete()
    if field.is_indexed:
        indexing.ask()
    _clear(field.name, source)  # what others wrote meanwhile


def has_values(field: CustomerField) -> bool:
    """Say whether any customer has a value of the field; at once, if they were counted."""
    return bool(field.holders) or _holders(field.name).exists()


def _holders(name: str) -> models.QuerySet[Customer]:
    return Customer.objects.current().filter(fields__has_key=name)


def _clear(name: str, source: str, last_id: int = 0, until: float = float("inf")) -> int | None:
    """Clear values of customers after this one; return who came last if the time was over."""
    while ids := _next_ids(name, last_id):
        with transaction.atomic():
            fields.set_values({customer_id: {name: None} for customer_id in ids}, source=source)
        last_id = ids[-1]
        if time.monotonic() > until:
            return last_id
    return None


def _next_ids(name: str, after_id: int) -> list[int]:
    following = _holders(name).filter(id__gt=after_id).order_by("id")
    return [*following.values_list("id", flat=True)[:CHUNK]]

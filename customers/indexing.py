"""Indexes on single customer fields: only on those that people filter or sort by."""

from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django_q.tasks import async_task

from customers import filters
from customers.models import Customer, CustomerField
from customers.sql import lists

SLOW = 0.25  # seconds that a list may take before its fields get an index
AT_MOST = 20  # fields with an index that nobody asked for


def wanted(field: CustomerField) -> models.Index:
    """The index that finds and sorts customers by a field, those last added first.

    It holds the merged, too: the planner believes no statistics of a partial index.
    """
    return models.Index(filters.value_of(field), F("id"), name=_name(field))


def _name(field: CustomerField) -> str:
    return f"customer_field_{field.pk}_{field.type}"


def note_slow(field_ids: list[int]) -> None:
    """Have fields that a slow list was filtered or sorted by indexed, unless they are many."""
    with transaction.atomic():
        count = CustomerField.objects.filter(is_indexed=True).count()
        if field_ids and count + len(field_ids) <= AT_MOST:
            slow = CustomerField.objects.filter(pk__in=field_ids, is_indexed=False)
            if slow.update(is_indexed=True):
                ask()


def ask() -> None:
    """Have the queue bring the indexes in line with what the fields want."""
    async_task("customers.indexing.follow")


def follow() -> None:
    """Create the indexes that are missing, and drop those that no field wants any more.

    A task of the queue. Writers are not held up; what was interrupted is begun anew. Call it
    outside a transaction.
    """
    there = lists.field_indexes()
    fields = {_name(field): field for field in CustomerField.objects.filter(is_indexed=True)}
    for name, is_valid in there.items():
        if name not in fields or not is_valid:
            lists.drop_index(name)
    for name, field in fields.items():
        if not there.get(name):
            _create(field)
        CustomerField.objects.filter(pk=field.pk, indexed_at=None).update(indexed_at=Now())
    CustomerField.objects.filter(is_indexed=False).update(indexed_at=None)
    if any(not there.get(name) for name in fields):
        lists.analyze_customers()


def _create(field: CustomerField) -> None:
    with connection.schema_editor(atomic=False) as editor:
        editor.execute(wanted(field).create_sql(Customer, editor, concurrently=True), params=None)

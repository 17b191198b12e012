"""Indexes on single customer fields: only on those that people filter or sort by."""

from collections.abc import Collection

from django.contrib.postgres.indexes import GinIndex
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from customers import filters
from customers.models import Customer, CustomerField, FieldType
from customers.sql import lists

SLOW = 0.25  # seconds that a list may take before its fields get an index
AT_MOST = 20  # fields with an index that nobody asked for
LONGEST = 3_600  # seconds that the queue gives to building them
_SEEN = "customer_seen_"  # with a column: an index on when customers were seen


def wanted(field: CustomerField) -> list[models.Index]:
    """The indexes of a field, those last added first.

    One finds and sorts customers by its value. It holds the merged, too: the planner believes no
    statistics of a partial index. Another one finds texts by any part of them.
    """
    name = f"customer_field_{field.pk}_{field.type}"
    found = [models.Index(filters.value_of(field), F("id"), name=name)]
    if field.finds_parts and field.type == FieldType.STRING:
        parts = filters.parts_of(field)
        found.append(GinIndex(parts, name=f"customer_field_{field.pk}_parts"))
    return found


def note_slow(fields: Collection[CustomerField], by_parts: Collection[CustomerField] = ()) -> None:
    """Have what a slow list was filtered or sorted by indexed, unless that is too much already.

    Of `by_parts` a part of the text was looked for.
    """
    columns = {field.name: field for field in fields if field.name in filters.COLUMNS}
    ids = {field.pk for field in fields if field.pk and not field.is_indexed}
    parts = {field.pk for field in by_parts if not field.finds_parts}
    with transaction.atomic():
        count = CustomerField.objects.filter(is_indexed=True).count()
        if count + len(ids | parts) > AT_MOST:
            return
        slow = CustomerField.objects.filter(Q(pk__in=ids | parts, is_indexed=False))
        changed = slow.update(is_indexed=True)
        slow = CustomerField.objects.filter(pk__in=parts, finds_parts=False)
        changed += slow.update(finds_parts=True)
        there = lists.field_indexes() if columns else {}
        missing = [name for name in columns if _seen_index(name).name not in there]
        if changed or missing:
            ask(missing)


def ask(seen: Collection[str] = ()) -> None:
    """Have the queue bring the indexes in line with what the fields want.

    `seen` names built-in fields, `@last_seen` or `@first_seen`, that are to have one as well.
    """
    async_task("customers.indexing.follow", [*seen], timeout=LONGEST)


def follow(seen: Collection[str] = ()) -> None:
    """Create the indexes that are missing, and drop those that no field wants any more.

    A task of the queue. Writers are not held up; what was interrupted is begun anew. Of two at a
    time the second leaves it to the first. Call it outside a transaction.
    """
    if not lists.try_lock_indexes():
        return
    try:
        while _follow(seen):
            seen = ()
    finally:
        lists.unlock_indexes()


def _follow(seen: Collection[str]) -> bool:
    """Do what is to be done now; say whether that was anything."""
    there = lists.field_indexes()
    fields = [*CustomerField.objects.filter(is_indexed=True)]
    indexes = {index.name: index for field in fields for index in wanted(field)}
    indexes |= {index.name: index for index in map(_seen_index, seen)}
    for name, is_valid in there.items():
        if not is_valid or (name not in indexes and not name.startswith(_SEEN)):
            lists.drop_index(name)
    missing = [index for name, index in indexes.items() if not there.get(name)]
    for index in missing:
        _create(index)
    if missing:
        lists.analyze_customers()
    built = [field.pk for field in fields]
    CustomerField.objects.filter(pk__in=built, indexed_at=None).update(indexed_at=Now())
    CustomerField.objects.filter(is_indexed=False).update(indexed_at=None)
    return bool(missing)


def _seen_index(name: str) -> models.Index:
    """The index on when customers were seen. It makes every event of theirs a little slower."""
    column = filters.COLUMNS[name]
    return models.Index(F(column), F("id"), name=f"{_SEEN}{column.removesuffix('_at')}")


def _create(index: models.Index) -> None:
    with connection.schema_editor(atomic=False) as editor:
        editor.execute(index.create_sql(Customer, editor, concurrently=True), params=None)

"""Who is who: customers, the identifiers they go by, and what became of them."""

from typing import Self

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from customers import masking
from customers.exact import ExactJSONField, SerialField

NO_FIELDS = models.Value({}, models.JSONField())


class CustomerQuerySet(models.QuerySet["Customer"]):
    def current(self) -> Self:
        """Leave out customers that were merged into another."""
        return self.filter(merged_into=None)


class Customer(models.Model):
    """One person, as far as we can tell. A merged customer stays as a signpost.

    `fields` holds {name: value}: a number as an exact JSON number, a datetime as ISO 8601 in UTC
    ending in Z, a boolean as JSON boolean. A field without a value has no key.
    """

    id = models.BigAutoField("ID", primary_key=True)
    external_id = models.TextField(  # noqa: DJ001 (null: not known yet; never empty)
        "CustomerId", null=True, blank=True, editable=False, help_text="As in your CRM."
    )
    fields = ExactJSONField(db_default=NO_FIELDS, blank=True)
    first_seen_at = models.DateTimeField("first seen", null=True, editable=False)
    last_seen_at = models.DateTimeField("last seen", null=True, editable=False)
    merged_into = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        blank=True,
        editable=False,
        related_name="absorbed",
        db_constraint=False,
        db_index=False,
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = CustomerQuerySet.as_manager()

    class Meta:
        permissions = [("see_personal_data", "May see personal data")]
        indexes = [
            models.Index(
                "external_id",
                condition=Q(external_id__isnull=False),
                name="customer_external_id",
            ),
            models.Index(
                "merged_into", condition=Q(merged_into__isnull=False), name="customer_merged_into"
            ),
        ]

    def __str__(self) -> str:
        parts = [self._named("firstName"), self._named("lastName")]
        name = " ".join(part for part in parts if part) or self._named("name")
        return name or masking.current().text(self.external_id or f"Visitor {self.pk}")

    def _named(self, field: str) -> str:
        """Return a field's value for reading, or "" if whoever looks may not see it."""
        value = self.fields.get(field)
        return "" if value is None or masking.current().hides(field) else str(value)


class SearchEntry(models.Model):
    """The words by which people search for a customer: of all their texts, folded, and phones.

    The pipeline keeps it, a moment after the customer changed.
    """

    customer_id = models.BigIntegerField(primary_key=True)
    words = SearchVectorField()

    class Meta:
        indexes = [GinIndex(fields=["words"], name="searchentry_words")]

    def __str__(self) -> str:
        return f"words of {self.customer_id}"


class Identifier(models.Model):
    """Something a customer is known by: customer_id, anonymous_id, email, phone or a kind of ours.

    The one place where uniqueness of identities is decided.
    """

    pk = models.CompositePrimaryKey("kind", "value")
    kind = models.TextField()
    value = models.TextField()
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="identifiers", db_constraint=False
    )
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class Merge(models.Model):
    """`absorbed` was found to be the same person as `survivor`; what undoing it takes is kept.

    `last_change_id` and `last_event_id` are the numbers that these had reached: what came later
    belongs to whose identifier it came by. Somebody who was separated without ever having been
    merged has a row, too, undone from the beginning: no message joins the two again.
    """

    pk = models.CompositePrimaryKey("survivor_id", "id")
    id = SerialField()
    survivor = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="merges", db_constraint=False
    )
    absorbed_id = models.BigIntegerField()
    cause = models.TextField(help_text="What told us: the source and the message that did it.")
    identifiers = models.JSONField(help_text="[[kind, value], …] that moved.")
    external_id = models.TextField(  # noqa: DJ001 (null: a visitor without)
        null=True, help_text="The CustomerId of the absorbed, by which it no longer goes."
    )
    survivor_first_seen_at = models.DateTimeField(null=True)  # as it was before
    survivor_last_seen_at = models.DateTimeField(null=True)
    last_change_id = models.BigIntegerField(null=True)
    last_event_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(db_default=Now())
    undone_at = models.DateTimeField(null=True)
    undone_by = models.TextField(db_default="", help_text="Who separated them again.")

    class Meta:
        indexes = [
            models.Index("absorbed_id", name="merge_absorbed"),
            models.Index("survivor", condition=Q(undone_at__isnull=False), name="merge_undone"),
        ]

    def __str__(self) -> str:
        return f"{self.absorbed_id} into {self.survivor_id}"


class FieldChange(models.Model):
    """One write to one customer: what each field was and became, and where that came from.

    Provenance of every value and the audit in one. `changes` is {field: [old, new]}, null for none.
    `came_by` is <kind>:<value> of the identifier by which a message named the customer; without one
    the write was to whoever has the CustomerId. `origin_id` is whose it was before a merge.
    """

    pk = models.CompositePrimaryKey("customer_id", "id")
    id = SerialField()
    # Who writes a change holds its customer: to check that costs as much as the row.
    customer = models.ForeignKey(
        Customer,
        models.DO_NOTHING,
        related_name="field_changes",
        db_constraint=False,
        db_index=False,
    )
    at = models.DateTimeField(db_default=Now())
    source = models.TextField(help_text='For people: import "loyalty.csv", API key "shop", Anna.')
    import_id = models.BigIntegerField(null=True, help_text="The import that wrote it.")
    changes = ExactJSONField()
    came_by = models.TextField(null=True)  # noqa: DJ001 (null costs nothing)
    origin_id = models.BigIntegerField(null=True)

    def __str__(self) -> str:
        return f"{', '.join(self.changes)} of {self.customer_id}"


class Change(models.Model):
    """The queue of what has become true of whom; the segments of that customer follow.

    `fact` is event:<name>, field:<name>, segment:<id>, merged:<absorbed id>, unmerged:<id of the
    separated>, clock:<segment id>, new, or new:fields for one who came with a CustomerId and
    fields. `event_id` names the event that caused it.
    """

    id = models.BigAutoField(primary_key=True)
    customer_id = models.BigIntegerField()
    fact = models.TextField()
    event_id = models.BigIntegerField(null=True)
    error = models.TextField(db_default="", help_text="Why it was set aside; empty while queued.")

    def __str__(self) -> str:
        return f"{self.fact} of {self.customer_id}"

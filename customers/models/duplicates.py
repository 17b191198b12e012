"""Customers who may be one and the same, for people to decide."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from customers.models.people import Customer


class PossibleDuplicate(models.Model):
    """Two customers who may be one person, for people to decide; `one_id` is the lesser id.

    A pair that was dismissed stays, so that it is not suggested again.
    """

    id = models.BigAutoField(primary_key=True)
    one = models.ForeignKey(Customer, models.DO_NOTHING, related_name="+", db_constraint=False)
    other = models.ForeignKey(Customer, models.DO_NOTHING, related_name="+", db_constraint=False)
    score = models.FloatField(help_text="How alike they are; above 11 they are listed.")
    reasons = models.JSONField(help_text="What they have in common, for people.")
    found_at = models.DateTimeField(db_default=Now())
    dismissed_at = models.DateTimeField(null=True)
    dismissed_by = models.TextField(db_default="")

    class Meta:
        verbose_name = "possible duplicate"
        constraints = [
            models.UniqueConstraint(fields=["one", "other"], name="possibleduplicate_pair")
        ]
        indexes = [
            models.Index(
                "score", "id", condition=Q(dismissed_at=None), name="possibleduplicate_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.one_id} and {self.other_id}"


class DuplicateKey(models.Model):
    """Under what a customer is compared with others; there only while duplicates are looked for."""

    pk = models.CompositePrimaryKey("key", "customer_id")
    key = models.BigIntegerField()
    customer_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.key} of {self.customer_id}"


class DuplicateSearch(models.Model):
    """The one row that says how far the search for duplicates is: it reads, then compares."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    after_id = models.BigIntegerField(default=0)
    after_key = models.BigIntegerField(null=True, help_text="Null while customers are read.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="duplicatesearch_only_one")]

    def __str__(self) -> str:
        return f"started {self.started_at:%F %T}"

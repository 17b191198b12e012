"""What the demo must remember: how far its load is, and what its e-mail tool received."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Load(models.Model):
    """The demo is in this database, on its way in or out, or was taken away: at most one row.

    `made` says what the load created, so that exactly that can be taken away: {what: [ids]}. A
    removed demo stays noted, so that the next start of the product does not bring it back.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    started_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True, help_text="All is in and the triggers are on.")
    removing_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)
    customers_before = models.BigIntegerField(help_text="The highest customer id at the start.")
    made = models.JSONField(default=dict)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="demo_load_only_one")]

    def __str__(self) -> str:
        return f"demo of {self.started_at:%F}"


class Message(models.Model):
    """A message that the built-in e-mail tool received, its signature verified."""

    id = models.TextField(primary_key=True, help_text="The webhook-id.")
    received_at = models.DateTimeField(db_default=Now())
    body = models.JSONField()
    copies = models.IntegerField(default=1, help_text="How often the same message came.")

    class Meta:
        ordering = ["-received_at"]

    def __str__(self) -> str:
        return self.id

"""What staff decided about identifiers."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class IdentityRules(models.Model):
    """The rules of identity as of a moment: the latest row holds, those before are the history.

    What is null is as the environment says.
    """

    trusted = ArrayField(models.TextField(), null=True)
    shared = ArrayField(models.TextField(), null=True)
    limits = models.JSONField(null=True, help_text="{kind: most identifiers of a profile}")
    never = ArrayField(models.TextField(), null=True)
    waiting_days = models.PositiveIntegerField(null=True)
    at = models.DateTimeField(db_default=Now())
    by = models.TextField(help_text="A user's name or an API key's.")

    class Meta:
        ordering = ["-id"]
        verbose_name = "identity rules"
        verbose_name_plural = "identity rules"

    def __str__(self) -> str:
        return f"{self.at:%F %T}, {self.by}"

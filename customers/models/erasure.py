"""Who was erased: what keeps them from coming back, and the proof."""

import uuid

from django.db import models
from django.db.models.functions import Now


class Tombstone(models.Model):
    """An identifier of somebody who was erased, as a keyed hash: what comes by it is not taken."""

    digest = models.CharField(max_length=64, primary_key=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.digest


class Erasure(models.Model):
    """The proof that somebody was erased: when, by whom and how much, but not who it was.

    `digests` are those of the tombstones, by which the erasure can be done again after a restore.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_default=Now())
    by = models.TextField(help_text="A user's name or an API key's.")
    counts = models.JSONField(help_text="{what: how many rows} that were removed.")
    digests = models.JSONField(help_text="Keyed hashes of the identifiers.")

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return str(self.id)

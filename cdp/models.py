"""The roof's own rows: keys to the API, and signs of life."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ApiKey(models.Model):
    """A secret for the REST API. Only its digest is kept; the key is shown once."""

    name = models.CharField(max_length=100, unique=True)
    prefix = models.CharField(max_length=12, editable=False, help_text="To recognise it by.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.TextField(), help_text='"customers:read", "customers:write", …')
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """When a part of the product last showed that it works."""

    name = models.TextField(primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.at:%T}"


class Snapshot(models.Model):
    """Figures that take too long to be computed whenever somebody looks: as they last were."""

    name = models.TextField(primary_key=True)
    at = models.DateTimeField()
    took = models.FloatField(help_text="Seconds.")
    data = models.JSONField()
    asked_at = models.DateTimeField(null=True, help_text="When the queue was last asked for it.")

    def __str__(self) -> str:
        return f"{self.name} {self.at:%F %T}"


class Export(models.Model):
    """A file that is being written, or waits to be fetched. Work commits in chunks: it can resume.

    `query` is what the admin's list was filtered by; `filters` those of the API, which asked for it
    if they are not null. `after` is the last row that stands in the file.
    """

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        XLSX = "xlsx", "Excel"
        JSON = "json", "JSON"

    what = models.CharField(max_length=20, help_text="What it holds: customers, events, …")
    format = models.CharField(max_length=4, choices=Format, default=Format.CSV)
    query = models.TextField(blank=True, default="")
    filters = models.JSONField(null=True)
    file = models.FileField(upload_to="exports/", blank=True)
    columns = models.JSONField(default=list)
    after = models.JSONField(default=list)
    offset = models.BigIntegerField(default=0, help_text="Bytes of the file that are committed.")
    rows_done = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(null=True, help_text="About how many there are, if known.")
    error = models.TextField(blank=True, default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="+"
    )
    api_key = models.ForeignKey(ApiKey, models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(created_by__isnull=True) ^ Q(api_key__isnull=True),
                name="export_has_one_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what}-{self.pk}.{self.format}"

    @property
    def state(self) -> str:
        if self.error:
            return ExportState.FAILED
        if self.finished_at:
            return ExportState.DONE
        return ExportState.WAITING if self.rows_total is None else ExportState.WRITING


class Forgetting(models.Model):
    """Customers who are erased together, in the background, each in a transaction of their own.

    `customer_ids` are who was shown when it was confirmed; none once it is over. The first `seen`
    of them are done with: `erased`, or left because they are somebody else's part by now.
    """

    customer_ids = ArrayField(models.BigIntegerField())
    total = models.PositiveIntegerField()
    seen = models.PositiveIntegerField(default=0)
    erased = models.PositiveIntegerField(default=0)
    by = models.TextField(help_text="The name of who began it, as the proofs say it.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    stopped_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Erasing {self.total} customers"


class ExportState(models.TextChoices):
    WAITING = "waiting"
    WRITING = "writing"
    DONE = "done"
    FAILED = "failed"

"""Files of customers on their way in: their lines, problems, and what an undoing needs."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from customers.exact import NumericField


class ImportKind(models.TextChoices):
    CUSTOMER_FIELDS = "customer_fields", "Customer field values"
    EVENTS = "events", "Events"
    SEGMENT_MEMBERS = "segment_members", "Members of a segment"


class ImportState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    CHECKING = "checking", "Checking"
    CHECKED = "checked", "Checked"
    IMPORTING = "importing", "Importing"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    STOPPED = "stopped", "Stopped"
    UNDOING = "undoing", "Being undone"
    UNDONE = "undone", "Undone"


class Import(models.Model):
    """An uploaded file and how far it has come. Work commits in chunks, so it can resume.

    `customers.imports` says what `options`, `format` and `summary` hold.
    """

    kind = models.CharField(max_length=20, choices=ImportKind.choices)
    app = models.TextField(
        default="customers", help_text="The app whose module `imports` reads this kind of file."
    )
    state = models.CharField(
        max_length=10, choices=ImportState.choices, default=ImportState.WAITING
    )
    file = models.FileField(upload_to="imports/")
    file_name = models.TextField()
    file_size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    stopped_state = models.CharField(
        max_length=10, blank=True, default="", help_text="The state it had when it was stopped."
    )
    options = models.JSONField(default=dict, blank=True)
    format = models.JSONField(default=dict, blank=True, help_text="What was detected, and said.")
    summary = models.JSONField(default=dict, blank=True, help_text="Counts by field and reason.")
    offset = models.BigIntegerField(default=0, help_text="Bytes of the file that are committed.")
    lines_done = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(default=0)
    rows_ok = models.BigIntegerField(default=0)
    rows_failed = models.BigIntegerField(default=0)
    customers_created = models.BigIntegerField(default=0)
    customers_updated = models.BigIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    created_by = models.TextField(default="", help_text="Who: a user's name or an API key's.")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    undone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.file_name

    @property
    def progress(self) -> float:
        """The part of the file that is done, 0 to 1."""
        if self.state == ImportState.DONE:
            return 1.0
        return min(1.0, self.offset / self.file_size) if self.file_size else 0.0


class ImportSeen(models.Model):
    """What an import under way must remember of the lines behind it; gone when it has ended.

    `key` is a hash, `what` a number that the kind of import gives a meaning.
    """

    pk = models.CompositePrimaryKey("source_id", "key")
    source = models.ForeignKey(Import, models.CASCADE, db_constraint=False, db_index=False)
    key = models.BigIntegerField()
    what = NumericField()

    def __str__(self) -> str:
        return f"{self.key} of {self.source_id}"


class ImportGiven(models.Model):
    """Which values a chunk of an import under way gave; gone when it has ended.

    For each customer a hash, and a bit for each field whose id divided by 61 is `word`. Bit 61
    marks those who were known.
    """

    pk = models.CompositePrimaryKey("source_id", "line", "word")
    source = models.ForeignKey(Import, models.CASCADE, db_constraint=False, db_index=False)
    line = models.BigIntegerField(help_text="The first line of the chunk.")
    word = models.IntegerField()
    keys = ArrayField(models.BigIntegerField())
    bits = ArrayField(models.BigIntegerField())

    def __str__(self) -> str:
        return f"line {self.line} of {self.source_id}"


class ImportTouched(models.Model):
    """Whom a chunk of an import created or changed: what can be undone."""

    pk = models.CompositePrimaryKey("source_id", "line")
    source = models.ForeignKey(Import, models.CASCADE, db_constraint=False, db_index=False)
    line = models.BigIntegerField(help_text="The first line of the chunk.")
    created = ArrayField(models.BigIntegerField())
    updated = ArrayField(models.BigIntegerField())
    restored_at = models.DateTimeField(null=True, help_text="When their values were taken back.")

    def __str__(self) -> str:
        return f"line {self.line} of {self.source_id}"


class ImportProblem(models.Model):
    """A line that could not be imported: why, and the line itself, so that it can be mended."""

    source = models.ForeignKey(Import, models.CASCADE, related_name="problems")
    line = models.BigIntegerField()
    code = models.TextField(help_text="Stable, for grouping: unknown_field, not_a_number, …")
    message = models.TextField(help_text="For people.")
    row = models.JSONField(help_text="The cells of the line as they stood in the file.")

    class Meta:
        indexes = [models.Index(F("source"), F("line"), name="importproblem_line")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"

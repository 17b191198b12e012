"""Who is who: customers, the fields they have, the identifiers they go by."""

import uuid
from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from customers import masking
from customers.exact import ExactJSONField, NumericField, SerialField

NO_FIELDS = models.Value({}, models.JSONField())


class FieldType(models.TextChoices):
    STRING = "string", "String"
    NUMBER = "number", "Number"
    DATETIME = "datetime", "Datetime"
    BOOLEAN = "boolean", "Boolean"


class Display(models.TextChoices):
    """How a value is shown; what it is, the type says."""

    PLAIN = "", "As it is"
    DATE = "date", "Date without a time"
    EMAIL = "email", "E-mail address, to write to"
    PHONE = "phone", "Phone number, to call"
    LINK = "link", "Web address, to open"
    MONEY = "money", "Amount of money"
    CODE = "code", "Number without separators, such as a postcode or a year"


class CustomerField(models.Model):
    """A property that customers may have, named exactly as in the CRM.

    `display`, `group`, `position`, `in_list` and `in_filters` say how people meet it.
    `holders` and `examples` are kept figures, as of `counted_at`; null while nobody has counted.
    """

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[RegexValidator(r"^[^@\s]", "A name may not begin with @ or a space.")],
        help_text="Exactly as in your CRM. It cannot be changed once customers have values.",
    )
    type = models.CharField(max_length=8, choices=FieldType.choices, default=FieldType.STRING)
    label = models.CharField(
        max_length=100, blank=True, db_default="", help_text="What people read; the name if empty."
    )
    description = models.TextField(blank=True, db_default="")
    is_personal = models.BooleanField(
        "personal data", db_default=False, help_text="Masked for roles that may not see it."
    )
    display = models.CharField(
        "shown as", max_length=8, choices=Display.choices, blank=True, default="", db_default=""
    )
    group = models.CharField(
        max_length=60,
        blank=True,
        db_default="",
        help_text="The heading under which a profile shows it, such as “Loyalty”.",
    )
    position = models.IntegerField(
        default=100, db_default=100, help_text="Within its group, lower ones come first."
    )
    in_list = models.BooleanField(
        "in the list of customers",
        default=False,
        db_default=False,
        help_text="A column of the list, for everybody who has not chosen columns.",
    )
    in_filters = models.BooleanField(
        "among the filters", default=True, db_default=True, help_text="Of the list of customers."
    )
    is_indexed = models.BooleanField(
        "fast filter",
        default=False,
        db_default=False,
        help_text="Keeps an index, which makes filtering and sorting by it fast among millions of "
        "customers, and imports of it a little slower. Set by itself when a filter was slow.",
    )
    indexed_at = models.DateTimeField(null=True, editable=False)
    holders = models.BigIntegerField(null=True, editable=False)
    examples = ArrayField(models.TextField(), default=list, db_default=[], editable=False)
    counted_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        verbose_name = "customer field"
        constraints = [
            models.CheckConstraint(
                condition=Q(type__in=FieldType.values), name="customerfield_type_known"
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.name


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


class ChosenColumns(models.Model):
    """Which columns somebody wants in the list of customers, in this order."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    names = ArrayField(models.TextField())

    def __str__(self) -> str:
        return ", ".join(self.names)


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


class ConsentPurpose(models.Model):
    """What customers are asked to agree to, such as a newsletter. Rules call it by its key."""

    class Channel(models.TextChoices):
        EMAIL = "email", "E-mail"
        SMS = "sms", "SMS"
        PHONE = "phone", "Phone"
        POST = "post", "Post"
        PUSH = "push", "Push"
        ADS = "ads", "Advertising"
        OTHER = "other", "Other"

    key = models.CharField(
        max_length=100,
        primary_key=True,
        help_text="What programs and files call it, such as newsletter. It cannot change.",
    )
    label = models.CharField(max_length=100, blank=True, db_default="", help_text="For people.")
    channel = models.CharField(max_length=5, choices=Channel, default=Channel.OTHER)
    description = models.TextField(
        blank=True, db_default="", help_text="What people are told they agree to."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["key"]
        verbose_name = "consent purpose"
        constraints = [
            models.CheckConstraint(
                condition=Q(channel__in=["email", "sms", "phone", "post", "push", "ads", "other"]),
                name="consentpurpose_channel_known",
            ),
        ]

    def __str__(self) -> str:
        return self.label or self.key


class AbstractDecision(models.Model):
    """Somebody agreed to a purpose or refused: when, and how we know."""

    # Who writes a decision holds its customer: to check that costs as much as the row.
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    purpose = models.TextField(help_text="The key of a purpose.")
    granted = models.BooleanField()
    at = models.DateTimeField(help_text="When they decided.")
    source = models.TextField(help_text='For people: import "loyalty.csv", API key "shop", Anna.')
    via = models.TextField(help_text="Where they were asked: checkout, unsubscribe link.")
    text_version = models.TextField(help_text="Which wording they saw.")
    recorded_at = models.DateTimeField(db_default=Now(), help_text="When we learned of it.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{'Yes' if self.granted else 'No'} of {self.customer_id} to {self.purpose}"


class Consent(AbstractDecision):
    """A customer's present decision about a purpose. Who never decided has no row."""

    pk = models.CompositePrimaryKey("customer_id", "purpose")

    class Meta:
        indexes = [
            models.Index(fields=["purpose", "granted", "customer"], name="consent_by_purpose")
        ]


class ConsentChange(AbstractDecision):
    """Every decision ever recorded, also those that a newer one had overtaken. Append only."""

    pk = models.CompositePrimaryKey("customer_id", "id")
    id = SerialField()
    origin_id = models.BigIntegerField(
        help_text="Whose decision it was, before merges: where it goes back to."
    )


class Suppression(models.Model):
    """An address that nothing may be sent to, whoever it belongs to and whatever they agreed to.

    Of an erased person only a keyed hash stays, so that a new file cannot bring them back.
    """

    class Kind(models.TextChoices):
        EMAIL = "email", "E-mail"
        PHONE = "phone", "Phone"

    class Reason(models.TextChoices):
        HARD_BOUNCE = "hard_bounce", "Hard bounce"
        COMPLAINT = "complaint", "Complaint"
        UNSUBSCRIBE = "unsubscribe", "Unsubscribed from everything"
        MANUAL = "manual", "By hand"

    pk = models.CompositePrimaryKey("kind", "value")
    kind = models.CharField(max_length=5, choices=Kind)
    value = models.TextField(help_text="Normalised as identifiers are.")
    reason = models.CharField(max_length=11, choices=Reason)
    source = models.TextField(help_text='For people: import "bounces.csv", API key "shop", Anna.')
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["-at", "kind", "value"], name="suppression_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


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


class ImportKind(models.TextChoices):
    CUSTOMER_FIELDS = "customer_fields", "Customer field values"
    EVENTS = "events", "Events"


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

"""What customers did, and the ways by which we learn of it."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.core.validators import MinValueValidator, validate_slug
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from encrypted_fields.fields import EncryptedTextField

from customers.exact import ExactJSONField, NumericField, SerialField
from customers.models import Customer


class SourceKind(models.TextChoices):
    WEBSITE = "website", "Website"
    SERVER = "server", "Server or app"
    STORE = "store", "Shop or cash register"
    EMAIL = "email", "E-mail tool"


class Channel(models.TextChoices):
    ONLINE = "online", "Online"
    OFFLINE = "offline", "Offline"


class Source(models.Model):
    """Somebody that may send us events, by its write key."""

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=SourceKind.choices)
    channel = models.CharField(max_length=7, choices=Channel.choices, default=Channel.ONLINE)
    currency = models.CharField(max_length=3, blank=True, help_text="For amounts that name none.")
    write_key = models.CharField(max_length=64, unique=True, editable=False)
    is_enabled = models.BooleanField("enabled", default=True)
    creates_fields = models.BooleanField(
        "create unknown fields",
        default=False,
        help_text="Unknown traits become customer fields by themselves.",
    )
    may_overwrite = models.BooleanField(
        "may change identified customers",
        default=False,
        help_text="A website's key can be read by anyone. Unless this is on, such a source fills "
        "empty fields of a customer with a CustomerId and changes what a website told, but "
        "leaves what others told.",
    )
    rate_limit = models.PositiveIntegerField(
        "events a second",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Beyond it, senders are told to come again later (429). Empty: no limit.",
    )
    needs_consent = models.BooleanField(
        "ask for consent first",
        default=False,
        help_text="The tag keeps silent until the visitor agrees to being measured.",
    )
    # Of an e-mail tool that reports what became of its messages.
    provider = models.CharField(
        max_length=20,
        blank=True,
        default="",
        help_text="The service that sends your e-mails and calls us.",
    )
    hook_token = models.CharField(
        max_length=64,
        null=True,
        blank=True,
        unique=True,
        editable=False,
        help_text="The secret part of the address that the service calls.",
    )
    hook_secret = EncryptedTextField(
        "signing key",
        blank=True,
        null=True,
        help_text="If the service signs what it sends: the key it shows for that.",
    )
    creates_recipients = models.BooleanField(
        "create unknown recipients",
        default=False,
        help_text="What happens to addresses that no customer has yet. Off: their events wait "
        "until a customer gets that e-mail. On: they become customers.",
    )
    mapping = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Allowance(models.Model):
    """When a source with a limit has served for what it sent: a second ahead, it must wait."""

    source = models.OneToOneField(Source, models.DO_NOTHING, primary_key=True, db_constraint=False)
    free_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.free_at.isoformat()


class Inbox(models.Model):
    """A request as it came, waiting to become events. One row a request, answered once durable."""

    id = models.BigAutoField(primary_key=True)
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, db_index=False)
    received_at = models.DateTimeField(db_default=Now())
    call = models.TextField(help_text="track, identify, … as the path said, or batch, or import.")
    body = models.BinaryField(help_text="JSON, decompressed, otherwise as it came.")
    error = models.TextField(db_default="", help_text="Why it was set aside; empty while queued.")

    def __str__(self) -> str:
        return f"{self.call} {self.pk}"


class Receipt(models.Model):
    """A message we have had: the one place where a second copy is recognised.

    Kept apart from the events, which are stored by customer: a copy that would now land on another
    customer (a device that has changed hands) is still a copy, and so is a second identify.
    """

    pk = models.CompositePrimaryKey("source_id", "message_id")
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, db_index=False)
    message_id = models.TextField()

    def __str__(self) -> str:
        return self.message_id


class EventName(models.Model):
    """The catalogue: each name seen, with a small id that events carry instead of the text."""

    id = models.AutoField(primary_key=True)
    name = models.TextField(unique=True)
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(null=True, help_text="To the minute.")
    is_expected = models.BooleanField(
        "expected",
        null=True,
        help_text="Whether it is in the plan of what sources should send. Empty: not decided.",
    )
    description = models.CharField(
        max_length=200, blank=True, db_default="", help_text="What it means, for people."
    )

    class Meta:
        ordering = ["name"]
        verbose_name = "event type"

    def __str__(self) -> str:
        return self.name


class EventProperty(models.Model):
    """A property that events of a name have had, as they arrived."""

    pk = models.CompositePrimaryKey("name_id", "path")
    name = models.ForeignKey(
        EventName, models.CASCADE, related_name="known_properties", db_constraint=False
    )
    path = models.TextField()
    types = ArrayField(models.TextField(), help_text="string, number, boolean, object, array.")
    example = models.TextField(help_text="JSON, as it came first; none of objects and lists.")
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now(), help_text="To the hour.")

    class Meta:
        ordering = ["path"]

    def __str__(self) -> str:
        return self.path


class Waiting(models.Model):
    """An event of an e-mail address that no customer has yet; it joins them once one has."""

    id = models.BigAutoField(primary_key=True)
    email = models.TextField(db_index=True, help_text="Normalised.")
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, db_index=False)
    received_at = models.DateTimeField(db_default=Now())
    body = models.TextField(help_text="The event as JSON.")

    class Meta:
        verbose_name = "waiting report"

    def __str__(self) -> str:
        return f"Report {self.pk}"


class Event(models.Model):
    """One thing one customer did. `id` counts in the order received.

    The database does not check that the customer exists, which costs as much as storing the
    event: whoever writes events holds the customers, as does whoever removes customers.
    """

    pk = models.CompositePrimaryKey("customer_id", "id")
    id = SerialField()
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="events", db_index=False, db_constraint=False
    )
    name = models.ForeignKey(EventName, models.DO_NOTHING, db_index=False, db_constraint=False)
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, db_index=False)
    message_id = models.TextField()
    came_by = models.TextField(help_text="<kind>:<value> of the identifier it came by.")
    origin_id = models.BigIntegerField(null=True, help_text="Whose it was before a merge.")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())
    amount = NumericField(null=True)
    currency = models.CharField(max_length=3, null=True)  # noqa: DJ001 (null: not known)
    properties = ExactJSONField()
    context = ExactJSONField(null=True, help_text="Sent along: page, campaign, clock; our notes.")

    class Meta:
        indexes = [
            models.Index("id", name="event_by_id"),  # the latest of all: grows at one end only
            # The last days of everybody, for Home; a thousandth of the size of a B-tree.
            BrinIndex("occurred_at", name="event_when", autosummarize=True, pages_per_range=32),
            models.Index(
                fields=["customer", "name", "occurred_at"],
                include=["amount", "currency", "source", "id"],
                name="event_by_customer",
            ),
            models.Index(
                fields=["name", "customer", "occurred_at"],
                include=["amount", "currency", "source", "id"],
                name="event_by_name",
            ),
        ]

    def __str__(self) -> str:
        return f"event {self.id}"


class DiscoveredField(models.Model):
    """A trait that came in and is no customer field yet: offered to staff as one."""

    name = models.TextField(primary_key=True)
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False, db_index=False)
    type = models.CharField(max_length=8, help_text="As its example looks.")
    example = models.TextField()
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Quarantine(models.Model):
    """An event we could not take: why, and the event itself, to be mended and replayed."""

    id = models.BigAutoField(primary_key=True)
    source = models.ForeignKey(Source, models.DO_NOTHING, db_constraint=False)
    received_at = models.DateTimeField(db_default=Now())
    call = models.TextField()
    code = models.TextField(help_text="Stable, for grouping: no_identity, no_name, bad_time, …")
    message = models.TextField(help_text="For people.")
    body = models.TextField(help_text="The event as JSON, as far as it could be read.")
    replayed_at = models.DateTimeField(null=True)
    digest = models.BigIntegerField(
        null=True, editable=False, help_text="Of its content: a copy of it is left out."
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = "rejected event"
        constraints = [
            models.UniqueConstraint(
                fields=["source", "digest"],
                condition=Q(replayed_at__isnull=True),
                name="quarantine_once",
            )
        ]
        indexes = [
            models.Index("id", condition=Q(replayed_at__isnull=True), name="quarantine_open"),
        ]

    def __str__(self) -> str:
        return self.message

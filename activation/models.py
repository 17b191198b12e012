"""Telling the world: destinations, the triggers that send to them, and what was sent."""

import secrets
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Self

from django.core.validators import validate_slug
from django.db import models
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Now
from encrypted_fields.fields import EncryptedTextField

from segments.models import Segment

WEBHOOK = "webhook"
AS_IT_IS = "="  # stands in `Delivery.sent` when what is sent is the body


class Destination(models.Model):
    """Somewhere messages go. `config` depends on the kind; a webhook's is {"url": …}.

    What of it is secret stands in `secrets`, as JSON, and is hidden in `config`.
    """

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=40, default=WEBHOOK, help_text="See destinations.KINDS.")
    config = models.JSONField(default=dict)
    secrets = EncryptedTextField(null=True, editable=False)
    secret = EncryptedTextField(editable=False, help_text="Signs messages: whsec_ and base64.")
    old_secret = EncryptedTextField(
        null=True, editable=False, help_text="Signs as well, until `old_secret_until`."
    )
    old_secret_until = models.DateTimeField(null=True, editable=False)
    rate = models.FloatField(
        null=True, blank=True, help_text="Requests a second at most; null: as fast as it answers."
    )
    # The bucket of the rate: what was left in it at an instant.
    tokens = models.FloatField(db_default=0.0, editable=False)
    tokens_at = models.DateTimeField(null=True, editable=False)
    is_enabled = models.BooleanField("enabled", default=True)
    disabled_because = models.TextField(blank=True, default="", editable=False)
    # The breaker: after some failures in a row nothing is sent until `held_until`, then one.
    failures_in_a_row = models.IntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    held_until = models.DateTimeField(null=True, editable=False)
    has_asked = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It said itself until when."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rate=None) | Q(rate__gt=0), name="destination_rate_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class On(models.TextChoices):
    ENTER = "enter", "enters"
    LEAVE = "leave", "leaves"
    STAY = "stay", "has been in"


class Unit(models.TextChoices):
    MINUTES = "minutes", "minutes"
    HOURS = "hours", "hours"
    DAYS = "days", "days"
    WEEKS = "weeks", "weeks"


class AtMost(models.TextChoices):
    """How often a trigger sends for one customer."""

    EVERY_ENTRY = "every_entry", "every time"
    ONCE = "once", "once"
    ONCE_PER_DAYS = "once_per_days", "once in so many days"


class QuietThen(models.TextChoices):
    """What becomes of a message of the quiet hours."""

    HOLD = "hold", "send it afterwards"
    DROP = "drop", "do not send it"


class Trigger(models.Model):
    """When a customer enters, leaves or stays in a segment, send a message to a destination.

    Some are left out: who had one already (`at_most`), who does not agree to a `purpose`. In
    quiet hours, of the customer's time zone if a field tells it, nothing is sent.
    """

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    segment = models.ForeignKey(Segment, models.PROTECT, related_name="triggers")
    on = models.CharField("when a customer", max_length=5, choices=On.choices, default=On.ENTER)
    stay_for = models.PositiveIntegerField(null=True, blank=True, help_text="So many …")
    stay_unit = models.CharField(
        max_length=7, choices=Unit.choices, default=Unit.DAYS, db_default=Unit.DAYS
    )
    destination = models.ForeignKey(Destination, models.PROTECT, related_name="triggers")
    at_most = models.CharField(
        max_length=13,
        choices=AtMost.choices,
        default=AtMost.EVERY_ENTRY,
        db_default=AtMost.EVERY_ENTRY,
        verbose_name="at most",
    )
    at_most_days = models.PositiveIntegerField(null=True, blank=True)
    purpose = models.CharField(
        "only with consent to",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="Its key.",
    )
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    quiet_zone_field = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The customer field with the time zone; the workspace's if empty or unknown.",
    )
    quiet_then = models.CharField(
        max_length=4, choices=QuietThen.choices, default=QuietThen.HOLD, db_default=QuietThen.HOLD
    )
    is_enabled = models.BooleanField("switched on", default=False)
    include_existing = models.BooleanField(
        "send for those already in",
        default=False,
        help_text="When switched on, also send for customers who are in the segment by then.",
    )
    switched_on_at = models.DateTimeField(null=True, editable=False)
    # With `stay`: members who entered before have been looked at (and at the same instant, by id).
    stayed_at = models.DateTimeField(null=True, editable=False)
    stayed_id = models.BigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(on="stay", stay_for__gt=0) | (~Q(on="stay") & Q(stay_for=None)),
                name="trigger_stay_has_a_time",
            ),
            models.CheckConstraint(
                condition=Q(at_most="once_per_days", at_most_days__gt=0)
                | (~Q(at_most="once_per_days") & Q(at_most_days=None)),
                name="trigger_days_if_per_days",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="trigger_quiet_has_both_ends",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def stay(self) -> timedelta | None:
        """How long a customer must have been in."""
        try:
            return timedelta(**{self.stay_unit: self.stay_for}) if self.stay_for else None
        except OverflowError:
            return timedelta.max


class State(models.TextChoices):
    """Where a delivery stands, for people and for the API."""

    PENDING = "pending", "Waiting"
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    RETRY = "retry", "Retrying"
    HELD = "held", "Held"
    CANCELLED = "cancelled", "Cancelled"
    DEAD = "dead", "Failed"


class Reason(models.TextChoices):
    """Why a message was not sent, or waits."""

    SWITCHED_OFF = "switched_off", "The trigger was switched off."
    CAPPED = "capped", "The customer has had this message, and it is not sent again so soon."
    NO_CONSENT = "no_consent", "The customer does not agree to it."
    SUPPRESSED = "suppressed", "Nothing may be sent to the customer's address."
    NO_ADDRESS = "no_address", "The customer has no address that it could go to."
    QUIET = "quiet", "It fell into the quiet hours."


def new_id() -> uuid.UUID:
    """Return a UUID of version 7: it begins with the time, so that newer ones sort after older."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76  # the version
    return uuid.UUID(int=number & ~(0b11 << 62) | 0b10 << 62)  # the variant


def first_id_at(moment: datetime) -> uuid.UUID:
    """Return the smallest id that a delivery made at a moment, or later, can have."""
    number = int(moment.timestamp() * 1_000) << 80 | 7 << 76
    return uuid.UUID(int=number | 0b10 << 62)


_APART = timedelta(hours=1)


def _bounded(moment: datetime) -> datetime:
    """Return an instant that an id can tell."""
    return max(datetime(1970, 1, 2, tzinfo=UTC), min(moment, datetime(9999, 1, 1, tzinfo=UTC)))


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def waiting(self) -> Self:
        return self.filter(delivered_at=None, dead_at=None, cancelled_at=None)

    def dead(self) -> Self:
        return self.filter(dead_at__isnull=False)

    def real(self) -> Self:
        """Leave out what was only a test."""
        return self.filter(is_test=False)

    def made(self, since: datetime | None = None, until: datetime | None = None) -> Self:
        """Those made in a time. An id begins with it, but for a long transaction or other clock."""
        found = self
        if since is not None:
            begin = first_id_at(_bounded(since) - _APART)
            found = found.filter(created_at__gte=since, id__gte=begin)
        if until is not None:
            end = first_id_at(_bounded(until) + _APART)
            found = found.filter(created_at__lt=until, id__lt=end)
        return found

    def with_state(self, now: datetime) -> Self:
        """Add `state`, one of `State`, as it is at this instant."""
        is_held = (
            Q(destination__is_enabled=False)
            | Q(destination__held_until__gt=now)
            | Q(reason=Reason.QUIET, due_at__gt=now)
        )
        return self.annotate(
            state=Case(
                When(delivered_at__isnull=False, then=Value(State.DELIVERED)),
                When(dead_at__isnull=False, then=Value(State.DEAD)),
                When(cancelled_at__isnull=False, then=Value(State.CANCELLED)),
                When(leased_until__gt=now, then=Value(State.SENDING)),
                When(is_held, then=Value(State.HELD)),
                When(attempts_made__gt=0, then=Value(State.RETRY)),
                default=Value(State.PENDING),
                output_field=models.CharField(choices=State.choices),
            )
        )

    def in_state(self, state: str, now: datetime) -> Self:
        """Those in one state; by what indexes know as far as possible."""
        found = self.with_state(now)
        if state == State.DELIVERED:
            return found.filter(delivered_at__isnull=False)
        if state == State.DEAD:
            return found.filter(dead_at__isnull=False)
        if state == State.CANCELLED:
            return found.filter(cancelled_at__isnull=False)
        waiting = found.waiting().filter(state=state)
        return waiting.filter(leased_until__gt=now) if state == State.SENDING else waiting


class Delivery(models.Model):
    """One message to one destination: the outbox. `id` is the webhook-id on every attempt.

    `body` is frozen when the membership changes; `sent`, what its destination made of that, before
    the first attempt and until one succeeds. So every attempt sends the same bytes.
    `destination` repeats the trigger's, so that what is due is found without a join. An entry that
    was not sent for is kept as well, without a body, as cancelled for a `reason`.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    trigger = models.ForeignKey(Trigger, models.CASCADE, related_name="deliveries", db_index=False)
    destination = models.ForeignKey(
        Destination, models.PROTECT, related_name="deliveries", db_index=False
    )
    customer_id = models.BigIntegerField(db_index=True)
    entry_no = models.IntegerField()
    is_test = models.BooleanField(default=False)
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    caused_at = models.DateTimeField(
        null=True, help_text="When what caused it was received, or became true by time."
    )
    reason = models.CharField(max_length=12, choices=Reason.choices, db_default="", blank=True)
    together = models.PositiveSmallIntegerField(
        null=True, help_text="With how many in a request at most: more were refused."
    )
    sent = models.TextField(
        blank=True,
        db_default="",
        editable=False,
        help_text="What every attempt sends, from before the first on; AS_IT_IS: the body.",
    )
    due_at = models.DateTimeField(db_default=Now())
    attempts_made = models.IntegerField(default=0)
    lease = models.UUIDField(null=True, help_text="Token of the worker that is sending it.")
    leased_until = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    dead_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="", blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(
                fields=["trigger", "customer_id", "entry_no"],
                condition=Q(is_test=False),
                name="delivery_once_per_entry",
            ),
        ]
        indexes = [
            models.Index(
                fields=["destination", "due_at"],
                condition=Q(delivered_at=None, dead_at=None, cancelled_at=None),
                name="delivery_due",
            ),
            models.Index(
                fields=["destination", "leased_until"],
                condition=Q(leased_until__isnull=False),
                name="delivery_on_its_way",
            ),
            models.Index(fields=["trigger", "id"], name="delivery_by_trigger"),
            models.Index(fields=["destination", "id"], name="delivery_by_destination"),
            # Few in a long log: the newest of them are found, and counted, without the others.
            models.Index(
                fields=["id", "trigger", "destination"],
                condition=Q(delivered_at=None, dead_at=None, cancelled_at=None),
                name="delivery_waiting",
            ),
            models.Index(
                fields=["id", "trigger", "destination"],
                condition=Q(dead_at__isnull=False),
                name="delivery_failed",
            ),
            models.Index(
                fields=["id", "trigger", "destination"],
                condition=Q(cancelled_at__isnull=False),
                name="delivery_cancelled",
            ),
            models.Index(
                fields=["trigger", "id"], condition=Q(is_test=True), name="delivery_tests"
            ),
            models.Index(
                fields=["reason", "id"], condition=~Q(reason=""), name="delivery_by_reason"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def words(self) -> str:
        """What every attempt sends; "" if that is not settled."""
        return self.body if self.sent == AS_IT_IS else self.sent


class Attempt(models.Model):
    """One try of one delivery and what came back."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    at = models.DateTimeField(db_default=Now())
    status = models.IntegerField(null=True, help_text="HTTP status; null if there was no answer.")
    ms = models.IntegerField(help_text="How long it took, in milliseconds.")
    error = models.TextField(default="", blank=True)
    response = models.TextField(default="", blank=True, help_text="The first 2 KB of the answer.")

    class Meta:
        ordering = ["at"]

    def __str__(self) -> str:
        return f"{self.status or self.error}"


class Turn(models.Model):
    """The last message of a trigger to a customer. It outlives the log."""

    pk = models.CompositePrimaryKey("customer_id", "trigger_id")
    customer_id = models.BigIntegerField()
    trigger_id = models.BigIntegerField()
    entry_no = models.IntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.trigger_id} for {self.customer_id} at {self.at:%F %T}"


class Tally(models.Model):
    """How many messages of a trigger were delivered, or failed for good, in an hour; no tests.

    Kept with every change of a delivery, so that nobody counts the log.
    """

    pk = models.CompositePrimaryKey("trigger_id", "hour")
    trigger_id = models.BigIntegerField()
    hour = models.DateTimeField()
    delivered = models.IntegerField()
    failed = models.IntegerField()

    class Meta:
        verbose_name_plural = "tallies"

    def __str__(self) -> str:
        return f"{self.delivered} by {self.trigger_id} at {self.hour:%F %T}"


class Backlog(models.Model):
    """A trigger still has to send for members who were there before it was switched on.

    They are gone through in the order they entered; `after_at` and `after_id` tell how far.
    """

    trigger = models.OneToOneField(Trigger, models.CASCADE, primary_key=True)
    after_at = models.DateTimeField(null=True)
    after_id = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(
        db_default=Now(), null=True, help_text="When it last got on; null: the segment is filling."
    )

    def __str__(self) -> str:
        return f"existing members for {self.trigger_id}"


class Cancelling(models.Model):
    """Much waited when a trigger was switched off: up to a delivery it is being cancelled."""

    trigger = models.OneToOneField(Trigger, models.CASCADE, primary_key=True)
    until = models.UUIDField()

    def __str__(self) -> str:
        return f"what waits of {self.trigger_id}"


class WakeUp(models.Model):
    """The one row that says that a task to send what is due waits in the queue, or is at work."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    asked_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="wakeup_only_one")]

    def __str__(self) -> str:
        return f"asked at {self.asked_at:%T}"

"""Telling the world: destinations, the triggers that send to them, and what was sent."""

import secrets
import time
import uuid
from datetime import datetime
from typing import Self

from django.core.validators import validate_slug
from django.db import models
from django.db.models import Case, Q, Value, When
from django.db.models.functions import Now
from encrypted_fields.fields import EncryptedTextField

from segments.models import Segment


class DestinationKind(models.TextChoices):
    WEBHOOK = "webhook", "Webhook"


class Destination(models.Model):
    """Somewhere messages go. `config` depends on the kind; a webhook's is {"url": …}."""

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    kind = models.CharField(
        max_length=20, choices=DestinationKind.choices, default=DestinationKind.WEBHOOK
    )
    config = models.JSONField(default=dict)
    secret = EncryptedTextField(editable=False, help_text="Signs messages: whsec_ and base64.")
    is_enabled = models.BooleanField("enabled", default=True)
    disabled_because = models.TextField(blank=True, default="", editable=False)
    # The breaker: after some failures in a row nothing is sent until `held_until`, then one.
    failures_in_a_row = models.IntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    held_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class On(models.TextChoices):
    ENTER = "enter", "enters"
    LEAVE = "leave", "leaves"


class Trigger(models.Model):
    """When a customer enters (or leaves) a segment, send a message to a destination."""

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    segment = models.ForeignKey(Segment, models.PROTECT, related_name="triggers")
    on = models.CharField("when a customer", max_length=5, choices=On.choices, default=On.ENTER)
    destination = models.ForeignKey(Destination, models.PROTECT, related_name="triggers")
    is_enabled = models.BooleanField("switched on", default=False)
    include_existing = models.BooleanField(
        "send for those already in",
        default=False,
        help_text="When switched on, also send for customers who are in the segment by then.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class State(models.TextChoices):
    """Where a delivery stands, for people and for the API."""

    PENDING = "pending", "Waiting"
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    RETRY = "retry", "Retrying"
    HELD = "held", "Held"
    CANCELLED = "cancelled", "Cancelled"
    DEAD = "dead", "Failed"


def new_id() -> uuid.UUID:
    """Return a UUID of version 7: it begins with the time, so that newer ones sort after older."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76  # the version
    return uuid.UUID(int=number & ~(0b11 << 62) | 0b10 << 62)  # the variant


def first_id_at(moment: datetime) -> uuid.UUID:
    """Return the smallest id that a delivery made at a moment, or later, can have."""
    number = int(moment.timestamp() * 1_000) << 80 | 7 << 76
    return uuid.UUID(int=number | 0b10 << 62)


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def waiting(self) -> Self:
        return self.filter(delivered_at=None, dead_at=None, cancelled_at=None)

    def dead(self) -> Self:
        return self.filter(dead_at__isnull=False)

    def real(self) -> Self:
        """Leave out what was only a test."""
        return self.filter(is_test=False)

    def since(self, moment: datetime) -> Self:
        return self.filter(id__gte=first_id_at(moment))

    def with_state(self, now: datetime) -> Self:
        """Add `state`, one of `State`, as it is at this instant."""
        is_held = Q(destination__is_enabled=False) | Q(destination__held_until__gt=now)
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
        """Those in one state; the finished ones are told apart by columns alone."""
        if state == State.DELIVERED:
            return self.filter(delivered_at__isnull=False).with_state(now)
        if state == State.DEAD:
            return self.filter(dead_at__isnull=False).with_state(now)
        if state == State.CANCELLED:
            return self.filter(cancelled_at__isnull=False).with_state(now)
        return self.waiting().with_state(now).filter(state=state)


class Delivery(models.Model):
    """One message to one destination: the outbox. `id` is the webhook-id on every attempt.

    `body` is frozen when the membership changes, so that every attempt sends the same bytes.
    `destination` repeats the trigger's, so that what is due is found without a join.
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
                fields=["destination"],
                condition=Q(leased_until__isnull=False),
                name="delivery_leased",
            ),
            models.Index(
                fields=["destination", "trigger"],
                condition=Q(dead_at__isnull=False),
                name="delivery_dead",
            ),
            models.Index(fields=["trigger", "id"], name="delivery_by_trigger"),
        ]

    def __str__(self) -> str:
        return str(self.id)


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


class WakeUp(models.Model):
    """The one row that says that a task to send what is due waits in the queue, or is at work."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    asked_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="wakeup_only_one")]

    def __str__(self) -> str:
        return f"asked at {self.asked_at:%T}"

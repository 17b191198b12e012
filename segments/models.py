"""Who belongs where: segments, their members now, and how that came about."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import validate_slug
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from customers.exact import ExactJSONField, SerialField
from customers.models import Customer


class SegmentKind(models.TextChoices):
    DYNAMIC = "dynamic", "By a rule"
    STATIC = "static", "By hand"


class Audience(models.TextChoices):
    EVERYONE = "everyone", "Everyone"
    IDENTIFIED = "identified", "Customers with a CustomerId"
    ANONYMOUS = "anonymous", "Visitors without a CustomerId"


class SegmentState(models.TextChoices):
    FILLING = "filling", "Filling"
    LIVE = "live", "Live"


class Cause(models.TextChoices):
    """Why a membership changed."""

    EVENT = "event", "an event"
    FIELD = "field", "a field"
    TIME = "time", "time"
    RULE = "rule", "the rule"
    MERGE = "merge", "a merge"
    MANUAL = "manual", "by hand"


class Segment(models.Model):
    """A group of customers, by a rule or by hand.

    While it is FILLING, customers with `fill_after` < id <= `fill_until` still await evaluation
    under the present rule; for them the old membership stands.
    """

    key = models.CharField(max_length=50, unique=True, validators=[validate_slug])
    name = models.CharField(max_length=100)
    kind = models.CharField(
        max_length=7, choices=SegmentKind.choices, default=SegmentKind.DYNAMIC, editable=False
    )
    audience = models.CharField(max_length=10, choices=Audience.choices, default=Audience.EVERYONE)
    rule = ExactJSONField(null=True, blank=True, help_text="Null for a segment kept by hand.")
    sentence = models.TextField(editable=False, default="")
    facts = ArrayField(models.TextField(), default=list, editable=False)
    state = models.CharField(
        max_length=7, choices=SegmentState.choices, default=SegmentState.LIVE, editable=False
    )
    fill_after = models.BigIntegerField(default=0, editable=False)
    fill_until = models.BigIntegerField(default=0, editable=False)
    error = models.TextField(default="", editable=False, help_text="Why the last fill failed.")
    version = models.IntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="static", rule=None) | Q(kind="dynamic", rule__isnull=False),
                name="segment_rule_iff_dynamic",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def newest_first(self) -> Self:
        return self.order_by("-entered_at", "-customer_id")


class Membership(models.Model):
    """A customer is in a segment now. Re-entries count up `entry_no`."""

    pk = models.CompositePrimaryKey("customer_id", "segment_id")
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="memberships", db_index=False
    )
    segment = models.ForeignKey(
        Segment, models.DO_NOTHING, related_name="memberships", db_index=False, db_constraint=False
    )
    entered_at = models.DateTimeField()
    entry_no = models.IntegerField(default=1)
    cause = models.CharField(max_length=6, choices=Cause.choices)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["segment", "entered_at", "customer"], name="membership_newest"),
        ]

    def __str__(self) -> str:
        return f"customer {self.customer_id} in segment {self.segment_id}"


class MembershipChange(models.Model):
    """A customer entered or left a segment: the history, append-only."""

    pk = models.CompositePrimaryKey("customer_id", "id")
    id = SerialField()
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="membership_changes", db_index=False
    )
    segment = models.ForeignKey(
        Segment, models.DO_NOTHING, related_name="changes", db_index=False, db_constraint=False
    )
    entered = models.BooleanField(help_text="Or left.")
    at = models.DateTimeField()
    cause = models.CharField(max_length=6, choices=Cause.choices)
    entry_no = models.IntegerField()
    event_id = models.BigIntegerField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["segment", "at"], name="membershipchange_at"),
            models.Index(
                fields=["customer", "segment", "entry_no"], name="membershipchange_entry_no"
            ),
        ]

    def __str__(self) -> str:
        verb = "entered" if self.entered else "left"
        return f"customer {self.customer_id} {verb} segment {self.segment_id}"


class Recheck(models.Model):
    """The first instant at which time alone could change this membership."""

    pk = models.CompositePrimaryKey("customer_id", "segment_id")
    customer = models.ForeignKey(
        Customer, models.DO_NOTHING, related_name="rechecks", db_index=False
    )
    segment = models.ForeignKey(
        Segment, models.DO_NOTHING, related_name="rechecks", db_index=False, db_constraint=False
    )
    due_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="recheck_due")]

    def __str__(self) -> str:
        return f"{self.due_at:%F %T}"

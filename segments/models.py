"""Who belongs where: segments, their members now, and how that came about."""

from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import validate_slug
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from simple_history.models import HistoricalRecords

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


def _editor(version: Any) -> str | None:
    return version.history_user_id


def _set_editor(version: Any, user: Any) -> None:
    """Keep who edited a segment as text: a user's name, or an API key's."""
    version.history_user_id = str(user) if user and user.is_authenticated else None


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
    meaning = models.TextField(
        db_default="",
        editable=False,
        help_text="What the words of the rule stood for when it was filled.",
    )
    version = models.IntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, editable=False)
    ruled_at = models.DateTimeField(null=True, editable=False, help_text="Since when by this rule.")
    skip_history_when_saving: bool  # set by those who save what nobody has edited
    versions = HistoricalRecords(
        excluded_fields=[
            *("kind", "facts", "state", "fill_after", "fill_until", "error", "meaning"),
            *("created_at", "updated_at", "ruled_at"),
        ],
        history_user_id_field=models.TextField(null=True),
        history_user_getter=_editor,
        history_user_setter=_set_editor,
    )

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
    absorbed_id = models.BigIntegerField(
        null=True, help_text="The customer it happened to, who was merged into this one since."
    )
    is_double = models.BooleanField(
        db_default=False, help_text="Left because a merge found two who both were in."
    )

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


class Size(models.Model):
    """How many members a segment has now; kept with every change, so that nobody counts."""

    segment = models.OneToOneField(
        Segment, models.DO_NOTHING, primary_key=True, related_name="kept", db_constraint=False
    )
    members = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.members} in segment {self.segment_id}"


class PastSize(models.Model):
    """How many members a segment had, or by its present rule would have had, when a day ended."""

    segment = models.ForeignKey(
        Segment, models.DO_NOTHING, related_name="past_sizes", db_index=False, db_constraint=False
    )
    day = models.DateField(help_text="In the workspace's time zone.")
    members = models.BigIntegerField()
    is_estimate = models.BooleanField(help_text="Before the rule was in force.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["segment", "day"], name="pastsize_of_day"),
        ]

    def __str__(self) -> str:
        return f"{self.members} in segment {self.segment_id} on {self.day}"


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

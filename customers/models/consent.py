"""What customers agreed to, and the addresses that get nothing."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from customers.exact import SerialField
from customers.models.people import Customer


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


class SuppressionRemoval(models.Model):
    """An address that was taken off the list of suppressed ones: by whom, and why it was there."""

    kind = models.CharField(max_length=5, choices=Suppression.Kind)
    value = models.TextField(db_index=True, help_text="As it stood in the list.")
    reason = models.CharField(max_length=11, choices=Suppression.Reason)
    source = models.TextField(help_text="Who had put it there.")
    since = models.DateTimeField(help_text="When it had been put there.")
    removed_by = models.TextField(help_text='For people: API key "shop", Anna.')
    removed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.value} by {self.removed_by}"

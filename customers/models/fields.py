"""The fields that customers may have, and how each user wants to see them."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


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
    finds_parts = models.BooleanField(
        "fast “contains”",
        default=False,
        db_default=False,
        help_text="Of a text: keeps an index of all its parts as well, for “contains” and “ends "
        "with”. Set by itself when such a filter was slow.",
    )
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


class ChosenColumns(models.Model):
    """Which columns somebody wants in the list of customers, in this order."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    names = ArrayField(models.TextField())

    def __str__(self) -> str:
        return ", ".join(self.names)

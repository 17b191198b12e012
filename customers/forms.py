"""The form of a customer: one control for each customer field, typed by its definition."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import quote

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.html import escape
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from customers import fields, formats, identity, masking, tombstones
from customers.models import Customer, CustomerField, Display, FieldType, Identifier

LONG = 80  # characters; a longer text gets more than one line


class CustomerForm(forms.ModelForm):
    """The base of the forms that `form_class` makes. `typed` holds what has changed, checked."""

    field_of: ClassVar[dict[str, CustomerField]] = {}

    class Meta:
        model = Customer
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.typed: dict[str, fields.Value] = {}
        for key, field in self.field_of.items():
            value = self.instance.fields.get(field.name) if self.instance.pk else None
            self.initial[key] = _shown(field, value)
            if isinstance(value, str) and len(value) > LONG:
                self.fields[key].widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def clean(self) -> dict[str, Any]:
        """Check every changed value; a value that does not fit is refused beside its field."""
        cleaned = super().clean() or {}
        for key, field in self.field_of.items():
            if key in self.changed_data and key in cleaned:
                try:
                    self.typed[field.name] = fields.parse_value(field, cleaned[key])
                except fields.FieldValueError as error:
                    self.add_error(key, ValidationError(str(error), code=error.code))
        return cleaned

    def _post_clean(self) -> None:
        """Leave the instance alone: values are laid by `fields.set_values`, not by a save."""


class NewCustomerForm(CustomerForm):
    """A customer added by hand, by a CustomerId that nobody has yet."""

    external_id = forms.CharField(
        label="CustomerId",
        max_length=identity.MAX_LENGTH,
        help_text="As in your CRM. It cannot be changed later.",
        widget=UnfoldAdminTextInputWidget(),
    )

    def clean_external_id(self) -> str:
        value = identity.normalise(identity.CUSTOMER_ID, self.cleaned_data["external_id"])
        if value is None:
            why = identity.objection(identity.CUSTOMER_ID, self.cleaned_data["external_id"])
            raise ValidationError(f"This cannot be the id of a customer: it {why}.")
        if tombstones.erased([(identity.CUSTOMER_ID, value)]):
            raise ValidationError(tombstones.REASON)
        if Identifier.objects.filter(kind=identity.CUSTOMER_ID, value=value).exists():
            raise ValidationError(f"There is a customer with the CustomerId {value} already.")
        return value


def form_class(known: dict[str, CustomerField], *, is_new: bool) -> type[CustomerForm]:
    """Make the form for the customer fields there are. A control is called value_<id of it>."""
    base = NewCustomerForm if is_new else CustomerForm
    field_of = {f"value_{field.pk}": field for field in known.values()}
    controls = {key: _control(field) for key, field in field_of.items()}
    return type("CustomerForm", (base,), {**controls, "field_of": field_of})


def _control(field: CustomerField) -> forms.Field:
    # The theme takes a help text for HTML.
    label, help_text = str(field), escape(field.description)
    if field.type == FieldType.BOOLEAN:
        choices = [("", "–"), ("true", "Yes"), ("false", "No")]
        return forms.ChoiceField(
            label=label,
            help_text=help_text,
            choices=choices,
            required=False,
            widget=UnfoldAdminSelectWidget(),
        )
    return forms.CharField(
        label=label, help_text=help_text, required=False, widget=_text_input(field)
    )


def _text_input(field: CustomerField) -> forms.Widget:
    if field.type == FieldType.NUMBER:
        return UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})
    if field.type == FieldType.DATETIME:
        widget = UnfoldAdminTextInputWidget(attrs={"step": "1"})
        widget.input_type = "datetime-local"
        return widget
    return UnfoldAdminTextInputWidget()


def _shown(field: CustomerField, value: Any) -> str:
    """Write a stored value as its control shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return format(Decimal(value), "f")
    if field.type == FieldType.DATETIME:
        return f"{timezone.localtime(datetime.fromisoformat(value)):%Y-%m-%dT%H:%M:%S}"
    return str(value)


def display(field: CustomerField | None, value: Any) -> str:
    """Write a stored value as `plain` does, masked if whoever looks may not see it."""
    mask = masking.current()
    if value is not None and field is not None and mask.hides(field.name):
        return masking.MASK
    return mask.text(plain(field, value))


def plain(field: CustomerField | None, value: Any) -> str:
    """Write a stored value for reading: 5'000, Yes, 22.11.2026 14:05; a midnight as a date.

    The field says how: as an amount of money, a date without its time, digits without marks.
    """
    shown_as = field.display if field else Display.PLAIN
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, int | Decimal):
        return _number(value, shown_as)
    if field is not None and field.type == FieldType.DATETIME:
        return _moment(str(value), is_day=shown_as == Display.DATE)
    return str(value)


def local(value: datetime) -> datetime:
    """The instant on the workspace's clock."""
    return timezone.localtime(value)


def _number(value: int | Decimal, shown_as: str) -> str:
    if shown_as == Display.MONEY:
        return formats.money(value)
    return format(Decimal(value), "f") if shown_as == Display.CODE else formats.number(value)


def _moment(value: str, *, is_day: bool) -> str:
    try:
        local = timezone.localtime(datetime.fromisoformat(value))
    except ValueError:  # stored before the field was a Datetime
        return value
    is_midnight = f"{local:%H%M%S}" == "000000"
    return formats.day(local) if is_day or is_midnight else formats.moment(local)


def address(field: CustomerField, value: Any) -> str:
    """Return where a value leads that is shown as a link: a mailbox, a phone, a page; or ""."""
    if not isinstance(value, str):
        return ""
    if field.display == Display.EMAIL and re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        return "mailto:" + quote(value)
    if field.display == Display.PHONE and re.fullmatch(r"[+(]?[\d ()/.-]{4,30}", value):
        return "tel:" + re.sub(r"[^\d+]", "", value)
    is_page = field.display == Display.LINK and re.fullmatch(r"https?://\S+", value)
    return value if is_page else ""

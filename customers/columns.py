"""The columns of the list of customers: one for each field that somebody wants to see."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html

from customers import contacts, forms
from customers.models import ChosenColumns, Customer, CustomerField

AT_MOST = 12
CELL = 60  # characters of a value


class Column:
    """A column that shows one field, as the admin's `list_display` takes it."""

    empty_value_display = "–"

    def __init__(self, field: CustomerField) -> None:
        self.field = field
        self.short_description = str(field)
        self.admin_order_field = field.name
        self.__name__ = f"value_{field.pk}"

    def __str__(self) -> str:
        return self.short_description

    def __call__(self, customer: Customer) -> Any:
        value = customer.fields.get(self.field.name)
        return None if value is None else _cell(forms.display(self.field, value))


def _cell(text: str) -> str:
    """Cut what would push the other columns out of sight; it is whole on hover."""
    if len(text) <= CELL:
        return text
    return format_html('<span title="{}">{}…</span>', text[:1_000], text[: CELL - 1])


def shown_to(user: Any, known: Mapping[str, CustomerField]) -> list[CustomerField]:
    """Return the columns of this user: chosen fields, else those marked, else contacts."""
    chosen = ChosenColumns.objects.filter(user=user.pk).first()
    if chosen:
        return [known[name] for name in chosen.names if name in known]
    marked = [field for field in in_order(known.values()) if field.in_list]
    return marked[:AT_MOST] or contacts.fields_of(known)


def choose(user: Any, names: Sequence[str]) -> None:
    """Keep which columns a user wants, or with none of them go back to the usual ones."""
    if names:
        ChosenColumns.objects.update_or_create(
            user_id=user.pk, defaults={"names": [*dict.fromkeys(names)][:AT_MOST]}
        )
    else:
        ChosenColumns.objects.filter(user=user.pk).delete()


def in_order(fields: Any) -> list[CustomerField]:
    """Sort fields as people meet them: by group, position and label."""
    return sorted(fields, key=_place)


def _place(field: CustomerField) -> tuple[bool, str, int, str]:
    heading = group(field)
    return heading != "Contact", heading.lower(), field.position, str(field).lower()


def group(field: CustomerField) -> str:
    """The heading of a field: its own, else what its name suggests."""
    return field.group or ("Contact" if contacts.is_contact(field.name) else "Other")

"""One field of one customer: its value, where that came from, and the values it had before."""

from datetime import datetime
from typing import Any, NamedTuple

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from customers import adminkit, definitions, fields, forms, masking
from customers.models import Customer, CustomerField, FieldChange

SHOWN = 50  # changes of the field, the newest


class Past(NamedTuple):
    """A value that the field was given, by whom and when; None where it was cleared.

    `gave_way` tells that it came with a merged profile, and that another's word stood.
    """

    change_id: int
    at: datetime
    source: str
    value: Any
    shown: str
    is_present: bool
    gave_way: bool = False


def show(
    request: HttpRequest, customer: Customer, field: CustomerField, *, may_change: bool
) -> HttpResponse:
    """Show the field with its history; set, clear or restore its value if that was sent."""
    if masking.current().hides(field.name):
        raise PermissionDenied
    made = forms.form_class({field.name: field}, is_new=False)
    form = made(request.POST if "save" in request.POST else None, instance=customer)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        if (typed := _wanted(request, customer, field, form)) is not None:
            with transaction.atomic():
                fields.set_values({customer.pk: typed}, source=adminkit.actor(request))
            messages.success(request, f"“{field}” is saved.")
            return adminkit.redirect(adminkit.customer_url(customer.pk))
    past = history(customer, field)
    context = {
        "customer": customer,
        "field": field,
        "form": form,
        "control": form[f"value_{field.pk}"],
        "value": forms.display(field, customer.fields.get(field.name)),
        "has_value": field.name in customer.fields,
        "history": past,
        "may_change": may_change,
    }
    return adminkit.page(
        request,
        "customers/field_of_customer.html",
        context,
        title=str(field),
        model=Customer,
        original=customer,
    )


def _wanted(
    request: HttpRequest, customer: Customer, field: CustomerField, form: forms.CustomerForm
) -> dict[str, Any] | None:
    """Return what was asked to be written; None if that cannot be, which has been said."""
    if "clear" in request.POST:
        return {field.name: None}
    if "save" in request.POST:
        return form.typed if form.is_valid() else None
    chosen = request.POST.get("restore", "")
    past = next((one for one in history(customer, field) if str(one.change_id) == chosen), None)
    if past is None or past.value is None:
        messages.error(request, "This value is not in the history any more.")
        return None
    try:
        return {field.name: fields.parse_value(field, definitions.as_text(past.value))}
    except fields.FieldValueError as error:
        messages.error(request, f"It cannot be restored: {error}")
        return None


def history(customer: Customer, field: CustomerField) -> list[Past]:
    """Return the values that the field was given, the newest first."""
    changed = FieldChange.objects.filter(customer=customer, changes__has_key=field.name)
    newest = list(changed.order_by("-id")[:SHOWN])
    present = customer.fields.get(field.name)
    found: list[Past] = []
    for change in newest:
        value = change.changes[field.name][1]
        is_present = value == present and not any(past.is_present for past in found)
        shown = forms.display(field, value)
        source = masking.current().text(change.source)
        # Newer than the present value, and yet not it: when the profiles became one, it was left.
        gave_way = change.origin_id is not None and not (
            is_present or any(past.is_present for past in found)
        )
        found.append(Past(change.id, change.at, source, value, shown, is_present, gave_way))
    return found

"""Staff's view of the fields that customers have: what each is, who has it, what uses it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from customers import adminkit, definitions, sql
from customers.adminkit import Button, Empty, ProductAdmin, Use
from customers.models import Customer, CustomerField, FieldType, ImportKind

SAMPLE = 50_000  # customers that are looked at to say how many have a value


class CustomerFieldChangeList(ChangeList):
    """Knows of every field on the page how many customers have a value, and what uses it."""

    model_admin: "CustomerFieldAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        total, count_by_name = _value_counts()
        uses = self.model_admin.uses([field.name for field in self.result_list])
        for field in self.result_list:
            count = min(count_by_name.get(field.name, 0), total)
            field.filled = (count, round(100 * count / total) if total else 0)
            field.uses = uses.get(field.name, [])


class CustomerFieldAdmin(ProductAdmin):
    """The properties customers may have. Name and type are free until somebody has a value."""

    list_display: Any = ("shown_label", "shown_type", "filled", "used_in", "personal")
    search_fields = ("name", "label")
    search_help_text = "Label or name"
    ordering = ("name",)
    actions = None
    fields = ("name", "type", "label", "description", "is_personal")
    radio_fields: ClassVar[Any] = {"type": admin.HORIZONTAL}
    empty = Empty(
        "list_alt",
        "No customer fields yet",
        "A field is something you know about a customer, such as the city or the loyalty points. "
        "Name each one exactly as in your CRM, then upload the values.",
    )
    add_text = "Add field"

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        buttons = super().header_buttons(request)
        if request.user.has_perm("customers.add_import"):
            example = reverse("admin:customers_import_example", args=[ImportKind.CUSTOMER_FIELDS])
            upload = reverse("admin:customers_import_add")
            buttons[:0] = [
                Button("Download example", example, "download", is_minor=True),
                Button("Upload values (CSV)", upload, "upload_file"),
            ]
        return buttons

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return CustomerFieldChangeList

    @admin.display(description="Field", ordering="name")
    def shown_label(self, field: CustomerField) -> SafeString:
        return adminkit.stacked(field, field.name if field.label else field.description)

    @admin.display(description="Type", ordering="type")
    def shown_type(self, field: CustomerField) -> SafeString:
        return adminkit.badge(field.get_type_display(), icon=TYPE_ICONS[FieldType(field.type)])

    @admin.display(description="Customers with a value")
    def filled(self, field: Any) -> SafeString:
        return adminkit.share(*field.filled)

    @admin.display(description="Used in", empty_value="–")
    def used_in(self, field: Any) -> SafeString | None:
        return adminkit.links(field.uses) if field.uses else None

    @admin.display(description="Personal data")
    def personal(self, field: CustomerField) -> SafeString | str:
        return adminkit.badge("Personal", "accent", "lock") if field.is_personal else ""

    def get_readonly_fields(
        self, request: HttpRequest, obj: CustomerField | None = None
    ) -> tuple[str, ...]:
        return ("name", "type") if obj and _has_values(obj) else ()

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        obj = options.get("obj")
        if obj and _has_values(obj):
            context["locked"] = "Customers have values in this field: its name and type stay."
        return super().render_change_form(request, context, **options)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        control = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "is_personal":
            control.help_text = "Marks what tells who somebody is."
        return control

    def uses(self, names: Sequence[str]) -> dict[str, list[Use]]:
        """Return what relies on the fields of these names; the roof knows."""
        return {}

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for the name, then remove the field and the values that customers have of it."""
        field = adminkit.row_or_404(CustomerField, object_id)
        if not self.has_delete_permission(request, field):
            raise PermissionDenied
        uses = self.uses([field.name]).get(field.name, [])
        typed = request.POST.get("name", "")
        if request.method == "POST" and typed == field.name and not uses:
            definitions.delete(field, source=adminkit.actor(request))
            messages.success(request, f"The field “{field}” and its values are gone.")
            return adminkit.redirect(reverse("admin:customers_customerfield_changelist"))
        context = {
            "field": field,
            "uses": uses,
            "count": _value_counts()[1].get(field.name, 0),
            "is_wrong": request.method == "POST",
        }
        return adminkit.page(
            request,
            "customers/delete_field.html",
            context,
            title="Delete a field",
            model=CustomerField,
            original=field,
        )


TYPE_ICONS = {
    FieldType.STRING: "text_fields",
    FieldType.NUMBER: "tag",
    FieldType.DATETIME: "calendar_month",
    FieldType.BOOLEAN: "toggle_on",
}


def _value_counts() -> tuple[int, dict[str, int]]:
    """Count customers, and for each field those with a value; from a sample if they are many."""
    total = adminkit.count_rows(Customer)
    percent = min(100.0, 100.0 * SAMPLE / total) if total else 100.0
    return total, sql.count_values(percent)


def _has_values(field: CustomerField) -> bool:
    return Customer.objects.filter(fields__has_key=field.name).exists()

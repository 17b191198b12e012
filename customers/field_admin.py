"""Staff's view of the fields that customers have: what each is, who has it, what uses it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from customers import adminkit, definitions, indexing, masking, usage
from customers.adminkit import Button, Empty, ProductAdmin, Use
from customers.models import CustomerField, FieldType, ImportKind


class CustomerFieldChangeList(ChangeList):
    """Knows of every field on the page how many customers have a value, and what uses it."""

    model_admin: "CustomerFieldAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        usage_of = usage.of(shown)
        uses = self.model_admin.uses([field.name for field in shown])
        for field in shown:
            field.usage = usage_of[field.name]
            field.uses = uses.get(field.name, [])
        self.result_list = shown


class CustomerFieldAdmin(ProductAdmin):
    """The properties customers may have. Name and type are free until somebody has a value."""

    list_display: Any = (
        *("shown_label", "shown_type", "filled", "shown_examples", "used_in", "personal"),
    )
    list_filter = ("type", "is_personal", "in_list", "is_indexed")
    search_fields = ("name", "label")
    search_help_text = "Label or name"
    ordering = ("name",)
    actions = None
    fieldsets = (
        ("What it is", {"fields": ("name", "type", "label", "description", "is_personal")}),
        ("How it is shown", {"fields": ("display", "group", "position")}),
        (
            "In the list of customers",
            {"fields": ("in_list", "in_filters", "is_indexed", "finds_parts")},
        ),
    )
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
                Button("Download example", example, "description", is_minor=True),
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
    def filled(self, field: Any) -> SafeString | str:
        if field.usage.holders is None:
            return "Being counted …"
        if not field.usage.holders:
            return adminkit.badge("Never seen")
        return adminkit.share(field.usage.holders, field.usage.percent)

    @admin.display(description="For example")
    def shown_examples(self, field: Any) -> str:
        hidden = masking.current().hides(field.name)
        return masking.MASK if hidden else ", ".join(field.usage.examples) or "–"

    @admin.display(description="Used in", empty_value="–")
    def used_in(self, field: Any) -> SafeString | None:
        return adminkit.links(field.uses) if field.uses else None

    @admin.display(description="Personal data")
    def personal(self, field: CustomerField) -> SafeString | str:
        return adminkit.badge("Personal", "accent", "lock") if field.is_personal else ""

    def get_urls(self) -> list[URLPattern]:
        retype = path(
            "<int:field_id>/retype/",
            self.admin_site.admin_view(self.retype_view),
            name="customers_customerfield_retype",
        )
        return [retype, *super().get_urls()]

    def get_readonly_fields(
        self, request: HttpRequest, obj: CustomerField | None = None
    ) -> tuple[str, ...]:
        is_fixed = obj and (definitions.has_values(obj) or self.uses([obj.name]))
        return ("name", "type") if is_fixed else ()

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        obj = options.get("obj")
        if obj:
            context["field"] = obj
            context["uses"] = self.uses([obj.name]).get(obj.name, [])
            context["is_locked"] = "name" in self.get_readonly_fields(request, obj)
            context["may_change"] = self.has_change_permission(request, obj)
        return super().render_change_form(request, context, **options)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: object) -> None:
        if obj.position is None:
            obj.position = CustomerField._meta.get_field("position").default
        super().save_model(request, obj, form, bool(change))
        if {"is_indexed", "finds_parts", "type"} & {*form.changed_data}:
            indexing.ask()

    def retype_view(self, request: HttpRequest, field_id: int) -> HttpResponse:
        """Show what another type would do to the values there are; then convert them."""
        field = adminkit.row_or_404(CustomerField, str(field_id))
        if not self.has_change_permission(request, field):
            raise PermissionDenied
        wanted = request.POST.get("type") or request.GET.get("type", "")
        uses = self.uses([field.name]).get(field.name, [])
        is_other = wanted in FieldType.values and wanted != field.type
        if request.method == "POST" and is_other and not uses:
            definitions.start_retype(field, wanted, source=_retyped_by(request))
            adminkit.log(request, field, f"Type changed to {wanted}")
            messages.success(request, "The values are being converted. You can leave this page.")
            return adminkit.redirect(reverse("admin:customers_customerfield_changelist"))
        context = {
            "field": field,
            "uses": uses,
            "wanted": wanted,
            "types": [choice for choice in FieldType.choices if choice[0] != field.type],
            "check": definitions.check_retype(field, wanted) if is_other and not uses else None,
            "wanted_label": FieldType(wanted).label if is_other else "",
            "is_masked": masking.current().hides(field.name),
        }
        return adminkit.page(
            request,
            "customers/retype_field.html",
            context,
            title="Change the type",
            model=CustomerField,
            original=field,
        )

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        control = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "is_personal":
            control.help_text = "Marks what tells who somebody is."
        if db_field.name == "position":
            control.required = False
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
            if definitions.start_delete(field, source=adminkit.actor(request)):
                messages.success(request, f"The field “{field}” and its values are gone.")
            else:
                messages.info(
                    request,
                    f"The values of “{field}” are being removed in the background; then the field "
                    "leaves this list.",
                )
            return adminkit.redirect(reverse("admin:customers_customerfield_changelist"))
        context = {
            "field": field,
            "uses": uses,
            "count": usage.of([field])[field.name].holders,
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


def _retyped_by(request: HttpRequest) -> str:
    return f"{adminkit.actor(request)}, who changed the type of the field"

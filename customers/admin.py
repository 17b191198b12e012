"""Staff's view of who is who: customers, their fields, and imports.

The roof registers the pages of customers and fields: they show what higher floors know.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import F, Model, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from customers import (
    adminkit,
    contacts,
    definitions,
    fields,
    forms,
    identity,
    masking,
    search,
    sql,
)
from customers.adminkit import BoundedPaginator, Button, Empty, ProductAdmin, Use
from customers.models import Customer, CustomerField, FieldType, ImportKind

SAMPLE = 50_000  # customers that are looked at to say how many have a value


class IdentifiedFilter(admin.SimpleListFilter):
    """Customers whose CustomerId we know, or visitors."""

    title = "who they are"
    parameter_name = "who"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("identified", "With a CustomerId"), ("anonymous", "Visitors without")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Customer]
    ) -> QuerySet[Customer] | None:
        if self.value() in ("identified", "anonymous"):
            return queryset.filter(external_id__isnull=self.value() == "anonymous")
        return None


class CustomerChangeList(ChangeList):
    """A row opens the profile, not the form."""

    def url_for_result(self, result: Model) -> str:
        return adminkit.customer_url(result.pk)


class CustomerAdmin(ProductAdmin):
    """The list of customers, and the form that edits one."""

    list_display: Any = ("shown_name", "external_id", "email", "phone", "seen")
    list_filter: Any = (IdentifiedFilter,)
    search_fields = ("external_id",)  # what really searches is customers.search
    search_help_text = "Name, CustomerId, e-mail, phone"
    sortable_by = ()
    paginator = BoundedPaginator
    actions = None
    empty = Empty(
        "group",
        "No customers yet",
        "Customers come from a CSV file, from your website or from your servers. A file with the "
        "columns customerId, fieldName and fieldValue is the quickest way to begin.",
    )
    add_text = "Add customer"
    readonly_fields = ("shown_id", "shown_external_id", "seen", "since")

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        buttons = [b._replace(is_primary=False) for b in super().header_buttons(request)]
        if request.user.has_perm("customers.add_import"):
            href = reverse("admin:customers_import_add")
            buttons.append(Button("Import", href, "upload_file", is_primary=True))
        return buttons

    def get_queryset(self, request: HttpRequest) -> QuerySet[Customer]:
        return Customer.objects.current()

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return CustomerChangeList

    def get_ordering(self, request: HttpRequest) -> Any:
        """Show who was here last; beyond some number of customers, who came last."""
        if adminkit.estimated_rows(Customer) > adminkit.COUNTED_UP_TO:
            return ("-id",)
        return (F("last_seen_at").desc(nulls_last=True), "-id")

    def get_paginator(
        self, request: HttpRequest, queryset: Any, *args: Any, **options: Any
    ) -> Paginator:
        """Take the planner's word for the number of all customers."""
        paginator = super().get_paginator(request, queryset, *args, **options)
        estimate = adminkit.estimated_rows(Customer)
        if not request.GET and estimate > adminkit.COUNTED_UP_TO:
            paginator.count = estimate
        return paginator

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Customer], search_term: str
    ) -> tuple[QuerySet[Customer], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(pk__in=search.find(search_term)), False

    @admin.display(description="Customer")
    def shown_name(self, customer: Customer) -> SafeString:
        return adminkit.who(customer)

    @admin.display(description="E-mail", empty_value="–")
    def email(self, customer: Customer) -> str | None:
        return contacts.email(masking.current().fields(customer.fields)) or None

    @admin.display(description="Phone", empty_value="–")
    def phone(self, customer: Customer) -> str | None:
        return contacts.phone(masking.current().fields(customer.fields)) or None

    @admin.display(description="Last seen")
    def seen(self, customer: Customer) -> SafeString | str:
        return adminkit.when(customer.last_seen_at)

    @admin.display(description="First seen")
    def since(self, customer: Customer) -> SafeString | str:
        return adminkit.when(customer.first_seen_at)

    @admin.display(description="ID")
    def shown_id(self, customer: Customer) -> SafeString:
        return adminkit.copyable(str(customer.pk), "ID")

    @admin.display(description="CustomerId")
    def shown_external_id(self, customer: Customer) -> SafeString | str:
        if customer.external_id is None:
            return "None yet: an anonymous visitor"
        return adminkit.copyable(customer.external_id, "CustomerId")

    def has_delete_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        return False  # to forget somebody takes every floor

    def get_form(
        self,
        request: HttpRequest,
        obj: Customer | None = None,
        change: bool = False,
        **options: Any,
    ) -> type[ModelForm]:
        return forms.form_class(_seen_fields(), is_new=obj is None)

    def get_fieldsets(self, request: HttpRequest, obj: Customer | None = None) -> Any:
        known = _seen_fields().values()
        groups = {
            "Contact": [f for f in known if contacts.is_contact(f.name)],
            "Other fields": [f for f in known if not contacts.is_contact(f.name)],
        }
        first = self.readonly_fields if obj else ("external_id",)
        return [
            ("Identity", {"fields": first}),
            *(
                (title, {"fields": [f"value_{field.pk}" for field in members]})
                for title, members in groups.items()
                if members
            ),
        ]

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Customer:
        instance: Customer = form.instance
        return instance

    def save_model(self, request: HttpRequest, obj: Customer, form: Any, change: bool) -> None:
        source = adminkit.actor(request)
        with transaction.atomic():
            if not change:
                key = (identity.CUSTOMER_ID, form.cleaned_data["external_id"])
                person = identity.Person((key,), cause=source)
                obj.pk = identity.resolve([person]).customer_ids[0]
                obj.external_id = form.cleaned_data["external_id"]
            fields.set_values({obj.pk: form.typed}, source=source)
        obj.fields = {**obj.fields, **form.typed} if change else form.typed

    def save_related(self, *args: Any) -> None:
        """Nothing is related: everything is in `fields`."""

    def log_addition(self, *args: Any) -> None:
        """Nothing: who wrote what stands in FieldChange, which is erased with the customer."""

    log_change = log_addition

    def response_post_save_change(self, request: HttpRequest, obj: Customer) -> Any:
        return adminkit.redirect(adminkit.customer_url(obj.pk))

    response_post_save_add = response_post_save_change


def _seen_fields() -> dict[str, CustomerField]:
    """The fields that whoever looks may see; what is masked cannot be edited either."""
    mask = masking.current()
    return {name: field for name, field in fields.known().items() if not mask.hides(name)}


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

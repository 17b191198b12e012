"""Staff's view of who is who: the list of customers, and the form that edits one.

The roof registers these pages: they show what higher floors know.
"""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from customers import (
    adminkit,
    columns,
    customer_list,
    fields,
    filters,
    forms,
    identity,
    masking,
    search,
)
from customers.adminkit import Button, Empty, ProductAdmin
from customers.customer_list import CustomerChangeList
from customers.models import Customer, CustomerField


class SelectFilter(admin.SimpleListFilter):
    """A filter that is one choice in the form of filters."""

    template = "customers/filter_select.html"

    def has_output(self) -> bool:
        return bool(self.lookup_choices)


class IdentifiedFilter(SelectFilter):
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


class CustomerAdmin(ProductAdmin):
    """The list of customers, and the form that edits one."""

    list_filter: Any = (IdentifiedFilter,)
    list_filter_submit = True
    show_facets = admin.ShowFacets.NEVER
    list_before_template = "customers/list_before.html"
    change_list_template = "admin/customers/customer/change_list.html"
    search_fields = ("external_id",)  # what really searches is customers.search
    search_help_text = "Name, CustomerId, e-mail, phone"
    actions: Any = None
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

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        chosen = columns.shown_to(request.user, customer_list.known(request))
        return ("shown_name", "external_id", *map(columns.Column, chosen), "seen", "since")

    def get_sortable_by(self, request: HttpRequest) -> Sequence[Any]:
        shown = self.get_list_display(request)
        return [one for one in shown if isinstance(one, columns.Column)]

    def get_list_filter(self, request: HttpRequest) -> Sequence[Any]:
        return [*self.list_filter, *customer_list.field_filters(request)]

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        is_ours = lookup.startswith(filters.PREFIX)
        return is_ours or super().lookup_allowed(lookup, value, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and (address := customer_list.tidied(request.GET)):
            return adminkit.redirect(request.path + address)
        shown = columns.shown_to(request.user, customer_list.known(request))
        every = columns.in_order(customer_list.known(request).values())
        extra = {
            "columns": [(field, field in shown) for field in every],
            "columns_at_most": columns.AT_MOST,
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("columns/", wrap(self.choose_columns), name="customers_customer_columns"),
            path("count/", wrap(self.count), name="customers_customer_count"),
        ]
        return own + super().get_urls()

    @method_decorator(require_POST)
    def choose_columns(self, request: HttpRequest) -> HttpResponse:
        """Keep which columns the user wants."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        is_reset = "reset" in request.POST
        columns.choose(request.user, [] if is_reset else request.POST.getlist("column"))
        return adminkit.redirect(reverse("admin:customers_customer_changelist"))

    def count(self, request: HttpRequest) -> HttpResponse:
        """Answer with the number of customers that fit, for the foot of the list."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        listed: Any = self.get_changelist_instance(request)
        number, is_exact = listed.count()
        is_cut = bool(listed.query) and number >= search.FOUND_AT_MOST
        context = {"number": number, "is_exact": is_exact, "is_cut": is_cut}
        return render(request, "customers/count.html", context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Customer], search_term: str
    ) -> tuple[QuerySet[Customer], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(pk__in=search.find(search_term)), False

    @admin.display(description="Customer")
    def shown_name(self, customer: Customer) -> SafeString:
        return adminkit.who(customer)

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
        groups: dict[str, list[str]] = {}
        for field in columns.in_order(_seen_fields().values()):
            groups.setdefault(columns.group(field), []).append(f"value_{field.pk}")
        first = self.readonly_fields if obj else ("external_id",)
        return [
            ("Identity", {"fields": first}),
            *((title, {"fields": names}) for title, names in groups.items()),
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

"""The roof's pages in the admin: customers with all that is known of them, keys, users, work."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse

from cdp import (
    consent_pages,
    erasure,
    identity_pages,
    profile,
    segment_pages,
    staff,
    timeline,
    work,
)
from customers import adminkit, changes
from customers.admin import CustomerAdmin, CustomerFieldAdmin
from customers.adminkit import Use
from customers.models import Customer, CustomerField, Import, ImportKind
from customers.wizard import ImportAdmin, Kind
from events import imports as event_imports
from events.models import DiscoveredField, Source
from segments import pages
from segments.models import Membership, Segment

__all__ = ["CustomerFieldPages", "CustomerPages", "consent_pages", "segment_pages", "staff", "work"]

DISCOVERED_SHOWN = 12


class SegmentFilter(admin.SimpleListFilter):
    """Members of one segment."""

    title = "segment"
    parameter_name = "segment"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(segment.key, segment.name) for segment in Segment.objects.only("key", "name")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Customer]
    ) -> QuerySet[Customer] | None:
        if not self.value():
            return None
        members = Membership.objects.filter(segment__key=self.value()).values("customer_id")
        return queryset.filter(pk__in=members)


@admin.register(Customer)
class CustomerPages(CustomerAdmin):
    """The customers, with what the higher floors know: the segment filter and the profile."""

    list_filter = (SegmentFilter, *CustomerAdmin.list_filter)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("<int:customer_id>/", wrap(self.profile), name="customers_customer_profile"),
            path(
                "<int:customer_id>/timeline/",
                wrap(self.timeline),
                name="customers_customer_timeline",
            ),
            path(
                "<int:customer_id>/consent/", wrap(self.consent), name="customers_customer_consent"
            ),
            path("<int:customer_id>/join/", wrap(self.join), name="customers_customer_join"),
            path("<int:customer_id>/detach/", wrap(self.detach), name="customers_customer_detach"),
            path(
                "<int:customer_id>/merges/<int:merge_id>/undo/",
                wrap(self.undo),
                name="customers_customer_undo",
            ),
        ]
        return own + super().get_urls()

    def profile(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        customer = self._customer(request, customer_id)
        if customer.merged_into_id:
            messages.info(request, "This visitor was recognised as this customer.")
            return adminkit.redirect(adminkit.customer_url(customer.merged_into_id))
        context = {
            "customer": customer,
            "groups": profile.field_groups(customer),
            "empty_fields": profile.empty_fields(customer),
            "purchases": profile.purchases(customer),
            "memberships": profile.memberships(customer),
            "identities": profile.identities(customer),
            "merges": identity_pages.history(customer),
            **consent_pages.of_customer(request, customer),
            "event_types": profile.event_types(customer),
            "page": timeline.page(customer.pk),
            "may_change": self.has_change_permission(request, customer),
            "may_erase": self.has_delete_permission(request),
        }
        return adminkit.page(
            request,
            "cdp/profile.html",
            context,
            title=str(customer),
            model=Customer,
            original=customer,
        )

    def timeline(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        """Answer with the next lines of the timeline, for the button and the filter."""
        customer = self._customer(request, customer_id)
        after = timeline.Position.read(request.GET.get("after", ""))
        show = request.GET.get("show", "")
        context = {
            "customer": customer,
            "page": timeline.page(customer.pk, after, show),
            "show": show,
            "day_before": after and after.at,
        }
        return render(request, "cdp/timeline.html", context)

    def consent(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return consent_pages.decide(request, self._changeable(request, customer_id))

    def join(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return identity_pages.join(request, self._changeable(request, customer_id))

    def detach(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return identity_pages.detach(request, self._changeable(request, customer_id))

    def undo(self, request: HttpRequest, customer_id: int, merge_id: int) -> HttpResponse:
        return identity_pages.undo(request, self._changeable(request, customer_id), merge_id)

    def has_delete_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        return bool(request.user.has_perm("customers.delete_customer"))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask for the CustomerId, then forget the person on every floor."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        customer = adminkit.row_or_404(Customer, object_id)
        asked = customer.external_id or str(customer.pk)
        if request.method == "POST" and request.POST.get("name", "").strip() == asked:
            erasure.forget([customer.pk])
            messages.success(request, "The customer is erased, with everything we knew.")
            return adminkit.redirect(reverse("admin:customers_customer_changelist"))
        context = {
            "customer": customer,
            "asked": asked,
            "events": profile.event_types(customer),
            "memberships": profile.memberships(customer),
            "is_wrong": request.method == "POST",
        }
        return adminkit.page(
            request,
            "cdp/erase.html",
            context,
            title="Erase a customer",
            model=Customer,
            original=customer,
        )

    def _changeable(self, request: HttpRequest, customer_id: int) -> Customer:
        """Return who the customer is now. Raises `PermissionDenied` for those who only look."""
        customer = self._customer(request, customer_id)
        if not self.has_change_permission(request, customer):
            raise PermissionDenied
        while customer.merged_into_id is not None:
            customer = get_object_or_404(Customer, pk=customer.merged_into_id)
        return customer

    def _customer(self, request: HttpRequest, customer_id: int) -> Customer:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(Customer, pk=customer_id)


@admin.register(CustomerField)
class CustomerFieldPages(CustomerFieldAdmin):
    """The fields, with the segments that use them, and traits that could become fields."""

    list_before_template = "cdp/discovered.html"

    def uses(self, names: Sequence[str]) -> dict[str, list[Use]]:
        facts = {changes.field(name): name for name in names}
        found: dict[str, list[Use]] = {}
        for segment in Segment.objects.filter(facts__overlap=[*facts]).only("name", "facts"):
            use = Use(segment.name, pages.segment_url(segment.pk))
            for fact in facts.keys() & set(segment.facts):
                found.setdefault(facts[fact], []).append(use)
        return found

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        known = CustomerField.objects.values("name")
        discovered = DiscoveredField.objects.exclude(name__in=known)[:DISCOVERED_SHOWN]
        extra = {"discovered": discovered, **(extra_context or {})}
        return super().changelist_view(request, extra)


def event_sources() -> list[tuple[str, str]]:
    """Return the sources that events of a file may be of: (key, name)."""
    return [*Source.objects.values_list("key", "name")]


@admin.register(Import)
class ImportPages(ImportAdmin):
    """Imports of customers' values and of events."""

    kinds = {
        **ImportAdmin.kinds,
        ImportKind.EVENTS: Kind(
            "Events",
            "One event a line, such as a purchase at a till: customerId, event and timestamp, and "
            "a column for each property. The same file again changes nothing.",
            event_imports.create,
            event_imports.example,
            event_imports.start_check_again,
            event_sources,
        ),
    }

"""The roof's pages in the admin: customers with all that is known of them, keys, users, work."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.views.decorators.http import require_POST

from cdp import (
    audience,
    consent_pages,
    customer_triggers,
    duplicates,
    erasure_pages,
    export,
    exported_lists,
    identity_pages,
    profile,
    segment_pages,
    staff,
    timeline,
    work,
)
from cdp import imports as member_imports
from cdp.exports import pages as export_pages
from customers import (
    adminkit,
    changes,
    customer_list,
    field_page,
    filters,
    identity_rules_pages,
    masking,
)
from customers.admin import CustomerAdmin, SelectFilter
from customers.adminkit import Use
from customers.customer_list import Chip
from customers.field_admin import CustomerFieldAdmin
from customers.models import Customer, CustomerField, Import, ImportKind
from customers.wizard import ImportAdmin, Kind
from events import imports as event_imports
from events.models import DiscoveredField, Source
from segments import pages
from segments.models import Membership, Segment, SegmentKind
from segments.parsing import RuleError

__all__ = [
    "CustomerFieldPages",
    "CustomerPages",
    "consent_pages",
    "duplicates",
    "erasure_pages",
    "export_pages",
    "exported_lists",
    "identity_rules_pages",
    "segment_pages",
    "staff",
    "work",
]

DISCOVERED_SHOWN = 12
_SHOWING = ("q", "o", "after", "before")  # parameters of the list that are no filters


class SegmentFilter(SelectFilter):
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
        key = str(self.value()).replace("\0", "")
        segment_id = Segment.objects.filter(key=key).values_list("pk", flat=True).first()
        # By its id, the planner knows how many members the segment has.
        members = Membership.objects.filter(segment=segment_id or 0).values("customer_id")
        return queryset.filter(pk__in=members)


@admin.register(Customer)
class CustomerPages(CustomerAdmin):
    """The customers, with what the higher floors know: the segment filter and the profile."""

    list_filter = (SegmentFilter, *CustomerAdmin.list_filter)
    actions = ("add_to_segment", "export_chosen", "erase_chosen")

    def header_buttons(self, request: HttpRequest) -> list[adminkit.Button]:
        return [*export_pages.button(request, "customers"), *super().header_buttons(request)]

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("erase/", wrap(erasure_pages.erase_many), name="customers_customer_erase"),
            path("save-segment/", wrap(self.save_segment), name="customers_customer_save_segment"),
            path("add-to-segment/", wrap(self.add_members), name="customers_customer_add_members"),
            path("<int:customer_id>/", wrap(self.profile), name="customers_customer_profile"),
            path(
                "<int:customer_id>/field/<int:field_id>/",
                wrap(self.field),
                name="customers_customer_field",
            ),
            path(
                "<int:customer_id>/timeline/",
                wrap(self.timeline),
                name="customers_customer_timeline",
            ),
            path(
                "<int:customer_id>/consent/", wrap(self.consent), name="customers_customer_consent"
            ),
            path("<int:customer_id>/why/", wrap(self.why), name="customers_customer_why"),
            path("<int:customer_id>/test/", wrap(self.test), name="customers_customer_test"),
            path(
                "<int:customer_id>/everything.json",
                wrap(self.everything),
                name="customers_customer_everything",
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

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        extra = {
            "more_chips": list(_chips(request)),
            "may_save_segment": _may_save(request),
            "erase_href": _erase_href(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, extra)

    @method_decorator(require_POST)
    def save_segment(self, request: HttpRequest) -> HttpResponse:
        """Make a segment of the filters in the address."""
        if not (_may_save(request) and self.has_view_permission(request)):
            raise PermissionDenied
        back = f"{reverse('admin:customers_customer_changelist')}?{request.GET.urlencode()}"
        wanted, problems = filters.read(request.GET.items(), customer_list.known(request))
        name = request.POST.get("name", "").strip().replace("\0", "")[:100]
        if problems or not name:
            messages.error(request, str(problems[0]) if problems else "Give the segment a name.")
            return adminkit.redirect(back)
        try:
            segment = audience.save(
                name, wanted, request.GET.get("segment"), request.GET.get("who")
            )
        except RuleError as error:
            messages.error(request, str(error))
            return adminkit.redirect(back)
        adminkit.log(request, segment, segment.sentence, is_new=True)
        messages.success(request, f"The segment “{segment}” is there, and is being filled.")
        return adminkit.redirect(pages.segment_url(segment.pk))

    def has_segment_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("segments.change_segment"))

    @admin.action(description="Add to a segment kept by hand …", permissions=["segment"])
    def add_to_segment(self, request: HttpRequest, queryset: QuerySet[Customer]) -> HttpResponse:
        """Ask which segment the chosen customers are to be added to."""
        return self._ask_segment(request, [*queryset.values_list("pk", flat=True)])

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("cdp.add_export"))

    @admin.action(description="Export …", permissions=["export"])
    def export_chosen(self, request: HttpRequest, queryset: QuerySet[Customer]) -> HttpResponse:
        """Ask for the format of a file with the chosen customers."""
        chosen = ",".join(map(str, queryset.values_list("pk", flat=True)))
        query = urlencode({"what": "customers", "id__in": chosen})
        return adminkit.redirect(f"{reverse('admin:cdp_export_add')}?{query}")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        return erasure_pages.may_erase(request)

    @admin.action(description="Erase …", permissions=["erase"])
    def erase_chosen(self, request: HttpRequest, queryset: QuerySet[Customer]) -> HttpResponse:
        """Show what goes with the chosen customers, and ask whether they are meant."""
        query = QueryDict(mutable=True)
        query["id__in"] = ",".join(map(str, queryset.values_list("pk", flat=True)))
        return adminkit.redirect(erasure_pages.address(query))

    def _ask_segment(self, request: HttpRequest, customer_ids: Sequence[int]) -> HttpResponse:
        context = {
            "customer_ids": customer_ids,
            "segments": Segment.objects.filter(kind=SegmentKind.STATIC),
            "may_add_segment": request.user.has_perm("segments.add_segment"),
        }
        title = "Add to a segment"
        return adminkit.page(request, "cdp/add_members.html", context, title=title, model=Customer)

    def add_members(self, request: HttpRequest) -> HttpResponse:
        """Add the customers that the form names to the segment it names, or to a new one."""
        if not self.has_segment_permission(request):
            raise PermissionDenied
        sent = request.POST if request.method == "POST" else request.GET
        ids = [int(text) for text in sent.getlist("customer")[:1_000] if text.isdecimal()]
        ids = [number for number in ids if number < 2**63]
        if request.method != "POST":
            return self._ask_segment(request, ids)
        segment = self._chosen_segment(request)
        if segment is None or not ids:
            messages.error(request, "Choose a segment, or name a new one.")
            return self._ask_segment(request, ids)
        added = audience.add(segment, ids)
        rest = f", {len(ids) - added} were in it already" if added < len(ids) else ""
        noun = "customer was" if added == 1 else "customers were"
        messages.success(request, f"{added} {noun} added to “{segment}”{rest}.")
        return adminkit.redirect(
            adminkit.customer_url(ids[0]) if len(ids) == 1 else pages.segment_url(segment.pk)
        )

    def _chosen_segment(self, request: HttpRequest) -> Segment | None:
        name = request.POST.get("name", "").strip().replace("\0", "")[:100]
        if name and request.user.has_perm("segments.add_segment"):
            segment = audience.new_by_hand(name)
            adminkit.log(request, segment, is_new=True)
            return segment
        key = request.POST.get("segment", "").replace("\0", "")
        return Segment.objects.filter(kind=SegmentKind.STATIC, key=key).first()

    def profile(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        customer = self._customer(request, customer_id)
        if customer.merged_into_id:
            messages.info(request, "This visitor was recognised as this customer.")
            return adminkit.redirect(adminkit.customer_url(customer.merged_into_id))
        context = {
            "customer": customer,
            "groups": profile.field_groups(customer),
            "fields_first": f":{profile.FIELDS_SHOWN}",
            "fields_rest": f"{profile.FIELDS_SHOWN}:",
            "empty_fields": profile.empty_fields(customer),
            "purchases": profile.purchases(customer),
            "memberships": profile.memberships(customer),
            "identities": profile.identities(customer),
            "merges": identity_pages.history(customer),
            **consent_pages.of_customer(request, customer),
            **customer_triggers.offered(request),
            "event_types": profile.event_types(customer),
            "page": timeline.page(customer.pk),
            "may_change": self.has_change_permission(request, customer),
            "may_add_to_segment": self.has_segment_permission(request),
            "may_erase": self.has_delete_permission(request),
            "may_fetch": _may_fetch(request),
        }
        return adminkit.page(
            request,
            "cdp/profile.html",
            context,
            title=str(customer),
            model=Customer,
            original=customer,
        )

    def field(self, request: HttpRequest, customer_id: int, field_id: int) -> HttpResponse:
        """Show one value with its history, where it is edited, cleared or restored."""
        customer = self._customer(request, customer_id)
        if customer.merged_into_id:
            return adminkit.redirect(adminkit.customer_url(customer.merged_into_id))
        field = adminkit.row_or_404(CustomerField, str(field_id))
        may_change = self.has_change_permission(request, customer)
        return field_page.show(request, customer, field, may_change=may_change)

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

    def why(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return customer_triggers.ask(request, self._customer(request, customer_id))

    @method_decorator(require_POST)
    def test(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return customer_triggers.test(request, self._customer(request, customer_id))

    def everything(self, request: HttpRequest, customer_id: int) -> StreamingHttpResponse:
        """Send a file of all that is known of a customer, to those who may export and see it."""
        customer = self._customer(request, customer_id)
        if not _may_fetch(request):
            raise PermissionDenied
        answer = StreamingHttpResponse(export.person(customer), content_type="application/json")
        answer["Content-Disposition"] = f'attachment; filename="customer-{customer.pk}.json"'
        return answer

    def join(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return identity_pages.join(request, self._changeable(request, customer_id))

    def detach(self, request: HttpRequest, customer_id: int) -> HttpResponse:
        return identity_pages.detach(request, self._changeable(request, customer_id))

    def undo(self, request: HttpRequest, customer_id: int, merge_id: int) -> HttpResponse:
        return identity_pages.undo(request, self._changeable(request, customer_id), merge_id)

    def has_delete_permission(self, request: HttpRequest, obj: Customer | None = None) -> bool:
        return bool(request.user.has_perm("customers.delete_customer"))

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        """Leave erasing to the profile: it is no part of editing."""
        context["show_delete"] = False
        return super().render_change_form(request, context, **options)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return erasure_pages.erase_one(request, adminkit.row_or_404(Customer, object_id))

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


def _may_fetch(request: HttpRequest) -> bool:
    """Say whether all of a customer may be taken away: nothing of it is masked."""
    return bool(request.user.has_perm("cdp.add_export")) and masking.current().is_clear


def _may_save(request: HttpRequest) -> bool:
    """Say whether the list shown can become a segment: one cannot search by words."""
    given = [name for name in request.GET if name.startswith(filters.PREFIX)]
    says_something = bool(given or request.GET.get("segment") or request.GET.get("who"))
    is_search = bool(request.GET.get("q", "").strip())
    return says_something and not is_search and request.user.has_perm("segments.add_segment")


def _erase_href(request: HttpRequest) -> str:
    """Return where everybody is erased whom the list shows by its filters; "" if nobody may."""
    given = request.GET
    is_filtered = any(given.get(name, "").strip() for name in given if name not in _SHOWING)
    if not (is_filtered and erasure_pages.may_erase(request)):
        return ""
    return erasure_pages.address(request.GET)


def _chips(request: HttpRequest) -> Iterator[Chip]:
    """The filters of the list that are not by a field, in words."""
    for name, text_of in (("segment", _in_segment), ("who", _who)):
        if value := request.GET.get(name):
            rest = request.GET.copy()
            for gone in (name, customer_list.AFTER, customer_list.BEFORE):
                rest.pop(gone, None)
            yield Chip(text_of(value), f"?{rest.urlencode()}")


def _in_segment(key: str) -> str:
    name = Segment.objects.filter(key=key.replace("\0", "")).values_list("name", flat=True).first()
    return f"In “{name or key}”"


def _who(value: str) -> str:
    return "Visitors without a CustomerId" if value == "anonymous" else "With a CustomerId"


@admin.register(CustomerField)
class CustomerFieldPages(CustomerFieldAdmin):
    """The fields, with the segments that use them, and traits that could become fields."""

    list_before_template = "cdp/discovered.html"

    def header_buttons(self, request: HttpRequest) -> list[adminkit.Button]:
        return [*export_pages.button(request, "fields"), *super().header_buttons(request)]

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


def segments_by_hand() -> list[tuple[str, str]]:
    """Return the segments that customers of a file may be put into: (key, name)."""
    by_hand = Segment.objects.filter(kind=SegmentKind.STATIC).order_by("name")
    return [*by_hand.values_list("key", "name")]


def segment_of_file(run: Import) -> tuple[str, str]:
    """Return the name and page of the segment that a file of members is for."""
    segment = Segment.objects.filter(key=run.options["segment"]).first()
    return (
        (str(segment), pages.segment_url(segment.pk)) if segment else ("a segment that is gone", "")
    )


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
            event_imports.is_undoable,
            event_imports.start_undo,
            event_sources,
            "source",
        ),
        ImportKind.SEGMENT_MEMBERS: Kind(
            "Customers for a segment kept by hand",
            "One customerId a line. Whom you do not have yet is not created: such lines are "
            "listed.",
            member_imports.create,
            member_imports.example,
            member_imports.start_check_again,
            member_imports.is_undoable,
            member_imports.start_undo,
            segments_by_hand,
            "segment",
            "segments.change_segment",
            segment_of_file,
        ),
    }

"""Which events there are: how many of each, what they hold, and which are expected."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from customers import adminkit
from customers.adminkit import Empty, ReadOnlyAdmin
from events import (
    catalogue,
    live_pages,
)
from events.models import Event, EventName
from events.sql import vocabulary


class EventNameChangeList(ChangeList):
    """Knows of every name on the page how many events have it, and what share that is."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        total, count_by_id = _event_counts()
        for name in self.result_list:
            count = count_by_id.get(name.pk, 0)
            name.counted = (count, round(100 * count / total) if total else 0)


def _event_counts() -> tuple[int, dict[int, int]]:
    """Count all events, and those of each name; by the planner's estimates if they are many."""
    total, shares = vocabulary.event_name_shares()
    if total > adminkit.COUNTED_UP_TO:
        return total, {name_id: round(total * share) for name_id, share in shares.items()}
    counted = dict(Event.objects.order_by().values_list("name").annotate(count=Count("id")))
    return sum(counted.values()), counted


@admin.register(EventName)
class EventNameAdmin(ReadOnlyAdmin):
    """The kinds of events that have arrived."""

    list_display = ("shown_name", "counted", "planned", "first_seen", "last_seen")
    list_filter = ("is_expected",)
    actions = ("expect", "not_expect")
    change_form_outer_after_template = "events/plan.html"
    fields = ("shown_name", "planned", "first_seen", "last_seen", "known_properties")
    readonly_fields = fields
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)
    empty = Empty(
        "category",
        "No events yet",
        "Every kind of event shows up here by itself when it arrives for the first time.",
    )

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return EventNameChangeList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            *live_pages.urls(),
            path("<int:pk>/plan/", wrap(self.plan), name="events_eventname_plan"),
        ]
        return own + super().get_urls()

    @admin.display(description="Name", ordering="name")
    def shown_name(self, name: EventName) -> str:
        return name.name

    @admin.display(description="Events")
    def counted(self, name: Any) -> SafeString:
        return adminkit.share(*name.counted)

    @admin.display(description="Plan", ordering="is_expected")
    def planned(self, name: EventName) -> SafeString | str:
        if name.is_expected:
            return adminkit.badge("Expected", "good", "check")
        if name.is_expected is False or self._has_plan:
            return adminkit.badge("Unexpected", "warn", "help")
        return "–"

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventName]:
        self._has_plan = catalogue.has_plan()
        return super().get_queryset(request)

    @admin.display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, name: EventName) -> SafeString | str:
        return adminkit.when(name.last_seen_at)

    @admin.display(description="Properties")
    def known_properties(self, name: EventName) -> SafeString:
        rows = catalogue.properties([name.pk]).get(name.pk, [])
        return render_to_string("events/properties.html", {"rows": rows})

    @admin.action(description="These are expected", permissions=["plan"])
    def expect(self, request: HttpRequest, queryset: QuerySet[EventName]) -> None:
        count = queryset.update(is_expected=True)
        messages.success(request, f"{count} in the plan; whatever is not stands out from now on.")

    @admin.action(description="These are not expected", permissions=["plan"])
    def not_expect(self, request: HttpRequest, queryset: QuerySet[EventName]) -> None:
        count = queryset.update(is_expected=False)
        messages.success(request, f"{count} not in the plan. They are taken all the same.")

    @method_decorator(require_POST)
    def plan(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put one kind of event into the plan, or take it out."""
        name = get_object_or_404(EventName, pk=pk)
        if not self.has_plan_permission(request):
            raise PermissionDenied
        name.is_expected = request.POST.get("expected") == "yes"
        name.save(update_fields=["is_expected"])
        said = (
            "is in the plan" if name.is_expected else "is not in the plan; it is taken all the same"
        )
        messages.success(request, f"“{name}” {said}.")
        return adminkit.redirect(reverse("admin:events_eventname_change", args=[pk]))

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        context["may_plan"] = self.has_plan_permission(request)
        return super().render_change_form(request, context, **options)

    def has_plan_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("events.change_eventname"))

    @admin.display(description="First seen", ordering="first_seen_at")
    def first_seen(self, name: EventName) -> SafeString | str:
        return adminkit.when(name.first_seen_at)

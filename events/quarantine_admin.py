"""Events that were refused, and how they are sent through again."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from customers import adminkit, masking
from customers.adminkit import BoundedPaginator, Empty, ReadOnlyAdmin
from events import (
    live,
    quarantine,
)
from events.models import Quarantine


class ReplayedFilter(admin.SimpleListFilter):
    """What still waits, or what was sent through again."""

    title = "state"
    parameter_name = "replayed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Rejected"), ("yes", "Sent through again")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Quarantine]
    ) -> QuerySet[Quarantine] | None:
        if self.value() in ("no", "yes"):
            return queryset.filter(replayed_at__isnull=self.value() == "no")
        return None


@admin.register(Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    """Events that could not be taken, with the reason; mended, they can be sent through again."""

    list_display = ("shown_reason", "sent_by", "received", "shown_state")
    list_filter = (ReplayedFilter, "source", "code")
    list_select_related = ("source",)
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator
    actions = ("replay",)
    fields = ("why", "sent_by", "call_made", "received", "shown_state", "event")
    readonly_fields = fields
    change_form_outer_after_template = "events/mend.html"
    empty = Empty(
        "verified",
        "No event was rejected",
        "An event that names nobody, has no name or cannot be read is kept here with the reason, "
        "and can be sent through again once that is mended.",
    )

    def get_urls(self) -> list[URLPattern]:
        again = self.admin_site.admin_view(self.again)
        own = path("<int:row_id>/again/", again, name="events_quarantine_again")
        return [own, *super().get_urls()]

    @method_decorator(require_POST)
    def again(self, request: HttpRequest, row_id: int) -> HttpResponse:
        """Send one event through again."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Quarantine, pk=row_id)
        if quarantine.replay([row.pk]):
            messages.success(
                request, "It goes through again. If it still cannot be taken, it comes back here."
            )
        return adminkit.redirect(reverse("admin:events_quarantine_changelist"))

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        context["may_replay"] = self.has_replay_permission(request)
        context["may_map"] = request.user.has_perm("events.view_source")
        return super().render_change_form(request, context, **options)

    @admin.display(description="Why")
    def shown_reason(self, row: Quarantine) -> SafeString:
        return adminkit.stacked(row.message, live.name_of(row.body))

    @admin.display(description="Source")
    def sent_by(self, row: Quarantine) -> str:
        return row.source.name if row.source else "a deleted source"

    @admin.display(description="Received")
    def received(self, row: Quarantine) -> SafeString | str:
        return adminkit.when(row.received_at)

    @admin.display(description="Why")
    def why(self, row: Quarantine) -> str:
        return row.message

    @admin.display(description="Call")
    def call_made(self, row: Quarantine) -> str:
        return row.call

    @admin.display(description="State")
    def shown_state(self, row: Quarantine) -> SafeString:
        if row.replayed_at:
            return adminkit.badge("Sent through again", "accent", "replay")
        return adminkit.badge("Rejected", "bad", "report")

    @admin.display(description="The event")
    def event(self, row: Quarantine) -> SafeString:
        return adminkit.preformatted(live.readable(masking.current().raw(row.body)))

    @admin.action(description="Send through again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Quarantine]) -> None:
        count = quarantine.replay([*queryset.values_list("pk", flat=True)])
        noun = "event goes" if count == 1 else "events go"
        messages.success(
            request, f"{count} {noun} through again. What still cannot be taken comes back here."
        )

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("events.change_quarantine"))

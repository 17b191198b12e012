"""Staff's view of e-mail reports that wait for a customer with the address."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from customers import adminkit, identity, identity_rules, masking
from customers.adminkit import BoundedPaginator, Empty, ReadOnlyAdmin
from events import live
from events.mail import waiting
from events.models import Waiting


@admin.register(Waiting)
class WaitingEventAdmin(ReadOnlyAdmin):
    """Whoever may see rejected events may see these: both are what did not become an event."""

    list_display = ("shown_email", "shown_event", "sent_by", "received", "given_up")
    list_filter = ("source",)
    search_fields = ("email",)  # what really searches is get_search_results
    search_help_text = "E-mail address"
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator
    actions = None
    fields = ("shown_email", "sent_by", "received", "given_up", "event")
    readonly_fields = fields
    empty = Empty(
        "mark_email_read",
        "Nothing waits",
        "When an e-mail tool reports something about an address that no customer has, the report "
        "waits here. It joins the customer who gets that address, by an import or a sign-in for "
        "example.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Waiting]:
        return waiting.listed()

    def has_view_permission(self, request: HttpRequest, obj: Waiting | None = None) -> bool:
        return bool(request.user.has_perm("events.view_quarantine"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Waiting], search_term: str
    ) -> tuple[QuerySet[Waiting], bool]:
        """Find by the whole address, which is indexed."""
        if not search_term.strip():
            return queryset, False
        email = identity.normalise(identity.EMAIL, search_term.replace("\0", ""))
        return queryset.filter(email=email or ""), False

    @admin.display(description="E-mail")
    def shown_email(self, row: Waiting) -> str:
        return masking.current().identifier(identity.EMAIL, row.email)

    @admin.display(description="Event")
    def shown_event(self, row: Waiting) -> str:
        return live.name_of(row.body)

    @admin.display(description="Source")
    def sent_by(self, row: Waiting) -> str:
        return row.source.name if row.source else "a deleted source"

    @admin.display(description="Received")
    def received(self, row: Waiting) -> SafeString | str:
        return adminkit.when(row.received_at)

    @admin.display(description="Given up")
    def given_up(self, row: Waiting) -> SafeString | str:
        days = identity_rules.waiting_days()
        return adminkit.when(row.received_at + timedelta(days=days)) if days > 0 else "Never"

    @admin.display(description="The event")
    def event(self, row: Any) -> SafeString:
        return adminkit.preformatted(live.readable(masking.current().raw(row.body)))

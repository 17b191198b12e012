"""Staff's view of triggers."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from activation import sentences, trigger_pages
from activation.models import Trigger
from activation.paged_admin import PagedAdmin
from activation.tallies import Sent
from customers import adminkit, formats
from customers.adminkit import (
    Empty,
)


class TriggerChangeList(ChangeList):
    """A row opens the trigger's page; each knows what it has sent lately."""

    def url_for_result(self, result: models.Model) -> str:
        return trigger_pages.trigger_url(result.pk)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        sent = trigger_pages.sent([trigger.pk for trigger in shown])
        for trigger in shown:
            trigger.sent = sent.get(trigger.pk, Sent())
        self.result_list = shown


@admin.register(Trigger)
class TriggerAdmin(PagedAdmin):
    """Who is told when somebody enters or leaves a segment."""

    list_display: Any = ("shown_name", "shown_state", "delivered", "failed")
    list_filter = ("is_enabled", "segment", "destination")
    list_select_related = ("segment", "destination")
    search_fields = ("name", "key")
    search_help_text = "Name"
    ordering = ("name",)
    sortable_by = ("shown_name",)
    actions = None
    add_text = "New trigger"
    empty = Empty(
        "bolt",
        "No triggers yet",
        "A trigger tells another tool the moment a customer enters or leaves a segment: “when a "
        "customer enters Big spenders, tell the e-mail tool”. You can try it before you switch it "
        "on.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Trigger]:
        return Trigger.objects.select_related("segment", "destination")

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return TriggerChangeList

    @admin.display(description="Trigger", ordering="name")
    def shown_name(self, trigger: Trigger) -> SafeString:
        return adminkit.stacked(trigger.name, sentences.sentence(trigger))

    @admin.display(description="State", ordering="is_enabled")
    def shown_state(self, trigger: Trigger) -> SafeString:
        return render_to_string("admin/activation/trigger_state.html", {"trigger": trigger})

    @admin.display(description="Delivered in 7 days")
    def delivered(self, trigger: Any) -> str:
        return formats.number(trigger.sent.delivered)

    @admin.display(description="Failed")
    def failed(self, trigger: Any) -> SafeString | str:
        if not trigger.sent.failed:
            return "–"
        return adminkit.badge(formats.number(trigger.sent.failed), "bad", "error")

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"activation_trigger_{name}")

        own = [
            at("estimate/", self.estimate_view, "estimate"),
            at("<int:pk>/", self.page_view, "page"),
            at("<int:pk>/why/", self.why_view, "why"),
            at("<int:pk>/switch/", self.switch_view, "switch"),
            at("<int:pk>/test/", self.test_view, "test"),
        ]
        return own + super().get_urls()

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        trigger = self.found(request, pk)
        return trigger_pages.show(request, trigger, self.may(request, trigger))

    def estimate_view(self, request: HttpRequest) -> HttpResponse:
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        return trigger_pages.estimate(request)

    def why_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        trigger = self.found(request, pk)
        if not request.user.has_perm("customers.view_customer"):
            raise PermissionDenied
        return trigger_pages.ask_why(request, trigger)

    @method_decorator(require_POST)
    def switch_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return trigger_pages.switch(request, self.found(request, pk, to="change"))

    @method_decorator(require_POST)
    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        trigger = self.found(request, pk, to="change")
        if not request.user.has_perm("customers.view_customer"):
            raise PermissionDenied
        return trigger_pages.send_test(request, trigger)

    def add_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return trigger_pages.edit(request, None)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **options: Any
    ) -> HttpResponse:
        trigger = self.found(request, object_id)
        if not self.has_change_permission(request, trigger):
            return adminkit.redirect(trigger_pages.trigger_url(trigger.pk))
        return trigger_pages.edit(request, trigger)

    def delete_view(
        self, request: HttpRequest, object_id: str, *args: Any, **options: Any
    ) -> HttpResponse:
        return trigger_pages.delete(request, self.found(request, object_id, to="delete"))

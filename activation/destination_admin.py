"""Staff's view of destinations."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from activation import destination_pages, destinations
from activation.models import Destination
from activation.paged_admin import PagedAdmin
from customers import adminkit, formats
from customers.adminkit import (
    Empty,
)


class DestinationChangeList(ChangeList):
    """A row opens the destination's page."""

    def url_for_result(self, result: models.Model) -> str:
        return destination_pages.destination_url(result.pk)


@admin.register(Destination)
class DestinationAdmin(PagedAdmin):
    """Where messages go."""

    list_display: Any = ("shown_name", "shown_state", "shown_triggers", "made")
    search_fields = ("name", "key")
    search_help_text = "Name"
    ordering = ("name",)
    sortable_by = ("shown_name",)
    actions = None
    add_text = "New destination"
    empty = Empty(
        "send",
        "No destinations yet",
        "A destination is another tool that wants to be told, for example your e-mail tool or your "
        "shop: by a webhook, a web address that accepts messages. Or it is an e-mail, or an SMS.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        return Destination.objects.annotate(trigger_count=Count("triggers"))

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return DestinationChangeList

    @admin.display(description="Destination", ordering="name")
    def shown_name(self, destination: Destination) -> SafeString:
        return adminkit.stacked(destination.name, destinations.where(destination))

    @admin.display(description="State")
    def shown_state(self, destination: Destination) -> SafeString:
        is_held = destination.held_until is not None and destination.held_until > timezone.now()
        context = {"destination": destination, "is_held": is_held}
        return render_to_string("admin/activation/destination_state.html", context)

    @admin.display(description="Triggers")
    def shown_triggers(self, destination: Any) -> str:
        return formats.number(destination.trigger_count)

    @admin.display(description="Since", ordering="created_at")
    def made(self, destination: Destination) -> SafeString | str:
        return adminkit.when(destination.created_at)

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            wrapped = self.admin_site.admin_view(view)
            return path(route, wrapped, name=f"activation_destination_{name}")

        own = [
            at("preview/", self.preview_view, "preview"),
            at("<int:pk>/", self.page_view, "page"),
            at("<int:pk>/enable/", self.enable_view, "enable"),
            at("<int:pk>/rotate/", self.rotate_view, "rotate"),
            at("<int:pk>/ping/", self.ping_view, "ping"),
        ]
        return own + super().get_urls()

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        destination = self.found(request, pk)
        return destination_pages.show(request, destination, self.may(request, destination))

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> HttpResponse:
        may = self.has_add_permission(request) or self.has_change_permission(request)
        if not (may and request.user.has_perm("customers.view_customer")):
            raise PermissionDenied
        return destination_pages.preview(request)

    @method_decorator(require_POST)
    def enable_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return destination_pages.enable(request, self.found(request, pk, to="change"))

    @method_decorator(require_POST)
    def rotate_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return destination_pages.rotate(request, self.found(request, pk, to="change"))

    @method_decorator(require_POST)
    def ping_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return destination_pages.ping(request, self.found(request, pk, to="change"))

    def add_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        return destination_pages.edit(request, None)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **options: Any
    ) -> HttpResponse:
        destination = self.found(request, object_id)
        if not self.has_change_permission(request, destination):
            return adminkit.redirect(destination_pages.destination_url(destination.pk))
        return destination_pages.edit(request, destination)

    def delete_view(
        self, request: HttpRequest, object_id: str, *args: Any, **options: Any
    ) -> HttpResponse:
        return destination_pages.delete(request, self.found(request, object_id, to="delete"))

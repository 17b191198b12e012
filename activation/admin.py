"""Staff's view of what is told to the world: triggers, destinations, deliveries."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from activation import delivery_pages, destination_pages, outbox, trigger_pages
from activation.models import Delivery, Destination, State, Trigger
from customers import adminkit, clock, formats, identity
from customers.adminkit import (
    Button,
    Empty,
    ProductAdmin,
    ReadOnlyAdmin,
    UncountedPaginator,
)
from customers.models import Identifier


class PagedAdmin(ProductAdmin):
    """A model whose rows have pages of ours instead of the stock form."""

    def may(self, request: HttpRequest, row: Any) -> dict[str, bool]:
        """What the user may do with a row, for the templates."""
        return {
            "may_change": self.has_change_permission(request, row),
            "may_delete": self.has_delete_permission(request, row),
        }

    def found(self, request: HttpRequest, pk: object, *, to: str = "view") -> Any:
        """Find a row that the user may view, change or delete. Raises PermissionDenied, Http404."""
        if not str(pk).isdecimal():
            raise Http404
        row = get_object_or_404(self.get_queryset(request), pk=pk)
        if not getattr(self, f"has_{to}_permission")(request, row):
            raise PermissionDenied
        return row


class TriggerChangeList(ChangeList):
    """A row opens the trigger's page; each knows what it has sent lately."""

    def url_for_result(self, result: models.Model) -> str:
        return trigger_pages.trigger_url(result.pk)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        sent = trigger_pages.sent([trigger.pk for trigger in shown])
        for trigger in shown:
            trigger.sent = sent.get(trigger.pk, trigger_pages.Sent())
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
        sentence = (
            f"When a customer {trigger.get_on_display()} “{trigger.segment}”, "
            f"tell “{trigger.destination}”"
        )
        return adminkit.stacked(trigger.name, sentence)

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
            at("<int:pk>/", self.page_view, "page"),
            at("<int:pk>/switch/", self.switch_view, "switch"),
            at("<int:pk>/test/", self.test_view, "test"),
        ]
        return own + super().get_urls()

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        trigger = self.found(request, pk)
        return trigger_pages.show(request, trigger, self.may(request, trigger))

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
        "shop. All it needs is a web address that accepts messages: a webhook.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        return Destination.objects.annotate(trigger_count=Count("triggers"))

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return DestinationChangeList

    @admin.display(description="Destination", ordering="name")
    def shown_name(self, destination: Destination) -> SafeString:
        return adminkit.stacked(destination.name, destination.config.get("url", ""))

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


class StateFilter(admin.SimpleListFilter):
    """Where a delivery stands now."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, str(state.label)) for state in State]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> QuerySet[Delivery] | None:
        state = self.value()
        if state not in State.values:
            return None
        chosen = Delivery.objects.in_state(State(state), clock.now())
        return queryset.filter(pk__in=chosen.values("pk"))


class TestFilter(admin.SimpleListFilter):
    """What was sent because something happened, or only to try."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("real", "Without tests"), ("test", "Tests only")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> QuerySet[Delivery] | None:
        if self.value() not in ("real", "test"):
            return None
        return queryset.filter(is_test=self.value() == "test")


class DeliveryChangeList(ChangeList):
    """A row opens the delivery's page; each has its customer and its last attempt."""

    def url_for_result(self, result: Any) -> str:
        return delivery_pages.delivery_url(result)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = delivery_pages.with_details(request, list(self.result_list))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """The log of messages: what was sent to whom, and what came back."""

    list_display: Any = (
        "shown_state",
        "shown_customer",
        "shown_trigger",
        "shown_answer",
        "tries",
        "made",
    )
    list_filter = (StateFilter, TestFilter, "trigger")
    list_select_related = ("trigger", "destination")
    search_fields = ("customer_id",)  # what really searches is get_search_results
    search_help_text = "CustomerId"
    ordering = ("-id",)
    sortable_by = ()
    paginator = UncountedPaginator
    actions = ("send_again",)
    empty = Empty(
        "outbox",
        "Nothing was sent yet",
        "Every message that a trigger sends stands here, with the request, the answer and a button "
        "to send it again.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return Delivery.objects.with_state(clock.now()).defer("body")

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return DeliveryChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Delivery], search_term: str
    ) -> tuple[QuerySet[Delivery], bool]:
        if not search_term.strip():
            return queryset, False
        key = identity.normalise(identity.CUSTOMER_ID, search_term)
        known = Identifier.objects.filter(kind=identity.CUSTOMER_ID, value=key)
        return queryset.filter(customer_id__in=known.values("customer_id")), False

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        if not _may_send_again(request):
            return []
        href = reverse("admin:activation_delivery_again_all")
        if request.GET.get("trigger__id__exact", "").isdecimal():
            href += f"?trigger={request.GET['trigger__id__exact']}"
        return [Button("Send all failed again", href, "replay")]

    @admin.display(description="State")
    def shown_state(self, delivery: Any) -> SafeString:
        context = {"delivery": delivery, "now": timezone.now()}
        return render_to_string("admin/activation/delivery_state.html", context)

    @admin.display(description="Customer")
    def shown_customer(self, delivery: Any) -> SafeString | str:
        if delivery.customer is None:
            return f"Customer {delivery.customer_id}"
        return adminkit.link(adminkit.customer_url(delivery.customer_id), delivery.customer)

    @admin.display(description="Trigger")
    def shown_trigger(self, delivery: Delivery) -> str:
        return delivery.trigger.name

    @admin.display(description="Answer")
    def shown_answer(self, delivery: Any) -> SafeString | str:
        if delivery.attempt is None:
            return "–"
        return render_to_string("admin/activation/answer.html", {"attempt": delivery.attempt})

    @admin.display(description="Tries")
    def tries(self, delivery: Delivery) -> str:
        return formats.number(delivery.attempts_made)

    @admin.display(description="When")
    def made(self, delivery: Delivery) -> SafeString | str:
        return adminkit.when(delivery.created_at)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return _may_send_again(request)

    @admin.action(description="Send again", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        count, refused = 0, ""
        for delivery in queryset.select_related(None).order_by("id"):
            try:
                outbox.replay(delivery)
                count += 1
            except outbox.ReplayError as error:
                refused = str(error)
        if count:
            what = "1 message is" if count == 1 else f"{formats.number(count)} messages are"
            messages.success(request, f"{what} being sent again.")
        if refused:
            messages.warning(request, f"Some were left out: {refused}")

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"activation_delivery_{name}")

        own = [
            at("again/", self.again_all_view, "again_all"),
            at("<uuid:pk>/", self.page_view, "page"),
            at("<uuid:pk>/again/", self.again_view, "again"),
        ]
        return own + super().get_urls()

    def page_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        delivery = self._found(request, pk)
        may_change = _may_send_again(request)
        return delivery_pages.show(request, delivery, may_change=may_change)

    @method_decorator(require_POST)
    def again_view(self, request: HttpRequest, pk: object) -> HttpResponse:
        delivery = self._found(request, pk)
        if not _may_send_again(request):
            raise PermissionDenied
        return delivery_pages.again(request, delivery)

    def again_all_view(self, request: HttpRequest) -> HttpResponse:
        if not _may_send_again(request):
            raise PermissionDenied
        key = request.GET.get("trigger", "")
        trigger = get_object_or_404(Trigger, pk=key) if key.isdecimal() else None
        return delivery_pages.all_failed_again(request, trigger)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **options: Any
    ) -> HttpResponse:
        return adminkit.redirect(delivery_pages.delivery_url(self._found(request, object_id)))

    def _found(self, request: HttpRequest, pk: object) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = Delivery.objects.with_state(clock.now()).select_related(
            "trigger__segment", "destination"
        )
        return get_object_or_404(rows, pk=pk)


def _may_send_again(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("activation.change_delivery"))

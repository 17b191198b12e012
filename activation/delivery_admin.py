"""Staff's view of the log of messages."""

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from activation import delivery_pages, outbox
from activation.delivery_list import DeliveryChangeList, ReasonFilter, StateFilter, TestFilter
from activation.models import Delivery, Destination, Trigger
from customers import adminkit, clock, formats, identity
from customers.adminkit import (
    Button,
    Empty,
    ReadOnlyAdmin,
)
from customers.models import Identifier

_CHOSEN: dict[str, Any] = {"trigger": Trigger, "destination": Destination}


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
    list_filter = (StateFilter, ReasonFilter, TestFilter, "trigger", "destination")
    list_select_related = ("trigger", "destination")
    search_fields = ("customer_id",)  # what really searches is get_search_results
    search_help_text = "CustomerId"
    ordering = ("-id",)
    sortable_by = ()
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
        # Known to the planner, who else reads the whole log backwards.
        return queryset.filter(
            customer_id__in=[*known.values_list("customer_id", flat=True)]
        ), False

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        if not _may_send_again(request):
            return []
        chosen = {name: request.GET.get(f"{name}__id__exact", "") for name in _CHOSEN}
        named = {name: pk for name, pk in chosen.items() if pk.isdecimal()}
        href = reverse("admin:activation_delivery_again_all")
        href += f"?{urlencode(named)}" if named else ""
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
        trigger, destination = (
            get_object_or_404(model, pk=request.GET[name])
            if request.GET.get(name, "").isdecimal()
            else None
            for name, model in _CHOSEN.items()
        )
        return delivery_pages.all_failed_again(request, trigger, destination)

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

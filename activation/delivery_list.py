"""The log of messages as staff page through it, and what they filter it by."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from activation import delivery_pages
from activation.models import Delivery, Reason, State
from customers import clock
from customers.adminkit import PAGE_SIZE, UncountedPaginator

AFTER, BEFORE = "after", "before"  # in the address of a page: the id that it begins or ends behind


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
        log: Any = queryset
        found: QuerySet[Delivery] = log.in_state(State(state), clock.now())
        return found


class ReasonFilter(admin.SimpleListFilter):
    """Why something was not sent, or waits."""

    title = "reason why not"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(reason.value, str(reason.label)) for reason in Reason]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> QuerySet[Delivery] | None:
        return queryset.filter(reason=self.value()) if self.value() in Reason.values else None


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
    """A row opens the delivery's page; a page of the list begins behind a delivery.

    So the last page costs what the first does.
    """

    def url_for_result(self, result: Any) -> str:
        return delivery_pages.delivery_url(result)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        given: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in given.items() if name not in (AFTER, BEFORE)}

    def get_results(self, request: HttpRequest) -> None:
        rows, has_newer, has_older = self._page()
        self.result_list = delivery_pages.with_details(request, rows)
        self.result_count = len(rows)
        self.full_result_count = None
        self.show_full_result_count = self.show_all = self.can_show_all = self.multi_page = False
        self.show_admin_actions = True
        self.newer = self._link(BEFORE, rows[0]) if rows and has_newer else ""
        self.older = self._link(AFTER, rows[-1]) if rows and has_older else ""
        paginator = UncountedPaginator(rows, PAGE_SIZE)
        paginator.template_name = "admin/activation/paging.html"
        self.paginator = paginator

    def _page(self) -> tuple[list[Any], bool, bool]:
        """Return the rows, the newest first, and whether there are newer and older ones."""
        after, before = (_id(self.params.get(name)) for name in (AFTER, BEFORE))
        found = self.queryset
        if before is not None:
            rows = list(found.filter(pk__gt=before).order_by("pk")[: PAGE_SIZE + 1])
            return rows[:PAGE_SIZE][::-1], len(rows) > PAGE_SIZE, True
        if after is not None:
            found = found.filter(pk__lt=after)
        rows = list(found.order_by("-pk")[: PAGE_SIZE + 1])
        return rows[:PAGE_SIZE], after is not None, len(rows) > PAGE_SIZE

    def _link(self, name: str, delivery: Delivery) -> str:
        return str(self.get_query_string({name: delivery.pk}, [AFTER, BEFORE]))


def _id(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None

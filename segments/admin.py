"""Staff's view of who belongs where.

The roof registers these pages: it knows what uses a segment, and who must hear of new members.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import IO, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from customers import adminkit, formats
from customers.adminkit import Empty, ProductAdmin, Use
from customers.models import Customer
from segments import builder, by_hand, definitions, growth, memberships, pages
from segments.memberships import Transition
from segments.models import Segment, SegmentKind


class SegmentChangeList(ChangeList):
    """A row opens the segment's page; each knows its size and what uses it."""

    model_admin: "SegmentAdmin"

    def url_for_result(self, result: models.Model) -> str:
        return pages.segment_url(result.pk)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown: list[Any] = list(self.result_list)
        size_of = memberships.sizes([segment.pk for segment in shown])
        uses = self.model_admin.uses(shown)
        past = growth.lately(shown)
        for segment in shown:
            segment.trend = pages.trend([*past[segment.pk], size_of[segment.pk]])
            segment.size = size_of[segment.pk]
            segment.uses = uses[segment.pk]
        self.result_list = shown


class SegmentAdmin(ProductAdmin):
    """The list of segments, the builder, and a page for each."""

    list_display: Any = ("shown_name", "size", "trend", "shown_kind", "used_by", "changed")
    list_filter = ("kind", "state")
    search_fields = ("name", "key", "sentence")
    search_help_text = "Name or words of the rule"
    ordering = ("name",)
    sortable_by = ("shown_name", "changed")
    actions = None
    empty = Empty(
        "filter_alt",
        "No segments yet",
        "A segment is a group of customers by what they do and who they are, for example “bought "
        "for at least CHF 200 in the last 90 days”. People enter and leave it by themselves, and "
        "triggers can tell other tools the moment that happens.",
    )
    add_text = "New segment"

    def uses(self, segments: Sequence[Segment]) -> dict[int, list[Use]]:
        """Return what relies on segments, by id of the segment. Higher floors add to it."""
        users = definitions.users_by_key()
        found: dict[int, list[Use]] = defaultdict(list)
        for segment in segments:
            found[segment.pk] = [
                Use(user.name, pages.segment_url(user.pk), "filter_alt")
                for user in users.get(segment.key, [])
            ]
        return found

    def tell(self, transitions: Sequence[Transition]) -> None:
        """Carry news of members by hand to the floors above; here nobody listens."""

    def take_file(self, request: HttpRequest, segment: Segment, file: IO[Any]) -> str:
        """Take in a file of members as an import, which the roof runs; return its page."""
        raise PermissionDenied

    def links(self, request: HttpRequest, segment: Segment) -> dict[str, Any]:
        """Return where a segment's page leads on higher floors."""
        return {}

    # The list

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return SegmentChangeList

    @admin.display(description="Segment", ordering="name")
    def shown_name(self, segment: Segment) -> SafeString:
        return adminkit.stacked(segment.name, segment.sentence)

    @admin.display(description="Members")
    def size(self, segment: Any) -> str:
        return formats.number(segment.size)

    @admin.display(description="Last 30 days")
    def trend(self, segment: Any) -> SafeString | str:
        if segment.trend is None:
            return "–"
        return render_to_string("admin/segments/trend.html", {"trend": segment.trend})

    @admin.display(description="Kind")
    def shown_kind(self, segment: Segment) -> SafeString:
        context = {"segment": segment, "progress": pages.progress(segment)}
        return render_to_string("admin/segments/state.html", context)

    @admin.display(description="Used by")
    def used_by(self, segment: Any) -> SafeString | str:
        if not segment.uses:
            return "–"
        return render_to_string("admin/segments/used_by.html", {"uses": segment.uses[:3]})

    @admin.display(description="Changed", ordering="updated_at")
    def changed(self, segment: Segment) -> SafeString | str:
        return adminkit.when(segment.updated_at)

    # The pages

    def get_urls(self) -> list[URLPattern]:
        def at(route: str, view: Any, name: str) -> URLPattern:
            return path(route, self.admin_site.admin_view(view), name=f"segments_segment_{name}")

        own = [
            at("preview/", self.preview_view, "preview"),
            at("suggest/", self.suggest_view, "suggest"),
            at("<int:pk>/", self.page_view, "page"),
            at("<int:pk>/members/", self.members_view, "members"),
            at("<int:pk>/members/add/", self.add_members_view, "add_members"),
            at("<int:pk>/members/remove/", self.remove_member_view, "remove_member"),
            at("<int:pk>/filling/", self.filling_view, "filling"),
            at("<int:pk>/review/", self.review_view, "review"),
            at("<int:pk>/explain/<int:customer_id>/", self.explain_view, "explain"),
        ]
        return own + super().get_urls()

    def page_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        segment = self._segment(request, pk)
        more = {
            "may_change": self.has_change_permission(request, segment),
            "may_delete": self.has_delete_permission(request, segment),
            **self.links(request, segment),
        }
        return pages.show(request, segment, self.uses([segment])[pk], more)

    def members_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        segment = self._segment(request, pk)
        may_change = self.has_change_permission(request, segment)
        return pages.members(request, segment, may_change=may_change)

    def filling_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return pages.filling(request, self._segment(request, pk))

    def explain_view(self, request: HttpRequest, pk: int, customer_id: int) -> HttpResponse:
        segment = self._segment(request, pk)
        if not request.user.has_perm("customers.view_customer"):
            raise PermissionDenied
        return pages.explain(request, segment, get_object_or_404(Customer, pk=customer_id))

    def _segment(self, request: HttpRequest, pk: int, *, to_change: bool = False) -> Segment:
        """Find a segment that the user may see, or change. Raises PermissionDenied and Http404."""
        segment = get_object_or_404(Segment, pk=pk)
        has_permission = self.has_change_permission if to_change else self.has_view_permission
        if not has_permission(request, segment):
            raise PermissionDenied
        return segment

    # Building

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.GET.get("kind") == SegmentKind.STATIC:
            return by_hand.edit(request, None)
        if request.method == "POST":
            return builder.save(request, None)
        return builder.page(request, None, [])

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not object_id.isdecimal():
            raise Http404
        segment = self._segment(request, int(object_id))
        if not self.has_change_permission(request, segment):
            return adminkit.redirect(pages.segment_url(segment.pk))
        if segment.kind == SegmentKind.STATIC:
            return by_hand.edit(request, segment)
        if request.method == "POST":
            return builder.save(request, segment)
        return builder.page(request, segment, self.uses([segment])[segment.pk])

    @method_decorator(require_POST)
    def preview_view(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return builder.show_preview(request)

    def suggest_view(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return builder.suggest(request)

    @method_decorator(require_POST)
    def review_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        return builder.review(request, self._segment(request, pk, to_change=True))

    # Members by hand

    def add_members_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return by_hand.add(request, self._by_hand(request, pk), self.tell, self.take_file)

    @method_decorator(require_POST)
    def remove_member_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return by_hand.remove(request, self._by_hand(request, pk), self.tell)

    def _by_hand(self, request: HttpRequest, pk: int) -> Segment:
        segment = self._segment(request, pk, to_change=True)
        if segment.kind != SegmentKind.STATIC:
            raise Http404
        return segment

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not object_id.isdecimal():
            raise Http404
        segment = self._segment(request, int(object_id))
        if not self.has_delete_permission(request, segment):
            raise PermissionDenied
        return pages.delete(request, segment, self.uses([segment])[segment.pk])

"""Possible duplicates, for people to decide: in the admin and over HTTP."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from cdp import identities, identity_pages
from customers import adminkit, apikit, duplicates, merging
from customers.adminkit import Button, Empty, ReadOnlyAdmin
from customers.api import MergeSerializer
from customers.models import Customer, DuplicateSearch, PossibleDuplicate

LIST = "admin:customers_possibleduplicate_changelist"


@admin.register(PossibleDuplicate)
class PossibleDuplicateAdmin(ReadOnlyAdmin):
    """Pairs of customers who may be one person, the most alike first."""

    list_display = ("pair", "common", "shown_score", "found")
    list_display_links = ("pair",)
    ordering = ("-score", "-id")
    actions = ("dismiss_all",)
    empty = Empty(
        "group",
        "No possible duplicates",
        "Customers with the same e-mail or phone, or with similar names and the same birth date, "
        "are listed here once they were looked for. Nothing is joined before you say so.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PossibleDuplicate]:
        return duplicates.open_pairs()

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        if not self.may_decide(request):
            return []
        return [Button("Look for duplicates", reverse("admin:duplicates_find"), "search", True)]

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("find/", wrap(self.find), name="duplicates_find"),
            *super().get_urls(),
        ]

    def may_decide(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("customers.change_customer"))

    has_dismiss_permission = may_decide

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("customers.view_customer"))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.has_perm("customers.view_customer"))

    def find(self, request: HttpRequest) -> HttpResponse:
        """Say when was looked last; look again once asked to."""
        if not self.may_decide(request):
            raise PermissionDenied
        if request.method == "POST":
            try:
                duplicates.start()
                messages.success(request, "We are looking. Pairs appear here as they are found.")
            except duplicates.BusyError as error:
                messages.info(request, str(error))
            return adminkit.redirect(reverse(LIST))
        context = {"search": DuplicateSearch.objects.first()}
        return adminkit.page(
            request,
            "cdp/find_duplicates.html",
            context,
            title="Look for duplicates",
            model=PossibleDuplicate,
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show what two customers become together; join or dismiss them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pair = adminkit.row_or_404(PossibleDuplicate, object_id)
        if request.method == "POST":
            if not self.may_decide(request):
                raise PermissionDenied
            return self._decide(request, pair)
        both = Customer.objects.current().in_bulk([pair.one_id, pair.other_id])
        if len(both) < 2:
            messages.info(request, "They are one customer already.")
            return adminkit.redirect(reverse(LIST))
        context = {
            "pair": pair,
            "may_decide": self.may_decide(request),
            **identity_pages.joined(both[pair.one_id], both[pair.other_id]),
        }
        return adminkit.page(
            request,
            "cdp/duplicate.html",
            context,
            title="The same person?",
            model=PossibleDuplicate,
            original=pair,
        )

    def _decide(self, request: HttpRequest, pair: PossibleDuplicate) -> HttpResponse:
        if "dismiss" in request.POST:
            duplicates.dismiss([pair], adminkit.actor(request))
            messages.success(request, "They stay two, and are not suggested again.")
            return adminkit.redirect(reverse(LIST))
        try:
            identities.join(pair.one, pair.other, by=adminkit.actor(request))
            messages.success(request, "They are one customer now. The profile can undo it.")
        except merging.CannotJoinError as error:
            messages.warning(request, str(error))
        return adminkit.redirect(reverse(LIST))

    @admin.action(description="They are different people", permissions=["dismiss"])
    def dismiss_all(self, request: HttpRequest, queryset: QuerySet[PossibleDuplicate]) -> None:
        count = duplicates.dismiss(queryset, adminkit.actor(request))
        messages.success(request, f"{count} pairs are not suggested any more.")

    @admin.display(description="Customers")
    def pair(self, pair: PossibleDuplicate) -> SafeString:
        return adminkit.stacked(f"{pair.one} and {pair.other}", _ids(pair))

    @admin.display(description="In common")
    def common(self, pair: PossibleDuplicate) -> SafeString:
        return adminkit.badges(pair.reasons)

    @admin.display(description="Score", ordering="score")
    def shown_score(self, pair: PossibleDuplicate) -> str:
        return f"{pair.score:g}"

    @admin.display(description="Found", ordering="found_at")
    def found(self, pair: PossibleDuplicate) -> SafeString | str:
        return adminkit.when(pair.found_at)


def _ids(pair: PossibleDuplicate) -> str:
    return ", ".join(each.external_id or f"visitor {each.pk}" for each in (pair.one, pair.other))


class PossibleDuplicateSerializer(apikit.StrictModelSerializer):
    customers = serializers.SerializerMethodField(help_text="The ids of both.")
    reasons = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = PossibleDuplicate
        fields = ["id", "customers", "score", "reasons", "found_at"]

    def get_customers(self, pair: PossibleDuplicate) -> list[int]:
        return [pair.one_id, pair.other_id]


class PossibleDuplicateViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[PossibleDuplicate]
):
    """Pairs of customers who may be one person, for people to decide; the latest first."""

    resource = "customers"
    model = Customer
    serializer_class: Any = PossibleDuplicateSerializer
    queryset = PossibleDuplicate.objects.all()
    lookup_value_regex = r"\d{1,18}"

    def get_queryset(self) -> QuerySet[PossibleDuplicate]:
        return duplicates.open_pairs()

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT)
    @action(detail=False, methods=["post"])
    def find(self, request: Request) -> Response:
        """Look for duplicates, in the background. 409 `busy` while that is under way."""
        try:
            duplicates.start()
        except duplicates.BusyError as error:
            raise apikit.Conflict(str(error), "busy") from error
        return Response({"state": "looking"})

    @extend_schema(request=None, responses=MergeSerializer)
    @action(detail=True, methods=["post"])
    def merge(self, request: Request, pk: str) -> Response:
        """Make both one customer."""
        pair = self.get_object()
        try:
            merge = identities.join(pair.one, pair.other, by=apikit.actor(request))
        except merging.CannotJoinError as error:
            raise apikit.Conflict(str(error), "cannot_join") from error
        return Response(MergeSerializer(merge).data)

    @extend_schema(request=None, responses={204: None})
    @action(detail=True, methods=["post"])
    def dismiss(self, request: Request, pk: str) -> Response:
        """Say that they are two people. The pair is not suggested again."""
        duplicates.dismiss([self.get_object()], apikit.actor(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

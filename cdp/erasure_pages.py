"""Pages on which people are erased, one or many, and the list that proves it."""

import hashlib
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError, transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from cdp import erasure, forgetting
from cdp.exports.kinds import KINDS
from cdp.models import Forgetting
from customers import adminkit, formats
from customers.adminkit import Button, Empty, ReadOnlyAdmin
from customers.models import Customer, Erasure
from customers.sql import lists

LIST = "admin:customers_customer_changelist"
SHOWN = 10  # names, of those who are to be erased
LATEST = 3  # erasures of many, above the list of proofs
MILLISECONDS = 8_000  # that looking for who is meant may take
_NOT_CHOOSING = ("after", "before", "o", "p", "_changelist_filters")


def may_erase(request: HttpRequest) -> bool:
    return bool(request.user.has_perm(forgetting.RIGHT))


def erase_one(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Ask for the CustomerId, then forget the person on every floor."""
    asked = customer.external_id or str(customer.pk)
    if request.method == "POST" and request.POST.get("name", "").strip() == asked:
        try:
            erasure.erase([customer.pk], by=adminkit.actor(request))
            messages.success(request, "The customer is erased, with everything we knew.")
        except erasure.NotLoggedError as error:
            messages.error(request, str(error))
        return adminkit.redirect(reverse(LIST))
    context = {
        "customer": customer,
        "asked": asked,
        "counts": erasure.survey([customer.pk]),
        "is_wrong": request.method == "POST",
    }
    title = "Erase a customer"
    return adminkit.page(
        request, "cdp/erase.html", context, title=title, model=Customer, original=customer
    )


def address(query: QueryDict) -> str:
    """Return where those are erased whom the list of customers shows by this query."""
    chosen = query.copy()
    for name in _NOT_CHOOSING:
        chosen.pop(name, None)
    return f"{reverse('admin:customers_customer_erase')}?{chosen.urlencode()}"


def erase_many(request: HttpRequest) -> HttpResponse:
    """Show whom the query of the list means; have them erased once their number was typed."""
    if not may_erase(request):
        raise PermissionDenied
    ids = _chosen(request)
    if not ids:
        return adminkit.redirect(reverse(LIST))
    seen_before = request.POST.get("seen")
    context: dict[str, Any] = {
        "number": len(ids),
        "at_most": forgetting.AT_MOST,
        "is_too_many": len(ids) > forgetting.AT_MOST,
        "seen": _digest(ids),
        "query": request.GET.urlencode(),
    }
    if not context["is_too_many"]:
        if request.method == "POST" and seen_before == context["seen"] and _is_meant(request, ids):
            return _begin(request, ids)
        is_sent = request.method == "POST"
        context |= {
            "people": Customer.objects.filter(pk__in=ids[:SHOWN]).order_by("pk"),
            "others": max(len(ids) - SHOWN, 0),
            "counts": erasure.survey(ids),
            "is_other": is_sent and seen_before != context["seen"],
            "is_wrong": is_sent and seen_before == context["seen"],
        }
    return adminkit.page(
        request, "cdp/erase_many.html", context, title="Erase customers", model=Customer
    )


def _begin(request: HttpRequest, ids: Sequence[int]) -> HttpResponse:
    found = forgetting.begin(ids, request.user, by=adminkit.actor(request))
    adminkit.log(request, found, is_new=True)
    return adminkit.redirect(reverse("admin:customers_erasure_many", args=[found.pk]))


def _is_meant(request: HttpRequest, ids: Sequence[int]) -> bool:
    typed = request.POST.get("number", "")
    return "".join(filter(str.isdecimal, typed)) == str(len(ids))


def _digest(ids: Sequence[int]) -> str:
    """Sum up who was shown: whoever comes to fit after that is not erased unseen."""
    return hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()


def _chosen(request: HttpRequest) -> list[int]:
    """Return whom the query means, one more than may be erased at most; says why if nobody."""
    query = request.GET.copy()
    if not any(query.get(name, "").strip() for name in query):
        messages.error(request, "Choose customers, or filter the list, to erase them.")
        return []
    try:
        with transaction.atomic():
            lists.limit_time(MILLISECONDS)
            found = KINDS["customers"].rows_of(query, request.user).order_by("pk")
            ids = [*found.values_list("pk", flat=True)[: forgetting.AT_MOST + 1]]
    except (ValueError, ValidationError, IncorrectLookupParameters):
        messages.error(request, "The filters in the address cannot be read.")
        return []
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled
            raise
        messages.error(request, "Looking for these customers took too long. Filter more closely.")
        return []
    if not ids:
        messages.info(request, "Nobody fits any more.")
    return ids


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """The proofs: when, by whom and how much was erased, but not who it was."""

    list_display = ("made", "shown_by", "what", "shown_id")
    list_display_links = None
    actions = None
    sortable_by = ()
    list_before_template = "cdp/forgettings.html"
    empty = Empty(
        "delete_forever",
        "Nobody was erased",
        "Who asks to be forgotten is erased from their profile, or with others from the list of "
        "customers. Each erasure leaves a line here: when, by whom and how much, but not who.",
    )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may_erase(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_erase(request)

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        return []

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("many/<int:pk>/", wrap(self.many), name="customers_erasure_many"),
            path("many/<int:pk>/status/", wrap(self.status), name="customers_erasure_status"),
        ]
        return own + super().get_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        latest = [_progress(found) for found in Forgetting.objects.all()[:LATEST]]
        return super().changelist_view(request, {"latest": latest, **(extra_context or {})})

    def change_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return adminkit.redirect(reverse("admin:customers_erasure_changelist"))

    def many(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show how far an erasure of many is; stop it, or go on."""
        found = self._found(request, pk)
        if request.method == "POST":
            (forgetting.stop if "stop" in request.POST else forgetting.resume)(pk)
            return adminkit.redirect(request.path)
        context = _progress(found)
        title = f"Erasing {formats.number(found.total)} customers"
        return adminkit.page(request, "cdp/forgetting.html", context, title=title, model=Erasure)

    def status(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Answer with how far it is, for a page that asks every second."""
        return render(request, "cdp/forgetting_state.html", _progress(self._found(request, pk)))

    def _found(self, request: HttpRequest, pk: int) -> Forgetting:
        if not may_erase(request):
            raise PermissionDenied
        found = Forgetting.objects.filter(pk=pk).first()
        if found is None:
            raise Http404
        return found

    @admin.display(description="When")
    def made(self, row: Erasure) -> SafeString | str:
        return adminkit.when(row.at)

    @admin.display(description="By")
    def shown_by(self, row: Erasure) -> str:
        return row.by

    @admin.display(description="What went")
    def what(self, row: Erasure) -> str:
        said = (f"{what}: {formats.number(count)}" for what, count in row.counts.items() if count)
        return ", ".join(said).capitalize()

    @admin.display(description="Proof")
    def shown_id(self, row: Erasure) -> SafeString:
        return adminkit.copyable(str(row.pk), "proof")


def _progress(found: Forgetting) -> dict[str, Any]:
    return {
        "forgetting": found,
        "percent": 100 * found.seen // max(found.total, 1),
        "left": found.total - found.seen,
        "joined": found.seen - found.erased,
        "is_running": not (found.finished_at or found.stopped_at or found.error),
    }

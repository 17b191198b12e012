"""The sidebar: what there is, for whom."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from unfold.dataclasses import SearchResult

from customers import adminkit, contacts, masking
from customers import search as customer_search
from customers.models import Customer
from events.models import Source
from segments import pages
from segments.models import Segment

DEMO_SOURCE_KEYS = ("demo-online", "demo-till")
DEMO = "Demo"
FOUND_AT_MOST = 8  # of each kind, by the search of the sidebar


class Entry(NamedTuple):
    """A line of the sidebar. Without `permission`, every member of staff sees it.

    `also` are the beginnings of other addresses that belong to it, and names of pages.
    """

    title: str
    icon: str
    url_name: str
    permission: str = ""
    also: tuple[str, ...] = ()


GROUPS: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    ("", (Entry("Home", "home", "admin:index"),)),
    (
        DEMO,
        (
            Entry("Demo shop", "storefront", "demo:shop"),
            Entry("E-mail tool", "mark_email_unread", "demo:email-tool"),
        ),
    ),
    (
        "Audience",
        (
            Entry(
                "Customers",
                "group",
                "admin:customers_customer_changelist",
                "customers.view_customer",
            ),
            Entry(
                "Segments",
                "filter_alt",
                "admin:segments_segment_changelist",
                "segments.view_segment",
            ),
            Entry(
                "Possible duplicates",
                "join_inner",
                "admin:customers_possibleduplicate_changelist",
                "customers.view_customer",
            ),
            Entry(
                "Imports",
                "upload_file",
                "admin:customers_import_changelist",
                "customers.view_import",
            ),
            Entry("Exports", "download", "admin:cdp_export_changelist", "cdp.add_export"),
        ),
    ),
    (
        "Activate",
        (
            Entry(
                "Triggers",
                "bolt",
                "admin:activation_trigger_changelist",
                "activation.view_trigger",
            ),
            Entry(
                "Destinations",
                "send",
                "admin:activation_destination_changelist",
                "activation.view_destination",
            ),
            Entry(
                "Deliveries",
                "outbox",
                "admin:activation_delivery_changelist",
                "activation.view_delivery",
            ),
        ),
    ),
    (
        "Data",
        (
            Entry(
                "Customer fields",
                "list_alt",
                "admin:customers_customerfield_changelist",
                "customers.view_customerfield",
            ),
            Entry(
                "Event types",
                "category",
                "admin:events_eventname_changelist",
                "events.view_eventname",
            ),
            Entry(
                "Consents",
                "verified_user",
                "admin:customers_consentpurpose_changelist",
                "customers.view_consentpurpose",
            ),
            Entry(
                "Suppression list",
                "block",
                "admin:customers_suppressions",
                "customers.view_suppression",
            ),
            Entry("Live events", "sensors", "admin:events_eventname_live", "events.view_eventname"),
            Entry("Sources", "input", "admin:events_source_changelist", "events.view_source"),
            Entry(
                "Rejected events",
                "report",
                "admin:events_quarantine_changelist",
                "events.view_quarantine",
            ),
            Entry(
                "Waiting reports",
                "mark_email_unread",
                "admin:events_waiting_changelist",
                "events.view_quarantine",
            ),
        ),
    ),
    (
        "Setup",
        (
            Entry(
                "Install the tag",
                "code",
                "admin:events_source_install_any",
                "events.view_source",
                also=("events_source_install",),
            ),
            Entry(
                "Identity rules",
                "fingerprint",
                "admin:customers_identityrules_changelist",
                "customers.view_identityrules",
            ),
            Entry("API keys", "key", "admin:cdp_apikey_changelist", "cdp.view_apikey"),
            Entry(
                "Background work",
                "work_history",
                "admin:django_q_ormq_changelist",
                "django_q.view_ormq",
                also=("/admin/django_q/",),
            ),
            Entry(
                "Erasures",
                "delete_forever",
                "admin:customers_erasure_changelist",
                "customers.delete_customer",
            ),
            Entry("Users", "manage_accounts", "admin:auth_user_changelist", "auth.view_user"),
            Entry("API docs", "api", "docs"),
        ),
    ),
)


def groups(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar as unfold wants it: what exists and the user may see."""
    shown = []
    every: list[dict[str, Any]] = []
    for title, entries in GROUPS:
        if title == DEMO and not _is_demo(request):
            continue
        items = [item for entry in entries if (item := _item(entry, request))]
        if items:
            shown.append({"title": title, "items": items})
            every += items
    _mark_one(every)
    return shown


def _mark_one(items: list[dict[str, Any]]) -> None:
    """Of the lines whose page it could be, only the one that says it most closely is marked."""
    here = max(items, key=lambda item: item["active"], default=None)
    for item in items:
        item["active"] = item is here and item["active"] > 0


def _item(entry: Entry, request: HttpRequest) -> dict[str, Any] | None:
    if entry.permission and not request.user.has_perm(entry.permission):
        return None
    try:
        link = reverse(entry.url_name)
    except NoReverseMatch:
        return None
    return {
        "title": entry.title,
        "icon": entry.icon,
        "link": link,
        "active": _closeness(entry, link, request),
    }


def _closeness(entry: Entry, link: str, request: HttpRequest) -> int:
    """Say how much of the page's address a line of the sidebar names; 0 if it is elsewhere."""
    if request.resolver_match and request.resolver_match.url_name in entry.also:
        return len(request.path)
    if entry.url_name == "admin:index":
        return len(link) if request.path == link else 0
    starts = (start for start in (link, *entry.also) if request.path.startswith(start))
    return max(map(len, starts), default=0)


def tabs(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the tabs above lists that belong together."""
    work = ("ormq", "Waiting"), ("failure", "Failed"), ("schedule", "By the clock")
    return [
        {
            "models": [f"django_q.{model}" for model, _ in work],
            "items": [
                {
                    "title": title,
                    "link": reverse(f"admin:django_q_{model}_changelist"),
                    "permission": lambda request: request.user.has_perm("django_q.view_ormq"),
                }
                for model, title in work
            ],
        }
    ]


def search_page(request: HttpRequest) -> HttpResponse:
    """Answer the search of the sidebar: one page, since more than it holds is never found."""
    asked = request.GET.copy()
    asked.pop("page", None)
    request.GET = asked  # type: ignore[assignment]  # the theme trusts that it is a number
    answer: HttpResponse = admin.site.search(request)  # type: ignore[attr-defined]
    return answer


def search(request: HttpRequest, text: str) -> list[SearchResult]:
    """Find customers and segments for the search of the sidebar."""
    text = text.replace("\0", "")
    return [*_customers(request, text), *_segments(request, text)]


def _customers(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if not request.user.has_perm("customers.view_customer"):
        return
    found = customer_search.find(text, FOUND_AT_MOST)
    for customer in Customer.objects.current().filter(pk__in=found):
        note = (
            contacts.email(masking.current().fields(customer.fields))
            or customer.external_id
            or "Visitor"
        )
        yield SearchResult(str(customer), note, adminkit.customer_url(customer.pk), "person")


def _segments(request: HttpRequest, text: str) -> Iterator[SearchResult]:
    if not request.user.has_perm("segments.view_segment"):
        return
    for segment in Segment.objects.filter(name__icontains=text)[:FOUND_AT_MOST]:
        yield SearchResult(segment.name, "Segment", pages.segment_url(segment.pk), "filter_alt")


def environment(request: HttpRequest) -> tuple[str, str] | None:
    """Say in the header of every page that what one sees is made up, as long as it is."""
    if not request.user.is_authenticated:
        return None
    return ("Demo data", "info") if _is_demo(request) else None


def _is_demo(request: HttpRequest) -> bool:
    """Say whether the demo is loaded, asking the database once for each request."""
    known: bool | None = getattr(request, "cdp_is_demo", None)
    if known is None:
        known = Source.objects.filter(key__in=DEMO_SOURCE_KEYS).exists()
        request.cdp_is_demo = known  # type: ignore[attr-defined]
    return known

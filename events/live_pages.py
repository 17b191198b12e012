"""Live events: what arrives at this moment, and an event to try it with."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from customers import adminkit, exact
from events import inbox, live
from events.models import EventName, Source

NAMES_OFFERED = 500  # in the filter
LONGEST = 200  # characters of a name or CustomerId that is tried
TEST_EVENT = "Test Event"


def urls() -> list[URLPattern]:
    wrap = admin.site.admin_view
    return [
        path("live/", wrap(page), name="events_eventname_live"),
        path("live/lines/", wrap(lines), name="events_eventname_live_lines"),
        path("live/send/", wrap(send), name="events_eventname_live_send"),
    ]


def page(request: HttpRequest) -> HttpResponse:
    """What arrives at this moment."""
    context = {
        **_asked(request),
        "content_title": "Live events",
        "sources": Source.objects.all(),
        "names": EventName.objects.values_list("name", flat=True)[:NAMES_OFFERED],
        "may_send": _may_send(request),
        "test_event": TEST_EVENT,
    }
    return adminkit.page(request, "events/live.html", context, title="Live events")


def lines(request: HttpRequest) -> HttpResponse:
    return render(request, "events/live_lines.html", _asked(request))


@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Send one event as a source would, and show what becomes of it."""
    if not _may_send(request):
        raise PermissionDenied
    back = reverse("admin:events_eventname_live")
    source = Source.objects.filter(key=_text(request, "to")).first()
    name, customer = _text(request, "event") or TEST_EVENT, _text(request, "customer")
    if source is None or not customer:
        messages.error(request, "Choose a source and say whose event it is.")
        return adminkit.redirect(back)
    body = {"type": "track", "event": name, "userId": customer}
    inbox.accept(source.write_key, "track", exact.dumps(body).encode())
    messages.success(request, f"“{name}” was sent to “{source}”: it shows up here in a moment.")
    return adminkit.redirect(back)


def _text(request: HttpRequest, name: str) -> str:
    return request.POST.get(name, "").replace("\0", "").strip()[:LONGEST]


def _may_send(request: HttpRequest) -> bool:
    return bool(request.user.has_perm("events.change_source"))


def _asked(request: HttpRequest) -> dict[str, Any]:
    if not request.user.has_perm("events.view_eventname"):
        raise PermissionDenied
    asked = {
        name: request.GET.get(name, "").replace("\0", "")
        for name in ("source", "name", "state", "customer")
    }
    return {**asked, "lines": live.lines(**asked)}

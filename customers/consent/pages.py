"""The page where a customer leaves: public, by a signed link, without a cookie."""

from collections.abc import Mapping
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from customers.consent import links

VIA_PAGE: Final = "unsubscribe page"
VIA_ONE_CLICK: Final = "one-click unsubscribe"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}


# The signed address is all that a mail program has: it sends no cookie and no token (RFC 8058).
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Show the choices; a POST carries one out. To look changes nothing: scanners follow links."""
    try:
        link = links.read(token)
    except links.BadLinkError:
        return _answer(request, {"is_broken": True}, status=404)
    done = _act(request, link) if request.method == "POST" else ""
    context = {"choices": links.choices(link), "purpose": link.purpose, "done": done}
    return _answer(request, context)


def _act(request: HttpRequest, link: links.Link) -> str:
    """Do what was asked; return a word for the page."""
    asked = request.POST.get("do", "")
    if asked == "all":
        links.leave_all(link, via=VIA_PAGE)
    elif asked == "choose":
        links.choose(link, {*request.POST.getlist("purpose")}, via=VIA_PAGE)
    else:
        links.leave(link, via=VIA_PAGE if asked == "leave" else VIA_ONE_CLICK)
        asked = "leave" if link.purpose else "all"
    return asked


def _answer(request: HttpRequest, context: Mapping[str, object], status: int = 200) -> HttpResponse:
    response = render(request, "customers/unsubscribe.html", {**context}, status=status)
    for name, value in HEADERS.items():
        response[name] = value
    return response

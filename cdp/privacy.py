"""Whom a page is shown to, and the net below the masks: no address leaves for the wrong eyes."""

from collections.abc import Callable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from customers import masking
from customers.masking import Mask

_TEXTS = ("text/", "application/json", "application/x-ndjson")


class Privacy:
    """Lets pages below /admin/ know who looks, and masks e-mails and phones that they overlook.

    The REST API masks where it writes its answers: its users are known only there. They are told
    by `HasScope`; what was said ends with the request.
    """

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        user = request.user
        if request.path.startswith("/api/"):
            with masking.showing_to(None):
                answer: HttpResponseBase = self.get_response(request)
                return answer
        if not request.path.startswith("/admin/") or not user.is_authenticated:
            response: HttpResponseBase = self.get_response(request)
            return response
        with masking.showing_to(user) as mask:
            response = self.get_response(request)
            if not response.headers.get("Content-Type", "").startswith(_TEXTS) or mask.is_clear:
                return response
            return _masked(response, mask)


def _masked(response: Any, mask: Mask) -> HttpResponseBase:
    if response.streaming:
        response.streaming_content = _lines(response.streaming_content, mask)
    else:
        response.content = mask.text(response.content.decode(response.charset, "replace"))
    masked: HttpResponseBase = response
    return masked


def _lines(chunks: Any, mask: Mask) -> Iterator[bytes]:
    """Mask whole lines: an address may stand across two chunks."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield mask.text(line.decode("utf-8", "replace")).encode() + b"\n"
    if rest:
        yield mask.text(rest.decode("utf-8", "replace")).encode()

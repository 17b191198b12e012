"""Whatever name a client calls us by: events are taken, for that is no reason to lose them."""

import re
from collections.abc import Callable
from typing import Final

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase

_OF_CLIENTS: Final = ("/v1/", "/api/s/", "/beacon/", "/hooks/", "/sourceConfig", "/cdp.js")
_OF_PROBES: Final = ("/healthz", "/readyz")  # which ask by the number of the machine
_HOST: Final = re.compile(r"[\w.\-]+(?::[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?", re.ASCII)
_GIVEN: Final = "cdp.host"  # in META: the name that Django refuses, such as one with an underscore


class AnyHost:
    """Middleware: answers at the addresses of clients and of probes under any Host.

    Django refuses underscores, which names of containers have, with a page in HTML; SDKs take that
    for final and drop what they hold. Stands before whatever asks for the host.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(_OF_CLIENTS + _OF_PROBES):
            try:
                request.get_host()
            except DisallowedHost:
                request.META[_GIVEN] = request.META.get("HTTP_HOST", "")
                request.get_host = lambda: of(request)  # type: ignore[method-assign]
        return self._get_response(request)


def of(request: HttpRequest) -> str:
    """Return the name and port by which the client reached us, or localhost if that is no name."""
    given = request.META.get(_GIVEN)
    if given is None:
        return request.get_host()
    return given if _HOST.fullmatch(given) else "localhost"

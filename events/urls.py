"""The collection endpoints: every path with and without a trailing slash, never a redirect."""

from collections.abc import Callable
from typing import Final

from django.http import HttpResponseBase
from django.urls import URLPattern, re_path

from events import collection, tag
from events.mail import hook

CALLS: Final = (
    "track",
    "identify",
    "page",
    "screen",
    "group",
    "alias",
    "consent",
    "batch",
    "import",
)
LETTERS: Final = {call[0]: call for call in CALLS if call not in ("import", "consent")} | {
    "i": "identify"
}


def _path(pattern: str, view: Callable[..., HttpResponseBase], **kwargs: str) -> URLPattern:
    return re_path(rf"^{pattern}/?$", view, kwargs)


urlpatterns = [
    *(_path(f"v1/{call}", collection.collect, call=call) for call in CALLS),
    *(_path(f"v1/{letter}", collection.collect, call=call) for letter, call in LETTERS.items()),
    *(_path(rf"api/s/(?:s2s/)?{call}", collection.collect, call=call) for call in CALLS),
    _path("beacon/v1/batch", collection.collect, call="batch"),
    _path("v1/m", collection.drop),
    _path("v1/projects/(?P<write_key>[^/]+)/settings", collection.settings_of_project),
    _path("hooks/email/(?P<token>[^/]+)", hook.hook),
    _path("sourceConfig", collection.source_config),
    _path(r"cdp\.js", tag.tag),
    re_path(r"^(?:v1|beacon|hooks|api/s)/", collection.nowhere),
]

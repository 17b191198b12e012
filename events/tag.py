"""The tag: the script that websites include, at /cdp.js."""

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import condition, require_safe

_MAX_AGE = 3600  # seconds that browsers and proxies may keep it: a new version arrives within
_NAME = "cdp.js"


@lru_cache(maxsize=1)
def _script(changed_at: float) -> tuple[bytes, bytes, str]:
    """Return the script, the same compressed, and its ETag; read anew when the file changes."""
    text = _path().read_bytes()
    return text, gzip.compress(text, mtime=0), f'W/"{hashlib.sha256(text).hexdigest()[:16]}"'


def _path() -> Path:
    found = finders.find(_NAME)
    if not found:
        raise FileNotFoundError(f"static/{_NAME} is missing from this installation")
    return Path(found)


def _current() -> tuple[bytes, bytes, str]:
    return _script(_path().stat().st_mtime)


@require_safe
@condition(etag_func=lambda request: _current()[2])
def tag(request: HttpRequest) -> HttpResponseBase:
    """Answer with the tag, compressed for those who take it."""
    text, compressed, _ = _current()
    takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(
        compressed if takes_gzip else text, content_type="text/javascript; charset=utf-8"
    )
    if takes_gzip:
        response["Content-Encoding"] = "gzip"
    response["Cache-Control"] = f"public, max-age={_MAX_AGE}"
    response["Access-Control-Allow-Origin"] = "*"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response

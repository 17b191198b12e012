"""The tag: the script that websites include, at /cdp.js."""

import gzip
import hashlib
import json
from functools import lru_cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import condition, require_safe

from events import sources

_MAX_AGE = 3600  # seconds that browsers and proxies may keep it: a new version arrives within
_MAX_AGE_OF_SOURCE = 300  # the same for what a source says
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


@lru_cache(maxsize=1_000)
def _script_for(changed_at: float, told: str) -> tuple[bytes, bytes, str]:
    """Return the same for one source, with what it says in front."""
    text = told.encode() + _script(changed_at)[0]
    return text, gzip.compress(text, mtime=0), f'W/"{hashlib.sha256(text).hexdigest()[:16]}"'


def _asked_for(request: HttpRequest) -> tuple[bytes, bytes, str]:
    """Return the script, with what the source says that is named by `?key=`."""
    key = request.GET.get("key", "")
    needs_consent = sources.needs_consent(key) if key else None
    if needs_consent is None:
        return _current()
    told = json.dumps({"consent": needs_consent})
    line = f"(window.cdpSources=window.cdpSources||{{}})[{json.dumps(key)}]={told};\n"
    return _script_for(_path().stat().st_mtime, line)


def _etag(request: HttpRequest) -> str:
    request.cdp_script = _asked_for(request)  # type: ignore[attr-defined]
    return request.cdp_script[2]  # type: ignore[attr-defined]


@require_safe
@condition(etag_func=_etag)
def tag(request: HttpRequest) -> HttpResponseBase:
    """Answer with the tag, compressed for those who take it."""
    text, compressed, _ = request.cdp_script  # type: ignore[attr-defined]
    takes_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(
        compressed if takes_gzip else text, content_type="text/javascript; charset=utf-8"
    )
    if takes_gzip:
        response["Content-Encoding"] = "gzip"
    seconds = _MAX_AGE_OF_SOURCE if "key" in request.GET else _MAX_AGE
    response["Cache-Control"] = f"public, max-age={seconds}"
    response["Access-Control-Allow-Origin"] = "*"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response

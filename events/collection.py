"""The collection endpoints, as tracking SDKs speak to them: raw bodies, any method of auth, CORS.

Plain Django views: DRF's parsers and authentication refuse what real clients send.
"""

import base64
import binascii
import functools
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import django.db
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from events import hosts, inbox, payload, sources, throttle

RETRY_AFTER: Final = 2  # seconds
MAX_KEY: Final = 64  # characters

View: TypeAlias = Callable[..., HttpResponse]

logger = logging.getLogger(__name__)


class AnswerError(Exception):
    """An answer other than success."""

    def __init__(self, status: int, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


def endpoint(*methods: str) -> Callable[[View], View]:
    """Make a view speak as every collection endpoint does: CORS, and errors that SDKs can read."""

    def decorate(view: View) -> View:
        @csrf_exempt
        @functools.wraps(view)
        def endpoint(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.method == "OPTIONS":
                response = HttpResponse(status=204)
            elif request.method not in methods:
                response = _error(405, "method_not_allowed", f"Use {' or '.join(methods)} here.")
                response["Allow"] = ", ".join((*methods, "OPTIONS"))
            else:
                response = _answer(view, request, *args, **kwargs)
            return _allow_cross_origin(request, response, methods)

        return endpoint

    return decorate


def _answer(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """Call the view. Whatever the database's trouble is, the client must keep its events: 503."""
    try:
        return view(request, *args, **kwargs)
    except AnswerError as error:
        return _error(error.status, error.code, str(error), error.retry_after)
    except SuspiciousOperation as error:  # what Django would answer in HTML
        return _error(400, "malformed", str(error) or "The request cannot be read.")
    except django.db.Error as error:
        logger.warning("collection is unavailable: %s", error)
        message = "The events cannot be stored now; try again."
        return _error(503, "unavailable", message, RETRY_AFTER)


def _error(status: int, code: str, message: str, retry_after: int = 0) -> HttpResponse:
    response = JsonResponse({"code": code, "message": message}, status=status)
    if retry_after:
        response["Retry-After"] = str(retry_after)
    return response


def _allow_cross_origin(
    request: HttpRequest, response: HttpResponse, methods: tuple[str, ...]
) -> HttpResponse:
    """Let any page read the answer. Headers are echoed: retries of some SDKs add their own."""
    origin = request.headers.get("Origin")
    response["Access-Control-Allow-Origin"] = origin or "*"
    response["Access-Control-Expose-Headers"] = "Retry-After"
    if origin:
        response["Access-Control-Allow-Credentials"] = "true"
    if request.method == "OPTIONS":
        response["Access-Control-Allow-Methods"] = ", ".join((*methods, "OPTIONS"))
        asked = request.headers.get("Access-Control-Request-Headers")
        response["Access-Control-Allow-Headers"] = asked or "Authorization, Content-Type"
        response["Access-Control-Max-Age"] = "86400"
    patch_vary_headers(response, ["Origin"])
    return response


@endpoint("POST")
def collect(request: HttpRequest, call: str) -> HttpResponse:
    """Take one event or a batch. 200 means that it is durably stored."""
    body = read_body(request)
    value = _read(body)
    key = _key(request) or _masked_key(value)
    if key:
        _admit(key, value)
    if not (key and inbox.accept(key, call, body)):
        raise AnswerError(401, "invalid_write_key", "No source has this write key.")
    return JsonResponse({"success": True})


def _admit(key: str, value: dict[str, Any]) -> None:
    """Refuse what is beyond the source's limit, saying when to come again."""
    batch = value.get("batch")
    wait = throttle.ask(key, len(batch) if isinstance(batch, list) else 1)
    if wait:
        raise AnswerError(429, "rate_limited", "Too many events; send them again later.", wait)


@endpoint("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
def nowhere(request: HttpRequest, **_: str) -> HttpResponse:
    """Tell a client that calls a wrong address so in its own words, not by a page for people."""
    raise AnswerError(
        404, "not_found", "There is nothing here; events go to /v1/track or /v1/batch."
    )


@endpoint("POST")
def drop(request: HttpRequest) -> HttpResponse:
    """Take the SDKs' metrics about themselves, and forget them."""
    return JsonResponse({"success": True})


@endpoint("GET")
def settings_of_project(request: HttpRequest, write_key: str) -> HttpResponse:
    """What analytics.js asks before it sends; with no integration it would send nothing."""
    _known(write_key)
    integration = {
        "apiKey": write_key,
        "apiHost": f"{hosts.of(request)}/v1",
        "protocol": request.scheme,
    }
    return JsonResponse({"integrations": {"Segment.io": integration}, "metrics": {"sampleRate": 0}})


@endpoint("GET")
def source_config(request: HttpRequest) -> HttpResponse:
    """What RudderStack's browser SDK asks before it sends."""
    key = _known(_key(request))
    source = {"id": key, "name": key, "writeKey": key, "enabled": True}
    return JsonResponse({"source": source | {"config": {}, "destinations": []}})


def _known(write_key: str) -> str:
    if not sources.exists(_plausible(write_key)):
        raise AnswerError(401, "invalid_write_key", "No source has this write key.")
    return write_key


def read_body(request: HttpRequest) -> bytes:
    """Read the raw body, whatever its Content-Type says, and unpack it."""
    limit = settings.MAX_REQUEST_BYTES
    try:
        raw = _stream(request).read(limit + 1)
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        return payload.decompress(raw, encoding, limit)
    except payload.TooLargeError as error:
        raise AnswerError(413, "too_large", str(error)) from error
    except payload.MalformedError as error:
        raise AnswerError(400, "malformed", str(error)) from error
    except OSError as error:
        raise AnswerError(400, "malformed", "The request broke off.") from error


def _stream(request: HttpRequest) -> Any:
    """Return what to read from. A chunked body has no length, and Django takes it for empty."""
    is_chunked = not request.META.get("CONTENT_LENGTH")
    if is_chunked and request.META.get("wsgi.input_terminated"):
        return request.META["wsgi.input"]
    return request


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = payload.read(body).value
    except payload.MalformedError as error:
        raise AnswerError(400, "malformed", str(error)) from error
    if not isinstance(value, dict):
        raise AnswerError(400, "malformed", "The body must be a JSON object.")
    return value


def _key(request: HttpRequest) -> str:
    """Return the write key, from where the SDK at hand puts it."""
    basic = _basic_user(request.headers.get("Authorization", ""))
    key = basic or request.headers.get("X-Write-Key") or request.GET.get("writeKey") or ""
    return _plausible(key)


def _masked_key(value: dict[str, Any]) -> str:
    """Return the key in the body: the last place to look, since one SDK masks it there."""
    key = value.get("writeKey")
    return _plausible(key) if isinstance(key, str) else ""


def _plausible(key: str) -> str:
    """Return the key without what some clients demand after a colon, a secret we do not need."""
    key, _, _ = key.partition(":")
    return key if len(key) <= MAX_KEY and key.isascii() and key.isprintable() else "?"


def _basic_user(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip()).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""

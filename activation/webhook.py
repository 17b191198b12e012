"""Webhooks: a signed HTTP request for each message, as Standard Webhooks has it."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from threading import Lock
from typing import Any
from uuid import UUID

import httpcore2
import httpx2

from activation import addresses, bodies, carriers, network
from activation.carriers import Answer, ConfigError, Kind, Message, Request
from activation.templating import TemplateError

CONNECT_SECONDS = 3.0
READ_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024
KEPT_ANSWER_BYTES = 2 * 1024
MAX_CONNECTIONS = 256  # as many as there are threads, or hanging receivers block the others
# Idle connections are dropped before receivers do it: a request on one that is just being closed
# is lost.
KEEP_ALIVE_SECONDS = 1.5
SECRET_PREFIX = "whsec_"  # noqa: S105

_MAX_URL = 2_000
_AGENT = "CDP-Webhooks/1"


class SecretError(Exception):
    """The secret of a destination cannot be read."""


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`. Raises SecretError."""
    if not secret.startswith(SECRET_PREFIX):
        raise SecretError("its secret cannot be decrypted: was CDP_SECRET_KEY changed?")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise SecretError("its secret is not whsec_ and base64") from error
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


METHODS = ("POST", "PUT", "PATCH")
MAX_HEADERS = 20
_MEMBERS = {"url", "method", "headers", "template", "mapping", "batch"}
_OURS = re.compile(r"host|content-length|connection|transfer-encoding|webhook-.*|expect|upgrade|te")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


def check(config: Any) -> None:
    """Raise ConfigError unless this is {"url": …}, and more if wanted, that we could call."""
    url = config.get("url") if isinstance(config, dict) else None
    if not isinstance(url, str) or not url:
        raise ConfigError("url", 'A webhook needs {"url": "https://…"}.')
    if unknown := sorted(map(str, config.keys() - _MEMBERS)):
        known = ", ".join(sorted(_MEMBERS))
        raise ConfigError(unknown[0][:50], f"Unknown here; a webhook has {known}.")
    _check_url(url)
    if config.get("method", "POST") not in METHODS:
        raise ConfigError("method", f"One of {', '.join(METHODS)}.")
    _check_headers(config.get("headers", {}))
    bodies.check(config)


def _check_headers(headers: Any) -> None:
    if not isinstance(headers, dict) or len(headers) > MAX_HEADERS:
        raise ConfigError("headers", f"An object of at most {MAX_HEADERS} names and values.")
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or _OURS.fullmatch(name.lower()):
            raise ConfigError("headers", f"{name[:100]!r} cannot be set as a header.")
        if not isinstance(value, str) or not 0 < len(value) <= 4_000 or not _is_plain(value):
            raise ConfigError("headers", f"The value of {name} must be a text in one line, ASCII.")


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _check_url(text: str) -> None:
    if len(text) > _MAX_URL:
        raise ConfigError("url", f"Longer than {_MAX_URL:,} characters.")
    try:
        url = httpx2.URL(text.strip())
    except httpx2.InvalidURL as error:
        raise ConfigError("url", f"Not a web address: {error}.") from error
    if url.scheme not in ("http", "https"):
        raise ConfigError("url", "A web address begins with https:// or http://.")
    if url.userinfo:
        raise ConfigError("url", "Leave out the user and password: anybody here could read them.")
    if url.port is not None and not 0 < url.port < 65_536:
        raise ConfigError("url", "The port is not between 1 and 65535.")
    _check_host(url.raw_host.decode("ascii"))


def _check_host(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    is_possible = re.fullmatch(r"[a-z0-9._:-]{1,253}", host) is not None
    if not is_possible or not all(label and len(label) < 64 for label in labels):
        raise ConfigError("url", "The address has no host, or one that cannot exist.")
    address = "127.0.0.1" if host == "localhost" else _literal(host)
    if address and not addresses.is_allowed(address):
        raise ConfigError(
            "url",
            f"{host} is not on the public internet. Whoever runs this server can open a private "
            "network with CDP_WEBHOOK_ALLOW_PRIVATE.",
        )


def _literal(host: str) -> str | None:
    """Return the address that a host spells out, also in the ways only C libraries know."""
    if ":" in host:
        return host
    with suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return None


class Webhooks:
    """Sends messages to webhooks, and keeps connections open for a moment."""

    def __init__(self, opened: ExitStack) -> None:
        self._opened = opened
        self._lock = Lock()
        self._pool_of: dict[str, httpcore2.ConnectionPool] = {}

    def _pool(self, scheme: str) -> httpcore2.ConnectionPool:
        with self._lock:
            if scheme not in self._pool_of:
                pool = httpcore2.ConnectionPool(
                    ssl_context=_tls() if scheme == "https" else None,
                    max_connections=MAX_CONNECTIONS,
                    keepalive_expiry=KEEP_ALIVE_SECONDS,
                    network_backend=network.GuardedBackend(),
                )
                self._pool_of[scheme] = self._opened.enter_context(pool)
            return self._pool_of[scheme]

    def send(self, message: Message) -> Answer:
        """Attempt once. Success is a status of 2xx, whatever then becomes of the body."""
        began = time.monotonic()
        body = ""
        try:
            body = bodies.write(message)
            with network.deadline(carriers.SECONDS):
                answer = self._post(message, body.encode())
        except (SecretError, TemplateError) as error:
            answer = Answer(None, 0, f"Not sent: {str(error).rstrip('.')}.", is_ours=True)
        except (httpcore2.TimeoutException, httpcore2.NetworkError) as error:
            answer = Answer(None, 0, _explain(error))
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol, OSError) as error:
            answer = Answer(None, 0, f"The answer was not HTTP: {error}"[:300])
        return answer._replace(ms=round((time.monotonic() - began) * 1_000), sent=body)

    def _post(self, message: Message, body: bytes) -> Answer:
        target = _target(message.config["url"])
        steps = {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS}
        with self._pool(target.scheme.decode()).stream(
            message.config.get("method", "POST"),
            target,
            headers=[*_signed(message, body, int(time.time())).items()],
            content=body,
            extensions={"timeout": steps | {"pool": CONNECT_SECONDS}},
        ) as response:
            status = response.status
            received = {name.lower(): value for name, value in response.headers}
            retry_after = _retry_after(received.get(b"retry-after", b""))
            text = _read(response)
        return Answer(status, 0, _verdict(status), text, retry_after)


@contextmanager
def carrier() -> Iterator[Webhooks]:
    """Open connections as needed within the block, and close them at its end."""
    with ExitStack() as opened:
        yield Webhooks(opened)


@lru_cache(maxsize=256)
def _target(url: str) -> httpcore2.URL:
    parsed = httpx2.URL(url.strip())
    return httpcore2.URL(
        scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
    )


@lru_cache(maxsize=256)
def _host(url: str) -> str:
    return httpx2.URL(url.strip()).netloc.decode("ascii")


@cache
def _tls() -> ssl.SSLContext:
    """Load the certificates that are trusted: once, for it takes longer than a request."""
    return httpcore2.default_ssl_context()


def describe(message: Message) -> Request:
    """Return a request as it is sent, all but its time, its signature and its secret headers."""
    try:
        body = bodies.write(message)
    except TemplateError as error:
        raise ConfigError("template", str(error)) from error
    shown = _headers(message, body.encode()) | {
        "webhook-timestamp": "(seconds since 1970, at each attempt)",
        "webhook-signature": carriers.HIDDEN,
    }
    hidden = dict.fromkeys(message.config.get("headers", {}), carriers.HIDDEN)
    return Request(
        message.config.get("method", "POST"), message.config["url"], {**shown, **hidden}, body
    )


def _signed(message: Message, body: bytes, timestamp: int) -> dict[str, str]:
    number = _id(message, body)
    signatures = (sign(secret, number, timestamp, body) for secret in message.secrets)
    return _headers(message, body) | {
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _id(message: Message, body: bytes) -> str:
    """Return the id of a request. Of a batch it depends on the bytes: same id, same bytes."""
    if len(message.parts) == 1:
        return str(message.id)
    return str(UUID(bytes=hashlib.sha256(message.id.bytes + body).digest()[:16], version=5))


def _headers(message: Message, body: bytes) -> dict[str, str]:
    ours = {
        "Host": _host(message.config["url"]),
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": _AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "webhook-id": _id(message, body),
    }
    wished = message.config.get("headers", {})
    replaced = {name.lower() for name in wished}
    return {name: value for name, value in ours.items() if name.lower() not in replaced} | wished


class WebhookKind(Kind):
    label = "Webhook"

    def check(self, config: Any) -> None:
        check(config)

    def secret_paths(self, config: dict[str, Any]) -> list[tuple[str, ...]]:
        return [("headers", name) for name in config.get("headers", {})]

    def receiver(self, config: dict[str, Any]) -> str:
        url = httpx2.URL(config["url"].strip())
        return f"{url.scheme}://{url.netloc.decode('ascii')}"

    def where(self, config: dict[str, Any]) -> str:
        return str(config.get("url", ""))

    def words(self, message: Message) -> str:
        return bodies.write(message)

    def describe(self, message: Message) -> Request:
        return describe(message)

    def carrier(self) -> AbstractContextManager[Webhooks]:
        return carrier()


def _read(response: httpcore2.Response) -> str:
    """Return the beginning of the answer's body; a broken or endless one is cut off."""
    read = bytearray()
    with suppress(httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError):
        for chunk in response.iter_stream():
            read += chunk
            if len(read) >= MAX_ANSWER_BYTES:
                break
    return read[:KEPT_ANSWER_BYTES].decode(errors="replace")


def _retry_after(value: bytes) -> float | None:
    """Read the header Retry-After: seconds or a date; return seconds from now."""
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _verdict(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"Answered {status}: redirects are not followed, enter the final address."
    return f"Answered {status}."


# By the codes of OpenSSL, X509_V_ERR_…: what people find out there, and can mend.
_CERTIFICATES = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, so that nobody vouches for it",
    19: "its certificate comes from an authority that is not trusted here",
    20: "its certificate comes from an authority that is not trusted here, or the server does not "
    "send the intermediate certificates",
    62: "its certificate is for another host name",
    64: "its certificate is for another host name",
}


def _why_not(error: Exception) -> str:
    """Say what kept a connection from being made, in words for people where they are known."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _CERTIFICATES:
        return _CERTIFICATES[cause.verify_code]
    if isinstance(cause, ssl.SSLError) and cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return "it does not speak HTTPS on this port; perhaps the address begins with http://"
    if isinstance(cause, ConnectionRefusedError):
        return "nobody listens at this address (connection refused)"
    return str(error).rstrip(".")


def _explain(error: Exception) -> str:
    """Say in a sentence why there was no answer."""
    match error:
        case network.RefusedAddressError():
            return (
                f"Refused: {error}. Whoever runs this product can open private networks with "
                "CDP_WEBHOOK_ALLOW_PRIVATE."
            )
        case network.UnknownHostError():
            return f"Not connected: {error}."
        case network.DeadlineError():
            return f"No complete answer within {carriers.SECONDS:g} seconds."
        case httpcore2.ConnectTimeout():
            return f"Not connected within {CONNECT_SECONDS:g} seconds."
        case httpcore2.ConnectError():
            return f"Not connected: {_why_not(error)}."
        case httpcore2.TimeoutException():
            return f"No answer within {READ_SECONDS:g} seconds."
    return f"The connection broke: {error}."

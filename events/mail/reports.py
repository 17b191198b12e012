"""A report of an e-mail tool as it came → events of the customer, called as everywhere."""

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from typing import Any, Final

from anymail.signals import AnymailTrackingEvent, EventType
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from customers import exact
from events.mail import providers
from events.models import Source

DELIVERED: Final = "Email Delivered"
OPENED: Final = "Email Opened"
CLICKED: Final = "Email Link Clicked"
BOUNCED: Final = "Email Bounced"
COMPLAINED: Final = "Email Marked as Spam"
UNSUBSCRIBED: Final = "Unsubscribed"
NAMES: Final = {
    EventType.DELIVERED: DELIVERED,
    EventType.OPENED: OPENED,
    EventType.CLICKED: CLICKED,
    EventType.BOUNCED: BOUNCED,
    EventType.REJECTED: BOUNCED,
    EventType.COMPLAINED: COMPLAINED,
    EventType.UNSUBSCRIBED: UNSUBSCRIBED,
}
_CAMPAIGN: Final = ("campaign", "campaign_name", "campaign_id", "campaignId", "utm_campaign")
_SUBJECT: Final = ("subject", "Subject")
_SOFT: Final = {"softbounce", "transient", "temporary", "blocked", "undetermined", "soft"}
_TEXT: Final = 500  # characters of what a service explains


class UnreadableError(ValueError):
    """A report that its service's reader cannot make sense of. The message is for people."""


def pack(request: HttpRequest, body: bytes) -> bytes:
    """Write a request down as it came, for the inbox."""
    headers = {k: v for k, v in request.META.items() if k.startswith("HTTP_X_AMZ")}
    kept = {
        "contentType": request.META.get("CONTENT_TYPE", ""),
        "headers": headers,
        "body": base64.b64encode(body).decode(),
    }
    return exact.dumps(kept).encode()


def events(source: Source, packed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the events that a report tells of, as track calls. Raises `UnreadableError`.

    What says nothing about a person (queued, deferred, a bot's answer) is left out.
    """
    if source.provider not in providers.PROVIDERS:
        raise UnreadableError("The source does not say which service sends the e-mails.")
    try:
        parsed = providers.parse(source.provider, _unpacked(packed))
    except Exception as error:  # a stranger's bytes, in somebody else's parser
        label = providers.PROVIDERS[source.provider].label
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise UnreadableError(f"This is no report of {label} ({reason}).") from error
    return list(_calls(source.provider, parsed))


def confirmation(packed: Mapping[str, Any]) -> str:
    """Return the link that Amazon asks somebody to open before it reports anything, or ""."""
    if packed.get("headers", {}).get("HTTP_X_AMZ_SNS_MESSAGE_TYPE") != "SubscriptionConfirmation":
        return ""
    try:
        return str(exact.loads(_body(packed)).get("SubscribeURL", ""))
    except (ValueError, AttributeError):
        return ""


def _body(packed: Mapping[str, Any]) -> bytes:
    return base64.b64decode(str(packed.get("body", "")))


def _unpacked(packed: Mapping[str, Any]) -> HttpRequest:
    body = _body(packed)
    return WSGIRequest(
        {
            **packed.get("headers", {}),
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "CONTENT_TYPE": packed.get("contentType", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
    )


def _calls(provider: str, parsed: Iterable[AnymailTrackingEvent]) -> Iterable[dict[str, Any]]:
    for event in parsed:
        name = NAMES.get(event.event_type)
        if name and event.recipient:
            yield {
                "type": "track",
                "event": name,
                "messageId": _message_id(provider, event),
                "timestamp": event.timestamp.isoformat() if event.timestamp else None,
                "traits": {"email": event.recipient},
                "properties": _properties(provider, name, event),
            }


def _properties(provider: str, name: str, event: AnymailTrackingEvent) -> dict[str, Any]:
    esp = event.esp_event if isinstance(event.esp_event, Mapping) else {}
    metadata = event.metadata or {}
    properties = {
        "email_id": event.message_id,
        "campaign": _first(metadata, _CAMPAIGN) or next(iter(event.tags or []), None),
        "link": event.click_url,
        "subject": _first(metadata, _SUBJECT) or _first(esp, _SUBJECT),
        "tags": [*(event.tags or [])],
        "description": event.description,
        "answer": event.mta_response,
        "provider": providers.PROVIDERS[provider].label,
    }
    if name == BOUNCED:
        properties["bounce_type"] = "soft" if _is_soft(esp) else "hard"
        properties["reason"] = event.reject_reason
    kept = {key: v for key, v in properties.items() if v not in (None, "", [])}
    return {key: v[:_TEXT] if isinstance(v, str) else v for key, v in kept.items()}


def _first(values: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    found = (values.get(key) for key in keys)
    return next((str(value) for value in found if isinstance(value, str | int)), None)


def _is_soft(esp: Mapping[str, Any]) -> bool:
    """Tell a message that bounced for now from an address that takes none at all."""
    if esp.get("hard_bounce") is False:  # Mailjet
        return True
    inner = [esp, *(v for v in esp.values() if isinstance(v, Mapping))]
    inner += [v for one in inner[1:] for v in one.values() if isinstance(v, Mapping)]
    told = [one.get(key) for one in inner for key in ("Type", "type", "bounceType", "severity")]
    return any(isinstance(value, str) and value.lower() in _SOFT for value in told)


def _message_id(provider: str, event: AnymailTrackingEvent) -> str:
    """Name a report so that its copy is known; several services give it no id of its own."""
    told = (
        *(provider, event.event_id, event.message_id, event.event_type, event.recipient),
        *(event.timestamp, event.click_url),
    )
    return "mail-" + hashlib.sha256("\0".join(map(str, told)).encode()).hexdigest()

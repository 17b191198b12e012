"""The demo's e-mail tool: plays another company's program that gets messages from the CDP.

So it checks signatures by itself, as a stranger would who has read the Standard Webhooks
specification.
"""

import base64
import hashlib
import hmac
import json
import time
from datetime import datetime
from typing import Any

from django.db.models import F
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from activation.models import Destination
from cdp.demo import sending, state
from cdp.demo.models import Message

_SHOWN, _KEPT = 50, 1_000  # messages
_TOLERANCE = 300  # seconds that the clock of the sender may differ


@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def inbox(request: HttpRequest) -> HttpResponse:
    """Show the messages received; take one by POST."""
    if not state.is_open():
        return render(request, "demo/closed.html", status=404)
    if request.method == "POST":
        return _receive(request)
    return render(request, "demo/email_tool.html", _context(request))


@never_cache
@require_safe
def messages(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes."""
    if not state.is_open():
        return HttpResponse(status=404)
    return render(request, "demo/messages.html", _context(request))


def _receive(request: HttpRequest) -> JsonResponse:
    """Keep a message once, however often it comes; refuse it unless its signature is right."""
    message_id = request.headers.get("webhook-id", "")
    if not message_id or not _is_signed(request, message_id):
        return JsonResponse({"error": "The signature is not right."}, status=401)
    message, is_new = Message.objects.get_or_create(
        pk=message_id, defaults={"body": json.loads(request.body)}
    )
    if not is_new:
        Message.objects.filter(pk=message.pk).update(copies=F("copies") + 1)
    oldest_kept = Message.objects.values_list("received_at", flat=True)[_KEPT - 1 : _KEPT].first()
    if oldest_kept:
        Message.objects.filter(received_at__lt=oldest_kept).delete()
    return JsonResponse({"status": "received"})


def _is_signed(request: HttpRequest, message_id: str) -> bool:
    destination = Destination.objects.filter(key=sending.EMAIL_TOOL).first()
    timestamp = request.headers.get("webhook-timestamp", "")
    if destination is None or not timestamp.isdecimal():
        return False
    if abs(time.time() - int(timestamp)) > _TOLERANCE:
        return False
    key = base64.b64decode(destination.secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), timestamp.encode(), request.body))
    wanted = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = request.headers.get("webhook-signature", "").split()
    return any(
        version == "v1" and hmac.compare_digest(signature.encode(), wanted.encode())
        for version, _, signature in (each.partition(",") for each in given)
    )


def _context(request: HttpRequest) -> dict[str, Any]:
    shows_all = bool(request.user.is_authenticated and request.user.is_staff)
    return {
        "total": Message.objects.count(),
        "messages": [
            _mail(message, shows_all=shows_all) for message in Message.objects.all()[:_SHOWN]
        ],
    }


def _mail(message: Message, *, shows_all: bool) -> dict[str, Any]:
    """Return what the page says of a message; strangers see who it is for, but not how to reach."""
    data = message.body.get("data", {})
    customer = data.get("customer", {})
    fields = customer.get("fields", {})
    first_name, last_name, email = (
        str(fields.get(name, "")) for name in ("firstName", "lastName", "email")
    )
    if not shows_all:
        last_name, email = _initial(last_name), _masked(email)
    return {
        "id": message.pk,
        "received_at": message.received_at,
        "copies": message.copies,
        "seconds": _seconds_since(message, data),
        "name": f"{first_name} {last_name}".strip(),
        "email": email,
        "customer_id": customer.get("customer_id") or "A visitor",
        "verb": "left" if message.body.get("type") == "segment.left" else "entered",
        "segment": data.get("segment", {}).get("name", ""),
        "trigger": data.get("trigger", ""),
        "greeting": f"Dear {first_name or 'friend of music'}\nThank you for being one of our best "
        "customers. Your next delivery is on us.",
    }


def _initial(name: str) -> str:
    return f"{name[:1]}." if name else ""


def _masked(email: str) -> str:
    name, at, host = email.partition("@")
    return f"{name[:1]}…@{host}" if at else ""


def _seconds_since(message: Message, data: dict[str, Any]) -> str | None:
    """Return how long it took from the membership to here, as "0.3"; None if that is unknown."""
    try:
        entered_at = datetime.fromisoformat(data["membership"]["entered_at"])
        return f"{(message.received_at - entered_at).total_seconds():.1f}"
    except (KeyError, TypeError, ValueError):
        return None

"""What a proxy in front tells about who asks."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return where a request comes from: its own address or, behind a proxy, what that one saw.

    Only the last address of X-Forwarded-For is the proxy's word; anybody can write those before.
    """
    own: str = request.META.get("REMOTE_ADDR") or ""
    if not settings.HTTPS:
        return own
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or own

"""Keys to the REST API: making them, recognising them, and what each may do."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.utils.timezone import now
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from cdp.models import ApiKey

RESOURCES = (
    "customers",
    "customer-fields",
    "imports",
    "events",
    "sources",
    "segments",
    "activation",
)
ALL_SCOPES = tuple(f"{resource}:{right}" for resource in RESOURCES for right in ("read", "write"))
PREFIX = "cdp_"
USE_NOTED_EVERY = timedelta(minutes=1)


class UnknownScopeError(ValueError):
    """A scope that is not `<resource>:read` or `<resource>:write`."""


def create(name: str, scopes: Collection[str] = ALL_SCOPES) -> tuple[ApiKey, str]:
    """Make a key; return its row and the key itself, which cannot be read again later.

    Raises `UnknownScopeError`, naming the scopes there are.
    """
    if unknown := sorted(set(scopes) - set(ALL_SCOPES)):
        raise UnknownScopeError(
            f"unknown scopes {', '.join(unknown)}; there are {', '.join(ALL_SCOPES)}"
        )
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey.objects.create(
        name=name, prefix=key[:12], digest=_digest(key), scopes=sorted(scopes)
    )
    return row, key


def _digest(key: str) -> str:
    """SHA-256 is enough for a secret of 256 random bits, and fast."""
    return hashlib.sha256(key.encode()).hexdigest()


class ApiKeyUser:
    """Who a request with an API key is: no user of the admin, but a name for the audit."""

    is_authenticated = True
    is_active = True
    is_staff = False
    pk = None

    def __init__(self, key: ApiKey) -> None:
        self.key = key

    def __str__(self) -> str:
        return f'API key "{self.key.name}"'


class ApiKeyAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer KEY`."""

    def authenticate(self, request: Request) -> tuple[ApiKeyUser, ApiKey] | None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        row = ApiKey.objects.filter(digest=_digest(key.strip()), revoked_at=None).first()
        if row is None:
            raise exceptions.AuthenticationFailed("This API key is unknown or was revoked.")
        if row.last_used_at is None or row.last_used_at < now() - USE_NOTED_EVERY:
            ApiKey.objects.filter(pk=row.pk).update(last_used_at=Now())
        return ApiKeyUser(row), row

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class HasScope(permissions.BasePermission):
    """A key needs the scope of the view's `resource`; staff need Django's permission for it.

    A view names its `resource` (one of RESOURCES) and, for staff, its `model`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        reads = request.method in permissions.SAFE_METHODS or getattr(
            view, "action", None
        ) in getattr(view, "reading_actions", ())
        if isinstance(request.auth, ApiKey):
            return f"{view.resource}:{'read' if reads else 'write'}" in request.auth.scopes
        user = request.user
        if not (user and user.is_authenticated and user.is_staff and user.is_active):
            return False
        model = view.model
        needed = "view" if reads else {"POST": "add", "DELETE": "delete"}.get(
            str(request.method), "change"
        )
        return user.has_perm(f"{model._meta.app_label}.{needed}_{model._meta.model_name}")

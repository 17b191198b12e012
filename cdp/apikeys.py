"""Keys to the REST API: making them, recognising them, and what each may do."""

import hashlib
import secrets
import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.utils.timezone import now
from rest_framework import authentication, exceptions, permissions, throttling
from rest_framework.request import Request

from cdp.models import ApiKey
from customers import masking

RESOURCES = (
    "customers",
    "customer-fields",
    "imports",
    "exports",
    "events",
    "sources",
    "segments",
    "activation",
    "consents",
    "identity-rules",
)
PERSONAL_DATA = "personal-data:read"  # without it, answers are masked
ALL_SCOPES = (
    *(f"{resource}:{right}" for resource in RESOURCES for right in ("read", "write")),
    PERSONAL_DATA,
)
PREFIX = "cdp_"
USE_NOTED_EVERY = timedelta(minutes=1)
REQUESTS_A_MINUTE = 6_000  # of one key or user, in each web process


class BadNameError(ValueError):
    """A name that is empty or longer than 100 characters."""


class NameTakenError(ValueError):
    """There is a key of this name already."""


class UnknownScopeError(ValueError):
    """A scope that is not `<resource>:read` or `<resource>:write`."""


def create(name: str, scopes: Collection[str] = ALL_SCOPES) -> tuple[ApiKey, str]:
    """Make a key; return its row and the key itself, which cannot be read again later.

    Raises `UnknownScopeError`, naming the scopes there are, `NameTakenError` and `BadNameError`.
    """
    if not 0 < len(name.strip()) <= 100:
        raise BadNameError("the name of an API key has 1 to 100 characters")
    if unknown := sorted(set(scopes) - set(ALL_SCOPES)):
        raise UnknownScopeError(
            f"unknown scopes {', '.join(unknown)}; there are {', '.join(ALL_SCOPES)}"
        )
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(name=name, prefix=key[:12], digest=_digest(key), scopes=sorted(scopes))
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise NameTakenError(
            f'there is an API key "{name}" already, and it cannot be read again: '
            "choose another name, or delete that key in the admin first"
        ) from None
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

    def has_perm(self, permission: str) -> bool:
        """Say whether the key sees personal data; all else goes by scopes."""
        return permission == masking.PERMISSION and PERSONAL_DATA in self.key.scopes

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

    A view names its `resource` (one of RESOURCES) and, for staff, its `model`; where writing means
    to change something else, also what it is `part_of`. An action that only reads in spite of its
    method stands in `reading_actions`; one that also shows things of other resources names them in
    `also_reads`.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        masking.show_to(request.user)
        reads = request.method in permissions.SAFE_METHODS or getattr(
            view, "action", None
        ) in getattr(view, "reading_actions", ())
        if isinstance(request.auth, ApiKey):
            needed = {f"{view.resource}:{'read' if reads else 'write'}"}
            needed |= {f"{resource}:read" for resource in getattr(view, "also_reads", ())}
            return needed <= set(request.auth.scopes)
        user = request.user
        if not (user and user.is_authenticated and user.is_staff and user.is_active):
            return False
        model = view.model
        if reads:
            right = "view"
        elif hasattr(view, "part_of"):
            model, right = view.part_of, "change"
        else:
            right = {"POST": "add", "DELETE": "delete"}.get(str(request.method), "change")
        return user.has_perm(f"{model._meta.app_label}.{right}_{model._meta.model_name}")


def require(request: Request, resource: str, permission: str) -> None:
    """Raise `PermissionDenied` unless a key may also write this resource, or staff may do this."""
    if isinstance(request.auth, ApiKey):
        is_allowed = f"{resource}:write" in request.auth.scopes
    else:
        is_allowed = bool(request.user and request.user.has_perm(permission))
    if not is_allowed:
        raise exceptions.PermissionDenied(f"This needs the right to write {resource}, too.")


class Throttle(throttling.BaseThrottle):
    """So many requests a minute for each key and user, in each web process; then 429."""

    def allow_request(self, request: Request, view: Any) -> bool:
        who = request.auth.digest if isinstance(request.auth, ApiKey) else request.user.pk
        minute = f"requests:{who}:{int(time.time() // 60)}"
        if cache.add(minute, 1, timeout=60):
            return True
        try:
            return cache.incr(minute) <= REQUESTS_A_MINUTE
        except ValueError:  # a full cache has dropped it
            return True

    def wait(self) -> float:
        return 60 - time.time() % 60

"""People who were erased and must not come back by themselves, known by keyed hashes only."""

import hashlib
import hmac
from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import lru_cache

from django.conf import settings

from customers import clock
from customers.matching import CUSTOMER_ID, Key
from customers.models import Tombstone
from customers.sql import identities

REASON = (
    "This person was erased and is kept out. An administrator can let them in again: "
    "manage.py readmit."
)


def digest(key: Key) -> str:
    """Return the keyed hash of an identifier, 64 hexadecimal digits. The key is the secret key."""
    kind, value = key
    return hmac.digest(_key(settings.SECRET_KEY), f"{kind}:{value}".encode(), "sha256").hex()


@lru_cache(maxsize=1)
def _key(secret: str) -> bytes:
    return hashlib.sha256(b"erased people\0" + secret.encode()).digest()


def erased(keys: Collection[Key]) -> set[Key]:
    """Return those normalised identifiers that are kept out.

    Until the transaction ends, nobody else is erased: what is not kept out may be written.
    """
    identities.hold_identities(exclusive=False)
    if not Tombstone.objects.exists():
        return set()
    key_of = {digest(key): key for key in keys}
    found = Tombstone.objects.filter(digest__in=[*key_of])
    if settings.TOMBSTONE_DAYS:
        found = found.filter(at__gt=clock.now() - timedelta(days=settings.TOMBSTONE_DAYS))
    return {key_of[row] for row in found.values_list("digest", flat=True)}


def is_barred(keys: Iterable[Key], out: Collection[Key]) -> bool:
    """Whether somebody known by these may not come in, since some of them are kept `out`.

    Who has a CustomerId that is not kept out is somebody: a new customer at an old address.
    """
    keys = [*keys]
    is_known = any(key[0] == CUSTOMER_ID and key not in out for key in keys)
    return not is_known and any(key in out for key in keys)


def place(digests: Iterable[str]) -> None:
    """Keep these out from now on; what is past its time is forgotten."""
    if settings.TOMBSTONE_DAYS:
        oldest = clock.now() - timedelta(days=settings.TOMBSTONE_DAYS)
        Tombstone.objects.filter(at__lte=oldest).delete()
    Tombstone.objects.bulk_create(
        [Tombstone(digest=each) for each in sorted({*digests})],
        update_conflicts=True,
        unique_fields=["digest"],
        update_fields=["at"],
    )


def lift(key: Key) -> bool:
    """Let an identifier in again; say whether it was kept out."""
    return Tombstone.objects.filter(digest=digest(key)).delete()[0] > 0

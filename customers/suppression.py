"""Addresses that nothing may be sent to: bounced, complained, unsubscribed, or put here by hand."""

from collections.abc import Collection, Iterable

from django.db import transaction
from django.utils.crypto import salted_hmac

from customers import identity
from customers.models import Suppression, SuppressionRemoval

AT_ONCE = 5_000  # rows of one statement
HASHED = "hash:"  # begins what stands for an address that was forgotten


def add(kind: str, values: Iterable[str], reason: str, source: str) -> int:
    """Suppress addresses of a kind (email, phone) from now on; return how many were new.

    `reason` is one of `Suppression.Reason`, `source` text for people. What is no address (see
    `identity.normalise`) is left out; what is suppressed keeps its first reason.
    """
    wanted = sorted({v for value in values if (v := identity.normalise(kind, value))})
    present = _found(kind, wanted)
    new = [value for value in wanted if value not in present]
    Suppression.objects.bulk_create(
        [Suppression(kind=kind, value=value, reason=reason, source=source) for value in new],
        ignore_conflicts=True,
        batch_size=AT_ONCE,
    )
    return len(new)


@transaction.atomic
def remove(kind: str, values: Iterable[str], by: str) -> int:
    """Let addresses be written to again, if their owners agree; return how many were found.

    `by` is a text for people: who did so is kept, with what stood in the list.
    """
    wanted = {v for value in values if (v := identity.normalise(kind, value) or _as_hash(value))}
    found = Suppression.objects.filter(kind=kind, value__in=wanted | {*map(_hash, wanted)})
    rows = [*found.select_for_update().order_by("value")]
    SuppressionRemoval.objects.bulk_create(
        [
            SuppressionRemoval(
                kind=kind,
                value=row.value,
                reason=row.reason,
                source=row.source,
                since=row.at,
                removed_by=by,
            )
            for row in rows
        ],
        batch_size=AT_ONCE,
    )
    Suppression.objects.filter(kind=kind, value__in=[row.value for row in rows]).delete()
    return len(rows)


def suppressed(kind: str, values: Iterable[str]) -> set[str]:
    """Return those of the given texts, as they were given, that are suppressed addresses."""
    normal = {value: identity.normalise(kind, value) for value in values}
    found = _found(kind, [v for v in normal.values() if v])
    return {value for value, v in normal.items() if v in found}


def listed(kind: str, values: Iterable[str]) -> list[Suppression]:
    """Return what the list says of these addresses, the latest first."""
    normal = [v for value in values if (v := identity.normalise(kind, value))]
    stored = [*normal, *map(_hash, normal)]
    return [*Suppression.objects.filter(kind=kind, value__in=stored).order_by("-at")]


def invalid(kind: str, values: Iterable[str]) -> list[str]:
    """Return those texts that are no address of this kind."""
    return [value for value in values if identity.normalise(kind, value) is None]


def spellings(text: str) -> list[str]:
    """Return how an address may stand in the list, as whatever kind it is."""
    normal = {identity.normalise(kind, text) for kind in (identity.EMAIL, identity.PHONE)} - {None}
    return [text, *(v for value in normal if value for v in (value, _hash(value)))]


def forget(kind: str, values: Collection[str]) -> None:
    """Replace addresses by keyed hashes: they stay suppressed, and nobody can read them."""
    normal = [v for value in values if (v := identity.normalise(kind, value))]
    readable = Suppression.objects.filter(kind=kind, value__in=normal)
    hashed = [
        Suppression(kind=kind, value=_hash(row.value), reason=row.reason, at=row.at)
        for row in readable
    ]
    readable.delete()
    removals = SuppressionRemoval.objects.filter(kind=kind, value__in=normal)
    removed = [*removals.only("value")]
    for row in removed:
        row.value = _hash(row.value)
    SuppressionRemoval.objects.bulk_update(removed, ["value"], batch_size=AT_ONCE)
    Suppression.objects.bulk_create(hashed, ignore_conflicts=True, batch_size=AT_ONCE)


def _found(kind: str, values: Collection[str]) -> set[str]:
    """Return the normalised values that are suppressed, in clear or as a hash."""
    hashes = {_hash(value): value for value in values}
    found = Suppression.objects.filter(kind=kind, value__in=[*values, *hashes])
    return {hashes.get(value, value) for value in found.values_list("value", flat=True)}


def _hash(value: str) -> str:
    return HASHED + salted_hmac("suppression", value, algorithm="sha256").hexdigest()


def _as_hash(value: str) -> str:
    """Return what is a hash already, or ""."""
    return value if value.startswith(HASHED) else ""

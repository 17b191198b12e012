"""Links by which customers say what they no longer want, without signing in."""

from typing import NamedTuple

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.urls import reverse

from customers import clock, consent, contacts, identity, lookups, suppression
from customers.consent import Decision
from customers.models import Consent, ConsentPurpose, Customer, Identifier, Suppression

SOURCE = "the customer"
_SALT = "unsubscribe"


class BadLinkError(ValueError):
    """A link that is not ours, or was cut off."""


class Link(NamedTuple):
    """Whom a link is for, and which purpose it was sent for. `customer_id` is None once erased."""

    customer_id: int | None
    purpose: str


class Choice(NamedTuple):
    """A purpose with the customer's present answer."""

    purpose: ConsentPurpose
    granted: bool


def unsubscribe_url(customer_id: int, purpose: str) -> str:
    """Return the full address where this customer can leave this purpose. It never expires.

    For a message's text and its List-Unsubscribe header, together with
    `List-Unsubscribe-Post: List-Unsubscribe=One-Click` (RFC 8058). It holds no address.
    """
    token = signing.dumps([customer_id, consent.normalise(purpose) or ""], salt=_SALT)
    return settings.PUBLIC_URL + reverse("unsubscribe", args=[token])


def read(token: str) -> Link:
    """Return whom a link is for, after merges. Raises `BadLinkError`."""
    try:
        customer_id, purpose = signing.loads(token, salt=_SALT)
    except signing.BadSignature as error:
        raise BadLinkError("This link is not complete.") from error
    return Link(lookups.current([customer_id]).get(customer_id), purpose)


def choices(link: Link) -> list[Choice]:
    """Return what the customer has decided about, and the purpose of the link."""
    decided = Consent.objects.filter(customer=link.customer_id or 0)
    granted = dict(decided.values_list("purpose", "granted"))
    asked = {*granted, link.purpose}
    found = ConsentPurpose.objects.filter(key__in=asked)
    return [Choice(purpose, granted.get(purpose.key, False)) for purpose in found]


@transaction.atomic
def leave(link: Link, *, via: str) -> None:
    """Refuse the purpose of the link; every purpose if it names none."""
    if link.purpose:
        _decide(link, {link.purpose: False}, via)
    else:
        leave_all(link, via=via)


@transaction.atomic
def leave_all(link: Link, *, via: str) -> None:
    """Refuse every purpose, and suppress all addresses of the customer."""
    if link.customer_id is None:
        return
    _decide(link, {one.purpose.key: False for one in choices(link)}, via)
    customer = Customer.objects.get(pk=link.customer_id)
    known = Identifier.objects.filter(customer=customer)
    for kind, own in (
        (identity.EMAIL, contacts.email(customer.fields)),
        (identity.PHONE, contacts.phone(customer.fields)),
    ):
        values = {own, *known.filter(kind=kind).values_list("value", flat=True)}
        suppression.add(kind, values, Suppression.Reason.UNSUBSCRIBE, SOURCE)


@transaction.atomic
def choose(link: Link, wanted: set[str], *, via: str) -> None:
    """Let the customer's answers to the choices be these; what stays the same is left alone."""
    changed = {
        one.purpose.key: one.purpose.key in wanted
        for one in choices(link)
        if one.granted != (one.purpose.key in wanted)
    }
    _decide(link, changed, via)


def _decide(link: Link, granted: dict[str, bool], via: str) -> None:
    if link.customer_id is None:
        return
    now = clock.now()
    consent.record(
        [
            Decision(link.customer_id, purpose, is_granted, now, via=via)
            for purpose, is_granted in granted.items()
        ],
        source=SOURCE,
    )

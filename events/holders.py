"""E-mails and phones that stand in a customer's fields only, as from a file of the CRM."""

from collections.abc import Iterable, Sequence

from django.conf import settings

from customers import changes, contacts, identity, lookups
from customers.changes import Fact
from customers.identity import CUSTOMER_ID, Key, Person
from customers.matching import SHARED
from customers.models import Customer, Identifier
from events import rehoming, sources
from events.cleaning import Message


def of(messages: Iterable[Message]) -> dict[Key, int]:
    """Return whom the e-mails and phones name by which these messages look for somebody.

    Those that do not join profiles look for nobody where the message names something stronger.
    """
    asked = {
        key
        for message in messages
        for key in message.identifiers
        if key[0] in SHARED
        and (message.identifiers[0][0] in SHARED or key[0] in settings.TRUSTED_IDENTIFIERS)
    }
    return lookups.by_contact(asked) if asked else {}


def follow(facts: Iterable[Fact]) -> None:
    """Join whom a trusted e-mail or phone in a field shows to be one with who goes by it.

    For values that come after the visitor did: from a file, over the API, by hand. Call it inside
    a transaction.
    """
    trusted = SHARED.intersection(settings.TRUSTED_IDENTIFIERS)
    changed = {fact.customer_id for fact in facts if _may_bring_contact(fact.name)}
    if not trusted or not changed:
        return
    named = Customer.objects.current().filter(pk__in=changed, external_id__isnull=False)
    held = {
        (kind, value): str(external_id)
        for external_id, fields in named.values_list("external_id", "fields")
        for kind in sorted(trusted)
        for text in contacts.values(kind, fields)
        if (value := identity.normalise(kind, text))
    }
    owned = Identifier.objects.filter(kind__in=trusted, value__in={value for _, value in held})
    strangers = owned.filter(customer__external_id=None).values_list("kind", "value")
    _join(
        [Person(((CUSTOMER_ID, held[key]), key), cause=_CAUSE) for key in strangers if key in held]
    )


_CAUSE = "the same trusted e-mail or phone in a field"


def _join(people: Sequence[Person]) -> None:
    if people:
        resolution = identity.resolve(people, sources.protective_origins)
        if resolution.merged:
            rehoming.follow(resolution.merged)


def _may_bring_contact(fact: str) -> bool:
    return fact.startswith((changes.field(""), changes.NEW))

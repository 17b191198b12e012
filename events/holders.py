"""E-mails and phones that stand in a customer's fields only, as from a file of the CRM."""

from collections.abc import Collection, Iterable, Sequence

from customers import changes, contacts, identity, identity_rules, lookups
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
    trusted = identity_rules.trusted()
    asked = {
        key
        for message in messages
        for key in message.identifiers
        if key[0] in SHARED and (message.identifiers[0][0] in SHARED or key[0] in trusted)
    }
    return lookups.by_contact(asked) if asked else {}


def follow(facts: Iterable[Fact]) -> None:
    """Join whom a trusted e-mail or phone in a field shows to be one with who goes by it.

    For values that come after the visitor did: from a file, over the API, by hand. Call it inside
    a transaction.
    """
    trusted = SHARED.intersection(identity_rules.trusted())
    changed = {fact.customer_id for fact in facts if _may_bring_contact(fact.name)}
    if not trusted or not changed:
        return
    held = _held(changed, trusted)
    # In two steps: identifiers may live elsewhere than customers.
    rows = Identifier.objects.filter(kind__in=trusted, value__in={value for _, value in held})
    owner_of = {(kind, value): owner for kind, value, owner in rows.values_list(*_OWNED)}
    visitors = Customer.objects.filter(pk__in={*owner_of.values()}, external_id=None)
    visitor_ids = {*visitors.values_list("pk", flat=True)}
    _join(
        [
            Person(((CUSTOMER_ID, external_id), key), cause=_CAUSE)
            for key, external_id in held.items()
            if owner_of.get(key) in visitor_ids
        ]
    )


_OWNED = ("kind", "value", "customer_id")
_CAUSE = "the same trusted e-mail or phone in a field"


def _held(customer_ids: Collection[int], kinds: Collection[str]) -> dict[Key, str]:
    """Return the CustomerId of who has each e-mail or phone in a field, among these customers."""
    named = Customer.objects.current().filter(pk__in=customer_ids, external_id__isnull=False)
    return {
        (kind, value): str(external_id)
        for external_id, fields in named.values_list("external_id", "fields")
        for kind in sorted(kinds)
        for text in contacts.values(kind, fields)
        if (value := identity.normalise(kind, text))
    }


def _join(people: Sequence[Person]) -> None:
    if people:
        resolution = identity.resolve(people, sources.protective_origins)
        if resolution.merged:
            rehoming.follow(resolution.merged)


def _may_bring_contact(fact: str) -> bool:
    return fact.startswith((changes.field(""), changes.NEW))

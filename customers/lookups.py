"""Who is meant by ids that others kept: ours or the CRM's."""

from collections.abc import Collection, Iterator, Sequence

from customers import contacts, exact, identity, search
from customers.identity import Key
from customers.models import Customer, Identifier
from customers.sql import identities, lists


def current(customer_ids: Collection[int]) -> dict[int, int]:
    """Return who each of these customers is now, after merges; unknown ones are left out."""
    merged_into: dict[int, int | None] = {}
    asked = {*customer_ids}
    while asked:
        rows = Customer.objects.filter(id__in=asked).values_list("id", "merged_into_id")
        merged_into |= dict(rows)
        asked = {new for new in merged_into.values() if new is not None} - merged_into.keys()
    return {
        old: new
        for old in customer_ids
        if (new := _end(old, merged_into)) is not None and old in merged_into
    }


def _end(customer_id: int, merged_into: dict[int, int | None]) -> int | None:
    while (following := merged_into.get(customer_id)) is not None:
        customer_id = following
    return customer_id if customer_id in merged_into else None


def by_external_id(external_ids: Collection[str]) -> dict[str, int]:
    """Return the customer of each of these CustomerIds; unknown ones are left out."""
    key_of = {
        text: (identity.CUSTOMER_ID, value)
        for text in external_ids
        if (value := identity.normalise(identity.CUSTOMER_ID, text))
    }
    owners = identities.select_owners(sorted({*key_of.values()}))
    return {text: owners[key] for text, key in key_of.items() if key in owners}


def by_contact(keys: Collection[Key]) -> dict[Key, int]:
    """Return whom e-mails and phones name that nobody goes by: who has them in a field.

    Of several, who has a CustomerId, else the oldest. Fields are known a moment after they were
    written, as the search is.
    """
    unknown = sorted({*keys} - identities.select_owners(sorted(keys)).keys())
    found: dict[Key, int] = {}
    for key, customer_id in _holders(unknown):
        found.setdefault(key, customer_id)
    return found


def known_as(kind: str, text: str) -> set[int]:
    """Return whom a text of this kind names: who goes by it, has it in a field if a contact."""
    value = identity.normalise(kind, text)
    if value is None:
        return set()
    owners = Identifier.objects.filter(kind=kind, value=value).values_list("customer", flat=True)
    is_contact = kind in (identity.EMAIL, identity.PHONE)
    return {*owners, *(holder for _, holder in _holders([(kind, value)] if is_contact else []))}


def _holders(keys: Sequence[Key]) -> Iterator[tuple[Key, int]]:
    """Yield for each e-mail or phone who has it in a field, the likeliest first."""
    words = [search.words_of(*key) for key in keys]
    for number, customer_id, fields in lists.select_by_words(words) if keys else ():
        kind, value = key = keys[number - 1]
        held = contacts.values(kind, exact.loads(fields))
        if any(identity.normalise(kind, text) == value for text in held):
            yield key, customer_id


def find_one(text: str) -> Customer | None:
    """Return the one unmerged customer whom a text names: an ID of ours, or any identifier."""
    if "\0" in text:
        return None
    values = {identity.normalise(kind, text) for kind in (identity.EMAIL, identity.PHONE, "")}
    keys = Identifier.objects.filter(value__in=[value for value in values if value])
    owners = {*keys.values_list("customer_id", flat=True)}
    if not owners and text.isascii() and text.isdigit() and len(text) < 19:
        owners = {*current([int(text)]).values()}
    return Customer.objects.filter(pk__in=owners).first() if len(owners) == 1 else None

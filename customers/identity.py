"""Who is who: turn the identifiers that arrive into customers, creating and merging as needed."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import phonenumbers
from django.conf import settings
from django.db import OperationalError, transaction

from customers import changes, identity_rules, merging
from customers.matching import (
    ANONYMOUS_ID,
    CUSTOMER_ID,
    EMAIL,
    PHONE,
    SHARED,
    Key,
    Matcher,
    Person,
    Profile,
)
from customers.sql import identities, records

__all__ = [
    "ANONYMOUS_ID",
    "CUSTOMER_ID",
    "EMAIL",
    "PHONE",
    "Key",
    "Person",
    "RacedError",
    "Resolution",
    "normalise",
    "objection",
    "resolve",
]

MAX_LENGTH = 200  # characters of an identifier; an index row holds no more than 2.7 KB
ATTEMPTS = 20  # of resolving a batch; each that fails means that another pipeline went ahead

_NOBODY = {"", "undefined", "nil", "null", "none", "nan", "true", "false", "anonymous", "guest"}
_NOBODY |= {"unknown", "test", "id", "distinct_id", "[object object]", "-1"}
_ZEROS_OR_DASHES = re.compile(r"[0-]+")
_EMAIL_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# What shows nothing: soft hyphens, joiners, marks of direction and order, fillers, variants.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff]")
_BLANK = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u2800\u3000]")
_MAX_PHONE = 40  # characters of a number as people write it


class RacedError(OperationalError):
    """Others kept changing the same identifiers; the batch may be tried again."""


class Resolution(NamedTuple):
    """What became of a batch of people, in their order.

    `merged` has each customer who was absorbed, with who they are now: rows that belong to
    customers on higher floors must follow. `moved` are identifiers that changed hands.
    """

    customer_ids: list[int]
    merged: Mapping[int, int]
    moved: Mapping[Key, int]


def normalise(kind: str, value: str) -> str | None:
    """Return the value as we compare it, or None if it can be nobody's; `objection` says why.

    E-mails are compared without regard to case, phone numbers in their international form (E.164);
    one without a country code is of the workspace's own country (CDP_COUNTRY). What cannot be seen
    does not count: spaces around it, zero-width characters, marks of direction; a space of another
    kind is a space. Programs send words like "undefined" or "anonymous" for want of an id: they
    name nobody; nor do the words that the workspace adds (`identity_rules.never`).
    """
    return _read(kind, value)[0]


def objection(kind: str, value: str) -> str:
    """Say why a value is nobody's identifier, as a sentence begins after it; "" if it can be."""
    return _read(kind, value)[1]


def _read(kind: str, value: str) -> tuple[str | None, str]:
    text = _visible(value)
    if len(text) > MAX_LENGTH:
        return None, f"has more than {MAX_LENGTH} characters"
    if _UNREADABLE.search(text):
        return None, "holds a control character, or one that could not be read"
    folded = text.lower()
    if folded in _NOBODY or folded in identity_rules.never() or _ZEROS_OR_DASHES.fullmatch(text):
        return None, "names nobody"
    if kind == EMAIL:
        return (folded, "") if _EMAIL_ADDRESS.fullmatch(text) else (None, "is no e-mail address")
    if kind == PHONE:
        number = _phone(text)
        return number, "" if number else "is no phone number"
    return text, ""


def _visible(value: str) -> str:
    """Return a text as it looks: composed, with plain spaces, without what shows nothing."""
    if value.isascii():
        return value.strip()
    seen = _BLANK.sub(" ", _INVISIBLE.sub("", value)).strip()
    return unicodedata.normalize("NFC", seen)


def _phone(text: str) -> str | None:
    if len(text) > _MAX_PHONE:
        return None
    try:
        number = phonenumbers.parse(text, settings.COUNTRY)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def resolve(
    people: Sequence[Person],
    weak: merging.Weak = merging.nobody,
    holders: Mapping[Key, int] = MappingProxyType({}),
) -> Resolution:
    """Find each person's customer, in order, creating, identifying and merging as they tell.

    Works as if people came one by one; the number of statements does not depend on how many.
    Writes the facts of what became known. Identifiers must be normalised, each person must have
    one. Call it inside a transaction: it holds the customers until the end, so that nobody
    merges or separates them meanwhile. Where some are merged, values of `weak` sources give way.
    An identifier that nobody goes by is that of its holder, if `holders` names one. Raises
    `RacedError` when others were faster too often.
    """
    for _ in range(ATTEMPTS):
        try:
            with transaction.atomic():
                return _resolve(people, weak, holders)
        except _Raced:
            continue
    raise RacedError(f"{len(people)} people changed under our hands {ATTEMPTS} times")


class _Raced(Exception):  # noqa: N818
    """What was read is no longer so: read again."""


def _resolve(
    people: Sequence[Person], weak: merging.Weak, holders: Mapping[Key, int]
) -> Resolution:
    identities.hold_identities(exclusive=False)
    keys = sorted({key for person in people for key in person.identifiers})
    owner_ids = identities.select_owners(keys)
    new = {key: holder for key, holder in holders.items() if key not in owner_ids}
    rows = _lock({*owner_ids.values(), *new.values()})
    stored = _Stored(owner_ids, new, rows, _held(people, {**new, **owner_ids}))
    known, matcher, profiles = _match(people, stored)
    if matcher.absorptions and (apart := identities.select_separated(sorted(known))):
        known, matcher, profiles = _match(people, stored, apart)
    is_settled = not (matcher.absorptions or matcher.moved or matcher.identified)
    if not is_settled and identities.select_owners(keys) != owner_ids:
        raise _Raced
    _write(matcher, known, weak)
    merged = {a.absorbed.id: a.absorbed.current().id for a in matcher.absorptions}
    moved = {key: profile.current().id for key, profile in matcher.moved.items()}
    return Resolution([profile.current().id for profile in profiles], merged, moved)


def _lock(customer_ids: set[int]) -> list[tuple[int, str | None]]:
    """Hold these customers, so that nobody else merges or identifies them; (id, CustomerId)."""
    rows = records.lock_profiles(sorted(customer_ids))
    if any(merged_into_id is not None for _, _, merged_into_id in rows):
        raise _Raced
    if len(rows) < len(customer_ids):
        raise _Raced  # one was erased
    return [(customer_id, external_id) for customer_id, external_id, _ in rows]


def _held(people: Sequence[Person], owner_ids: Mapping[Key, int]) -> dict[int, dict[str, int]]:
    """Count, by kind, the identifiers of those customers who may get more; once they are held."""
    growing: set[int] = set()
    for person in people:
        owners = {owner_ids.get(key) for key in person.identifiers}
        if len(owners) > 1:
            growing |= {owner for owner in owners if owner is not None}
    limits = identity_rules.limits()
    if not (growing and limits):
        return {}
    return identities.count_identifiers(sorted(growing), sorted(limits))


class _Stored(NamedTuple):
    """How things are: whose identifiers are, whose others become, and who these customers are."""

    owner_ids: Mapping[Key, int]
    holders: Mapping[Key, int]
    rows: Sequence[tuple[int, str | None]]
    held: Mapping[int, Mapping[str, int]]


def _match(
    people: Sequence[Person], stored: _Stored, apart: Iterable[tuple[int, int]] = ()
) -> tuple[dict[int, Profile], Matcher, list[Profile]]:
    """Decide about everybody; return the stored profiles, the decisions, and each one's profile."""
    known = {
        customer_id: Profile(
            customer_id,
            external_id,
            (0, customer_id),
            parts={customer_id},
            held=Counter(stored.held.get(customer_id)),
        )
        for customer_id, external_id in stored.rows
    }
    matcher = Matcher(
        {key: known[owner_id] for key, owner_id in stored.owner_ids.items()},
        SHARED.union(identity_rules.shared()) - {*identity_rules.trusted()},
        frozenset(map(frozenset, apart)),
        identity_rules.limits(),
    )
    for key, holder_id in stored.holders.items():
        matcher.give(key, known[holder_id])
    return known, matcher, [matcher.see(person) for person in people]


def _write(matcher: Matcher, known: Mapping[int, Profile], weak: merging.Weak) -> None:
    """Store what was decided. Customers before identifiers, which only name them."""
    if matcher.created:
        _create(matcher.created)
    if seen := [p for p in known.values() if p.last_seen_at]:
        records.note_seen([(p.id, p.first_seen_at, p.last_seen_at) for p in seen])
    if matcher.identified:
        records.set_external_ids(sorted((p.id, p.external_id) for p in matcher.identified.values()))
    _write_identifiers(matcher)
    changes.record(_facts(matcher))
    if matcher.absorptions:
        merging.absorb(
            [
                merging.Absorbed(a.survivor.id, a.absorbed.id, a.cause, a.keys)
                for a in matcher.absorptions
            ],
            weak,
        )


def _create(profiles: Sequence[Profile]) -> None:
    ids = records.insert_customers(
        [(p.external_id, p.first_seen_at, p.last_seen_at) for p in profiles]
    )
    for profile, customer_id in zip(profiles, ids, strict=True):
        profile.id = customer_id


def _write_identifiers(matcher: Matcher) -> None:
    if matcher.claimed:
        rows = sorted((*key, profile.id) for key, profile in matcher.claimed.items())
        if identities.insert_identifiers(rows) < len(rows):
            raise _Raced
    if matcher.moved:
        identities.repoint_identifiers(sorted((*key, p.id) for key, p in matcher.moved.items()))


def _facts(matcher: Matcher) -> list[changes.Fact]:
    identified = {*matcher.identified, *(p.id for p in matcher.created if p.external_id)}
    named = changes.field("@identified")
    return [
        *(changes.Fact(profile.id, changes.NEW) for profile in matcher.created),
        *(changes.Fact(customer_id, named) for customer_id in sorted(identified)),
    ]

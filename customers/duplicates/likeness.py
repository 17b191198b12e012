"""How alike two customers are: what is compared, under which keys they meet, and the score."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from customers import contacts, identity
from customers.identity import Key

# Names of fields, lower case without separators, in the languages CRMs speak.
_NAMES: Final[Mapping[str, frozenset[str]]] = {
    "given": frozenset({"firstname", "givenname", "forename", "vorname", "prenom", "nome"}),
    "last": frozenset({"lastname", "surname", "familyname", "nachname", "nom", "cognome"}),
    "full": frozenset({"name", "fullname", "customername"}),
    "birth": frozenset({"birthday", "birthdate", "dateofbirth", "dob", "geburtsdatum"}),
    "postcode": frozenset({"zip", "zipcode", "postcode", "postalcode", "plz", "npa", "cap"}),
    "street": frozenset({"street", "address", "address1", "addressline1", "strasse", "rue", "via"}),
    "city": frozenset({"city", "town", "suburb", "ort", "ville", "citta"}),
}
_ROLE: Final = {name: role for role, names in _NAMES.items() for name in names}
LISTED: Final = 11.0  # the score from which two are listed
_HARDLY: Final = 0.95  # likeness of two words that differ by a slip of the pen
_NEARLY: Final = 0.86
_SAME, _SLIP, _SIMILAR, _DIFFERENT = range(4)  # degrees of likeness
# How much it tells if two are alike to each degree, in powers of two, roughly.
_WEIGHTS: Final = {
    "given": (5.0, 4.5, 2.5, -2.5),
    "last": (6.0, 5.5, 3.0, -3.0),
    "birth": (9.0, 5.0, 5.0, -5.0),
    "postcode": (4.0, 2.0, 2.0, -1.5),
    "street": (6.0, 5.5, 3.0, -1.0),
    "city": (3.0, 2.5, 1.5, -1.0),
}


class Traits(NamedTuple):
    """What of a customer is compared; "" where it is not known."""

    emails: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    given: str = ""
    last: str = ""
    birth: str = ""  # digits
    postcode: str = ""
    street: str = ""
    city: str = ""


class Likeness(NamedTuple):
    """The score of two customers, and for people what they have in common."""

    score: float
    reasons: list[str]


def read(fields: Mapping[str, Any], identifiers: Iterable[Key] = ()) -> Traits:
    """Return what is compared of a customer with these values, who goes by these identifiers."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        role = _role(name)
        if role and value not in (None, ""):
            found.setdefault(role, _plain(str(value)))
    if full := found.pop("full", ""):
        given, _, last = full.rpartition(" ")
        found.setdefault("given", given)
        found.setdefault("last", last)
    found["birth"] = re.sub(r"\D", "", found.get("birth", ""))[:8]
    known = [*identifiers]
    emails = _contacts(identity.EMAIL, fields, known)
    return Traits(emails=emails, phones=_contacts(identity.PHONE, fields, known), **found)


def _contacts(kind: str, fields: Mapping[str, Any], known: Iterable[Key]) -> frozenset[str]:
    told = (identity.normalise(kind, text) for text in contacts.values(kind, fields) if text)
    return frozenset({*filter(None, told), *(value for name, value in known if name == kind)})


@lru_cache(maxsize=10_000)
def _role(name: str) -> str | None:
    return _ROLE.get("".join(filter(str.isalnum, name)).lower())


def _plain(text: str) -> str:
    """Return a text without case, accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    kept = (c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    return " ".join("".join(kept).split())


def keys(traits: Traits) -> set[str]:
    """Return under what a customer is looked for: two who share one are compared.

    Each allows for slips in what it does not name: a mistake in the birth date leaves the names.
    """
    given, last, birth = _sound(traits.given), _sound(traits.last), traits.birth
    found = {
        f"bl {birth} {last}": birth and last,
        f"bl {birth} {given}": birth and given,  # also names that were exchanged
        f"bp {birth} {traits.postcode}": birth and traits.postcode,
        f"np {min(given, last)} {max(given, last)} {traits.postcode}": given
        and last
        and traits.postcode,
        f"ny {min(given, last)} {max(given, last)} {birth[:4]}": given and last and birth,
        f"nm {min(given, last)} {max(given, last)} {birth[4:]}": given and last and birth,
        f"sp {traits.street} {traits.postcode}": traits.street and traits.postcode,
    }
    shared = {f"e {email}" for email in traits.emails} | {f"p {phone}" for phone in traits.phones}
    return shared | {key for key, is_known in found.items() if is_known}


@lru_cache(maxsize=100_000)
def _sound(word: str) -> str:
    """Return how a word sounds, roughly: the first letter and the next three consonants."""
    letters = [c for c in word if c.isalpha()]
    if not letters:
        return ""
    codes = [_CODES.get(c, "") for c in letters]
    rest = [b for a, b in pairwise(codes) if b and b != a]
    return (letters[0] + "".join(rest))[:4]


_CODES: Final = {
    letter: str(number)
    for number, letters in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), 1)
    for letter in letters
}


def compare(one: Traits, other: Traits) -> Likeness:
    """Score two customers; from `LISTED` on, or with one e-mail or phone, they may be the same."""
    score, reasons = 0.0, []
    for what, text in (("emails", "same e-mail"), ("phones", "same phone")):
        if getattr(one, what) & getattr(other, what):
            score += LISTED
            reasons.append(text)
    score += _compare_names(one, other, reasons)
    score += _add("birth", _digits(one.birth, other.birth), reasons, "birth date")
    score += _add("postcode", _digits(one.postcode, other.postcode), reasons, "postcode")
    score += _add("street", _words(one.street, other.street), reasons, "street")
    score += _add("city", _words(one.city, other.city), reasons, "city")
    is_shared = any(reason in ("same e-mail", "same phone") for reason in reasons)
    return Likeness(max(score, LISTED) if is_shared else score, reasons)


def _compare_names(one: Traits, other: Traits, reasons: list[str]) -> float:
    """Compare both names, also as if they had been exchanged."""
    straight = (_words(one.given, other.given), _words(one.last, other.last))
    crossed = (_words(one.given, other.last), _words(one.last, other.given))
    is_crossed = None not in crossed and sum(map(_worth, crossed)) > sum(map(_worth, straight)) + 1
    given, last = crossed if is_crossed else straight
    found: list[str] = []
    score = _add("given", given, found, "given name") + _add("last", last, found, "family name")
    reasons += ["names exchanged"] if is_crossed else found
    return score


def _worth(degree: int | None) -> int:
    return 0 if degree is None else _DIFFERENT - degree


def _add(what: str, degree: int | None, reasons: list[str], text: str) -> float:
    """Return the weight of a degree; None: it is not known of both."""
    if degree is None:
        return 0.0
    if degree < _DIFFERENT:
        reasons.append(f"{'same' if degree == _SAME else 'similar'} {text}")
    return _WEIGHTS[what][degree]


def _words(one: str, other: str) -> int | None:
    if not one or not other:
        return None
    if one == other:
        return _SAME
    likeness = jaro_winkler(one, other)
    return _SLIP if likeness > _HARDLY else _SIMILAR if likeness > _NEARLY else _DIFFERENT


def _digits(one: str, other: str) -> int | None:
    """Compare dates or codes: one digit may differ, or stand elsewhere, as day and month may."""
    if not one or not other:
        return None
    if one == other:
        return _SAME
    differing = sum(a != b for a, b in zip(one, other, strict=False)) + abs(len(one) - len(other))
    return _SIMILAR if differing <= 1 or sorted(one) == sorted(other) else _DIFFERENT


@lru_cache(maxsize=100_000)
def jaro_winkler(one: str, other: str) -> float:
    """Return how alike two words are, 0 to 1, by the letters they share in order."""
    reach = max(len(one), len(other)) // 2 - 1
    taken = [False] * len(other)
    matched = []
    for place, letter in enumerate(one):
        for where in range(max(0, place - reach), min(len(other), place + reach + 1)):
            if not taken[where] and other[where] == letter:
                taken[where] = True
                matched.append(letter)
                break
    if not matched:
        return 0.0
    theirs = [letter for letter, is_taken in zip(other, taken, strict=True) if is_taken]
    moved = sum(a != b for a, b in zip(matched, theirs, strict=True)) / 2
    count = len(matched)
    jaro = (count / len(one) + count / len(other) + (count - moved) / count) / 3
    prefix = next((n for n, pair in enumerate(_pairs(one, other)) if pair[0] != pair[1]), 4)
    return jaro + prefix * 0.1 * (1 - jaro)


def _pairs(one: str, other: str) -> Iterable[tuple[str, str]]:
    return [*zip(one[:4].ljust(4), other[:4].ljust(4, "\0"), strict=True)]

"""Find customers by what somebody typed into the search box.

People are found by how they are identified, which is known at once, and by the words of their
texts, of which the pipeline keeps an index; accents and case do not count.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from customers import identity, masking
from customers.changes import Fact
from customers.masking import MASK, Mask
from customers.models import Customer
from customers.sql import lists

FOUND_AT_MOST = 500
CHUNK = 5_000  # customers whose entries are brought up to date in one statement
FOLDED = "àáâãäåāăąçćčďđèéêëēęěìíîïīłñńňòóôõöøōřśšťùúûüūůýÿźžż@"
PLAIN = "aaaaaaaaacccddeeeeeeeiiiiilnnnooooooorsstuuuuuuyyzzz "
_FOLD = str.maketrans(FOLDED, PLAIN)
_KINDS = (identity.CUSTOMER_ID, identity.EMAIL, identity.PHONE, identity.ANONYMOUS_ID)
_PHONE = re.compile(r"[+(]?[0-9][0-9 ()/.-]{3,30}")
_NATIONAL = 9  # digits of a phone number that are kept without its country
_WORDS = 6  # that a search reads


def find(text: str, limit: int = FOUND_AT_MOST) -> list[int]:
    """Return the ids of customers who go by this text, or whose texts have all its words.

    A CustomerId or e-mail may be its beginning only, and so may the last word, and the others where
    nobody has them whole. A phone number is
    found with or without its country. Who changed a moment ago is found by the new words as soon
    as the pipeline has seen to it. For whom personal data are masked, an e-mail or phone must be
    whole, and words count only where they can be read.
    """
    text = text.strip()[:200]
    if not text:
        return []
    mask = masking.current()
    found = lists.find_by_identifier(_spellings(text), text, limit, is_clear=mask.is_clear)
    queries = _queries(text)
    if queries and len(found) < limit:
        by_words = lists.find_by_words(*queries, limit)
        found += by_words if mask.is_clear else _by_what_is_seen(by_words, text, mask)
    return [*dict.fromkeys(found)][:limit]


def _by_what_is_seen(customer_ids: list[int], text: str, mask: Mask) -> list[int]:
    """Keep those who have all the words in values that are not masked; a guess tells nothing."""
    words = [" " + word for word in _folded(text).split()[:_WORDS]]
    people = Customer.objects.filter(pk__in=customer_ids).values_list("pk", "fields")
    return [
        customer_id
        for customer_id, fields in people
        if all(word in _seen_words(fields, mask) for word in words)
    ]


def _seen_words(fields: Mapping[str, Any], mask: Mask) -> str:
    seen = (v for name, v in mask.fields(fields).items() if isinstance(v, str) and v != MASK)
    return "".join(" " + _folded(value) for value in seen)


def _folded(text: str) -> str:
    return text.lower().translate(_FOLD)


def follow(facts: Iterable[Fact]) -> None:
    """Bring the words up to date of whom these facts may concern. Call it inside a transaction."""
    customer_ids = sorted({fact.customer_id for fact in facts if _concerns_words(fact.name)})
    if customer_ids:
        lists.keep_search_entries(customer_ids, FOLDED, PLAIN)


def rebuild() -> None:
    """Bring the words of all customers up to date."""
    last = 0
    while ids := _next_ids(last):
        lists.keep_search_entries(ids, FOLDED, PLAIN)
        last = ids[-1]


def words_of(kind: str, value: str) -> str:
    """Return the words by which who has this e-mail or phone in a field is found, and others."""
    is_phone = kind == identity.PHONE
    return re.sub(r"\D", "", value)[-_NATIONAL:] if is_phone else value.translate(_FOLD)


def _concerns_words(fact: str) -> bool:
    return not fact.startswith(("event:", "segment:", "clock:", "field:@"))


def _next_ids(after: int) -> list[int]:
    following = Customer.objects.filter(id__gt=after).order_by("id")
    return [*following.values_list("id", flat=True)[:CHUNK]]


def _spellings(text: str) -> list[tuple[str, str]]:
    """Name the identifiers that the text may stand for."""
    keys = ((kind, identity.normalise(kind, text)) for kind in _KINDS)
    return [(kind, value) for kind, value in keys if value]


def _queries(text: str) -> tuple[str, str, str] | None:
    """Write what was typed as queries of PostgreSQL's text search; None if it holds no word.

    One takes the words whole, one the last as a beginning, and one all of them.
    """
    is_phone = _PHONE.fullmatch(text)
    words = [_quoted(word) for word in _folded(text).split()[:_WORDS]]
    numbers = _numbers(text) if is_phone else []
    if is_phone and len(words) > 1:  # the words of a number with spaces are everywhere
        words = []
    if not words and not numbers:
        return None
    begun = [*words[:-1], *(f"{word}:*" for word in words[-1:])]
    every = [f"{word}:*" for word in words]
    whole, last, parts = (_either(" & ".join(all_), numbers) for all_ in (words, begun, every))
    return whole, last, parts


def _numbers(text: str) -> list[str]:
    digits = re.sub(r"\D", "", text)
    national = digits.lstrip("0")
    numbers = [f"'{digits}':*", f"'{national}':*" if national else ""]
    if len(national) > _NATIONAL:
        numbers.append(f"'{national[-_NATIONAL:]}'")
    return numbers


def _either(words: str, numbers: list[str]) -> str:
    return " | ".join(f"({one})" for one in (words, *numbers) if one)


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"

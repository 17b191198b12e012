"""Find customers by what somebody typed into the search box."""

from django.db import DatabaseError, transaction

from customers import identity, sql

FOUND_AT_MOST = 200
_SECONDS = 3  # that a search through the values of all customers may take
_KINDS = (
    identity.CUSTOMER_ID,
    identity.EMAIL,
    identity.PHONE,
    identity.ANONYMOUS_ID,
)


class TooSlowError(Exception):
    """There were too many customers to look through all their values."""


def find(text: str) -> list[int]:
    """Return the ids of customers who go by this text, or whose values hold all its words.

    Identifiers (exact, or the beginning of a CustomerId or e-mail) come from indexes. Only when
    they find nobody are the values read; raises `TooSlowError` when that takes longer than 3 s.
    """
    text = text.strip()
    if not text:
        return []
    found = sql.find_by_identifier(_spellings(text), text, FOUND_AT_MOST)
    return found or _find_by_values(text)


def _spellings(text: str) -> list[tuple[str, str]]:
    """Name the identifiers that the text may stand for."""
    keys = ((kind, identity.normalise(kind, text)) for kind in _KINDS)
    return [(kind, value) for kind, value in keys if value]


def _find_by_values(text: str) -> list[int]:
    words = text.split()[:5]
    try:
        with transaction.atomic():
            return sql.find_by_values(words, FOUND_AT_MOST, _SECONDS)
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", "") == "57014":  # query_canceled
            raise TooSlowError from error
        raise

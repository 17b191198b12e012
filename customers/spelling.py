"""Hints for those who misspelt a name."""

import difflib
from collections.abc import Collection, Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what is known and spelt most like `word`, in whatever case; "" if nothing is."""
    by_spelling = {name.casefold(): name for name in known}
    likely = difflib.get_close_matches(word[:100].casefold(), by_spelling, n=1)
    return by_spelling[likely[0]] if likely else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "email"?' if something known is spelt like `word`, else nothing."""
    likely = nearest(word, known)
    return f' Did you mean "{likely}"?' if likely else ""


def unknown(key: str, known: Collection[str]) -> str:
    """Say that there is no such member of a request, and which one may have been meant."""
    hint = suggestion(key, known) or f" There are {', '.join(sorted(known))}."
    return f"There is no such member here.{hint}"

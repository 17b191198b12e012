"""Hints for those who misspelt a name."""

import difflib
from collections.abc import Collection, Iterable


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "email"?' if something known is spelt like `word`, else nothing."""
    likely = difflib.get_close_matches(word[:100], known, n=1)
    return f' Did you mean "{likely[0]}"?' if likely else ""


def unknown(key: str, known: Collection[str]) -> str:
    """Say that there is no such member of a request, and which one may have been meant."""
    hint = suggestion(key, known) or f" There are {', '.join(sorted(known))}."
    return f"There is no such member here.{hint}"

"""The setting of how many identifiers of a kind one profile takes."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from django.core.exceptions import ImproperlyConfigured

USUAL: Final[Mapping[str, int]] = {"anonymous_id": 1_000, "email": 100, "phone": 100}
_PAIR: Final = re.compile(r"\s*([a-z][a-z0-9_.-]{0,49})\s*=\s*([1-9][0-9]{0,8})\s*")


def read(pairs: Iterable[str]) -> dict[str, int]:
    """Return the limit by kind: the usual ones and those of `pairs`, such as "loyalty=1".

    Raises ImproperlyConfigured for what is no pair, and for the CustomerId, of which all have one.
    """
    limits = dict(USUAL)
    for pair in pairs:
        found = _PAIR.fullmatch(pair)
        if not found or found[1] == "customer_id":
            raise ImproperlyConfigured(
                f"CDP_IDENTIFIER_LIMITS: {pair!r} is not a kind and a number from 1 on, as in "
                "anonymous_id=50,loyalty=1; of customer_id a profile has one."
            )
        limits[found[1]] = int(found[2])
    return limits

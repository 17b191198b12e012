"""When customers were seen, taken back where what had told it is gone."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from customers.sql import records

Times: TypeAlias = Mapping[int, tuple[datetime, datetime]]  # first and last, by customer


def take_back(taken: Times, remaining: Times) -> None:
    """Forget that customers were seen at the times `taken`, unless something else told so.

    Whose first or last time is one of these, gets what `remaining` has for them, or none. Call it
    inside a transaction, holding the customers.
    """
    nothing = (None, None)
    records.narrow_seen(
        [(pk, *times, *remaining.get(pk, nothing)) for pk, times in sorted(taken.items())]
    )

"""What a chunk says of customers: values, in shapes that many customers share.

To write values as JSON by a template for all fields at once is faster than field by field, and the
lines about most customers name the same fields.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from customers import exact

_NULL = "null"  # a value that is to be cleared


class Shape:
    """The names of fields, in the order in which values of them are given.

    Values are JSON, but for the `quotes` that stand around them. `is_clear` unless a name comes
    twice.
    """

    def __init__(self, names: tuple[str, ...], quotes: tuple[str, ...]) -> None:
        self.names = names
        self.quotes = quotes
        self.is_clear = len({*names}) == len(names)
        self.is_quoting = any(quotes)
        order = sorted(range(len(names)), key=lambda at: (len(names[at].encode()), names[at]))
        self._pick: Callable[[Sequence[str]], Any] = itemgetter(*order) if order else tuple
        keys = [exact.dumps(names[at]).replace("%", "%%") for at in order]
        texts = [f"{quotes[at]}%s{quotes[at]}" for at in order]
        pairs = [*zip(keys, texts, strict=True)]
        self._fields = "{" + ", ".join(f"{key}: {text}" for key, text in pairs) + "}"
        self._changes = "{" + ", ".join(f"{key}: [null, {text}]" for key, text in pairs) + "}"

    def fields(self, cells: Sequence[str]) -> str:
        """Write values as a JSON object, spelt as PostgreSQL does it.

        Shorter names come first, and there is a space behind commas and colons.
        """
        return self._fields % self._pick(cells)

    def changes(self, cells: Sequence[str]) -> str:
        """Write values as changes of what had none before."""
        return self._changes % self._pick(cells)

    def values(self, cells: Sequence[str]) -> dict[str, str]:
        """Return the values as JSON by name."""
        named = zip(self.names, self.quotes, cells, strict=True)
        return {name: quote + cell + quote for name, quote, cell in named}


Given: TypeAlias = tuple[Shape, Sequence[str]]


@lru_cache(maxsize=5_000)
def of(names: tuple[str, ...], quotes: tuple[str, ...] = ()) -> Shape:
    """Return the shape of values with these names, and quotes around them, if there are any."""
    return Shape(names, quotes or ("",) * len(names))


def given(values: dict[str, str]) -> Given:
    """Return values as JSON by name in their shape."""
    return of(tuple(values)), [*values.values()]


def without_cleared(said: Given) -> Given:
    """Leave out what is to be cleared, for those who have nothing yet."""
    shape, cells = said
    if shape.is_quoting or _NULL not in cells:
        return said
    return given({name: each for name, each in shape.values(cells).items() if each != _NULL})


class Customers(dict[str, Any]):
    """What is said of customers, by CustomerId: `Given`, or values that more can be added to."""

    def opened(self, customer_id: str) -> dict[str, str]:
        """Return the values of a customer as JSON by name, to be added to."""
        said = self.get(customer_id)
        if isinstance(said, dict):
            return said
        self[customer_id] = values = said[0].values(said[1]) if said else {}
        return values

    def closed(self) -> dict[str, Given]:
        """Return what is said of each."""
        return {
            customer_id: given(said) if isinstance(said, dict) else said
            for customer_id, said in self.items()
        }

    def count(self) -> int:
        """Count the values."""
        return sum(len(said if isinstance(said, dict) else said[1]) for said in self.values())

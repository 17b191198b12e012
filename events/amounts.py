"""What an event was worth: its amount and currency, by one rule for every source."""

import functools
import re
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any, Final

REFUND: Final = "Order Refunded"
MAX_DIGITS: Final = 30  # before and after the point: more is no amount of money
_TOTALS: Final = ("revenue", "total", "value")  # the first number of them counts
_EXACTLY: Final = Context(prec=500)  # Decimal's own rounds after 28 digits
_PLAIN_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,60}\.?[0-9]{0,60}|\.[0-9]{1,60})")


def amount(name: str, properties: Mapping[str, Any]) -> Decimal | None:
    """Return the first number of revenue, total and value, else the sum over the products.

    A text that is a plain decimal number counts. A refund is negative whatever its sign was.
    """
    found = None
    for key in _TOTALS:
        if key in properties and (found := number(properties[key])) is not None:
            break
    if found is None:
        found = _of_products(properties.get("products"))
    if found is None or not _is_money(found):
        return None
    return found.copy_abs().copy_negate() if name == REFUND else found


def number(value: Any) -> Decimal | None:
    """Return an exact number, if the JSON value is one or is a text that holds one."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        return Decimal(text) if _PLAIN_NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return Decimal(str(value)) if isinstance(value, float) else Decimal(value)


def currency(properties: Mapping[str, Any], default: str) -> str | None:
    """Return the currency's three letters, upper-cased; None if something else is given."""
    given = properties.get("currency")
    if given is None or given == "":
        return default
    text = given.strip().upper() if isinstance(given, str) else ""
    return text if is_currency(text) else None


def is_currency(text: str) -> bool:
    """Say whether a text may name a currency: it has three letters."""
    return len(text) == 3 and text.isascii() and text.isalpha()


def _of_products(products: Any) -> Decimal | None:
    if not isinstance(products, list):
        return None
    lines = [_of_line(product) for product in products if isinstance(product, dict)]
    worth = [line for line in lines if line is not None]
    return functools.reduce(_EXACTLY.add, worth) if worth else None


def _of_line(product: Mapping[str, Any]) -> Decimal | None:
    price = number(product.get("price"))
    quantity = number(product.get("quantity", 1))
    return None if price is None or quantity is None else _EXACTLY.multiply(price, quantity)


def _is_money(value: Decimal) -> bool:
    exponent = value.as_tuple().exponent
    return value.adjusted() < MAX_DIGITS and isinstance(exponent, int) and exponent >= -MAX_DIGITS

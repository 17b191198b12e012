"""What an event was worth: RULES.md, meaning 7."""

from decimal import Decimal

import pytest

from events import amounts


@pytest.mark.parametrize(
    ("properties", "amount"),
    [
        ({"revenue": 25, "total": 27.5}, "25"),
        ({"total": 27.5, "value": 1}, "27.5"),
        ({"value": "19.90"}, "19.90"),
        ({"revenue": "free", "total": "7"}, "7"),
        ({"revenue": True, "total": None, "value": 3}, "3"),
        ({"revenue": 0}, "0"),
        ({"revenue": 0.1}, "0.1"),
        ({"revenue": "1e3"}, None),
        ({"revenue": "1'000"}, None),
        ({"products": [{"price": 12.5, "quantity": 2}, {"price": "0.05"}]}, "25.05"),
        ({"products": [{"price": 0.1, "quantity": 3}]}, "0.3"),
        ({"products": [{"name": "x"}, 5, None]}, None),
        ({"products": {"price": 1}}, None),
        ({"revenue": -5}, "-5"),
        ({"revenue": Decimal("123456789012345678901234567.89")}, "123456789012345678901234567.89"),
        ({"revenue": 10**40}, None),
        ({}, None),
    ],
)
def test_amount(properties, amount):
    found = amounts.amount("Order Completed", properties)
    assert (None if found is None else str(found)) == amount


@pytest.mark.parametrize("revenue", [20, -20])
def test_refund_is_negative(revenue):
    assert amounts.amount("Order Refunded", {"revenue": revenue}) == -20


@pytest.mark.parametrize(
    ("given", "currency"),
    [
        (None, "CHF"),
        ("", "CHF"),
        ("eur ", "EUR"),
        ("Euro", None),
        (5, None),
        ("€€€", None),
    ],
)
def test_currency(given, currency):
    assert amounts.currency({"currency": given}, "CHF") == currency


def test_currency_that_is_not_named_is_the_default():
    assert amounts.currency({}, "CHF") == "CHF"

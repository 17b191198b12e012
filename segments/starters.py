"""Rules to start from: what a marketer wants first, ready to be changed."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from segments.models import Audience

PURCHASE, CART = "Order Completed", "Product Added"


class Starter(NamedTuple):
    """A rule with what it is for. `missing` says what it waits for; empty if it can be used."""

    key: str
    name: str
    text: str
    icon: str
    audience: str
    rule: Any
    missing: str


def starters(events: Collection[str], types: Mapping[str, str], currency: str) -> list[Starter]:
    """Return the rules to start from, for the event names seen and the types of customer fields."""
    newsletter = _newsletter(types)
    purchase, cart = _waits_for(PURCHASE, events), _waits_for(CART, events)
    field = "" if newsletter else "Needs a customer field of type Boolean named like “newsletter”."
    return [
        Starter(
            "big-spenders",
            "Big spenders (90 days)",
            f"Bought for at least {currency} 200 in the last 90 days.",
            "diamond",
            Audience.IDENTIFIED,
            _spent(200, 90),
            purchase,
        ),
        Starter(
            "at-risk",
            "At risk",
            "Bought at least twice within a year, but not in the last 90 days.",
            "trending_down",
            Audience.EVERYONE,
            {"all": [_did(PURCHASE, 365) | {"op": "at_least", "value": 2}, _never(PURCHASE, 90)]},
            purchase,
        ),
        Starter(
            "cart-without-purchase",
            "Cart without purchase",
            "Put something into the cart in the last 7 days and bought nothing.",
            "remove_shopping_cart",
            Audience.EVERYONE,
            {"all": [_did(CART, 7), _never(PURCHASE, 7)]},
            cart or purchase,
        ),
        Starter(
            "new-this-month",
            "New this month",
            "Bought for the first time in the last 30 days.",
            "new_releases",
            Audience.EVERYONE,
            _first(PURCHASE, 30),
            purchase,
        ),
        Starter(
            "newsletter-without-purchase",
            "Newsletter without purchase",
            "Gets the newsletter, but has bought nothing for 180 days.",
            "mark_email_unread",
            Audience.EVERYONE,
            {
                "all": [
                    {"field": newsletter or "newsletter", "op": "is", "value": True},
                    _never(PURCHASE, 180),
                ]
            },
            field or purchase,
        ),
    ]


def _newsletter(types: Mapping[str, str]) -> str | None:
    named = (name for name, kind in types.items() if kind == "boolean")
    return next((name for name in named if "newsletter" in name.lower()), None)


def _waits_for(event: str, events: Collection[str]) -> str:
    return "" if event in events else f"Needs the event “{event}”, which has not arrived yet."


def _days(number: int) -> dict[str, Any]:
    return {"last": number, "unit": "days"}


def _did(event: str, days: int) -> dict[str, Any]:
    return {"event": event, "within": _days(days)}


def _never(event: str, days: int) -> dict[str, Any]:
    return _did(event, days) | {"op": "at_most", "value": 0}


def _spent(amount: int, days: int) -> dict[str, Any]:
    """In the workspace's currency, as every sum of amounts that names none."""
    comparison = {"measure": "sum", "property": "amount", "op": "at_least", "value": amount}
    return _did(PURCHASE, days) | comparison


def _first(event: str, days: int) -> dict[str, Any]:
    """Did it for the first time in the last days."""
    comparison = {"measure": "first", "property": "@time", "op": "in_last", "value": _days(days)}
    return {"event": event} | comparison

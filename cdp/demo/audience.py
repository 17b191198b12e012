"""The demo's segments: whom a music retailer would want to talk to."""

from typing import Any

from django.conf import settings

from segments import definitions
from segments.models import Audience, Segment

GOAL = 200  # in the workspace's currency, within 90 days: what makes a big spender
BIG_SPENDERS = "big-spenders"
CARTS = "cart-without-purchase"


def _days(number: int) -> dict[str, Any]:
    return {"last": number, "unit": "days"}


def _none_in(days: int) -> dict[str, Any]:
    return {"event": "Order Completed", "within": _days(days), "op": "at_most", "value": 0}


def _big_spenders() -> dict[str, Any]:
    return {
        "event": "Order Completed",
        "measure": "sum",
        "property": "amount",
        "op": "at_least",
        "value": GOAL,
        "where": [{"property": "currency", "op": "is", "value": settings.CURRENCY}],
        "within": _days(90),
    }


def create() -> list[Segment]:
    """Create the demo's segments; the pipeline fills them, and nobody is told of those fills."""
    bought_twice = {
        "event": "Order Completed",
        "within": _days(365),
        "op": "at_least",
        "value": 2,
    }
    first_bought = {
        "event": "Order Completed",
        "measure": "first",
        "property": "@time",
        "op": "in_last",
        "value": _days(30),
    }
    filled_cart = {"event": "Product Added", "within": _days(7)}
    subscribed = {"field": "newsletter", "op": "is", "value": True}
    segments = [
        Segment(
            key=BIG_SPENDERS,
            name="Big spenders (90 days)",
            audience=Audience.IDENTIFIED,
            rule=_big_spenders(),
        ),
        Segment(key="at-risk", name="At risk", rule={"all": [bought_twice, _none_in(90)]}),
        Segment(key=CARTS, name="Cart without purchase", rule={"all": [filled_cart, _none_in(7)]}),
        Segment(key="new-customers", name="New this month", rule=first_bought),
        Segment(
            key="newsletter-without-purchase",
            name="Newsletter without purchase",
            rule={"all": [subscribed, _none_in(180)]},
        ),
    ]
    for segment in segments:
        definitions.save(segment)
    return segments

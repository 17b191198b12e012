"""Made-up visitors of the demo's shop: what their browsers would have sent."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from cdp.demo import people
from cdp.demo.catalogue import RECORDS, Record

Message = dict[str, Any]

VISITORS = 2_000  # in the days before the load
DAYS = 35
BATCH = 100  # messages a request
_NAMESPACE = uuid.UUID("6f1de0b4-90a5-4f7c-8a55-7f3d4cb0c8a1")
_LONGEST_VISIT = timedelta(minutes=40)
_REFERRERS: tuple[tuple[str, dict[str, str] | None], ...] = (
    ("https://www.google.com/", None),
    ("", None),
    ("https://news.example.com/", {"source": "newsletter", "medium": "email", "name": "november"}),
    ("https://music.example.com/", {"source": "music-blog", "medium": "referral", "name": "jazz"}),
)


class _Visit:
    """One browser on one day; every step takes a while and adds what the tag would send."""

    def __init__(self, key: str, started_at: datetime, currency: str) -> None:
        self.random = Random(f"visit {key}")  # noqa: S311 (made up, and the same everywhere)
        self.anonymous_id = str(uuid.uuid5(_NAMESPACE, key))
        self.user_id: str | None = None
        self.at = started_at
        self.currency = currency
        self.messages: list[Message] = []
        self.referrer, self.campaign = self.random.choice(_REFERRERS)

    def send(self, call: str, path: str, **members: Any) -> None:
        number = len(self.messages)
        context: dict[str, Any] = {"page": {"path": path}, "library": {"name": "cdp.js"}}
        if self.campaign:
            context["campaign"] = self.campaign
        self.messages.append(
            {
                "type": call,
                "messageId": f"visit-{self.anonymous_id}-{number}",
                "anonymousId": self.anonymous_id,
                **({"userId": self.user_id} if self.user_id else {}),
                "timestamp": self.at.astimezone(UTC).isoformat(timespec="milliseconds"),
                "context": context,
                **members,
            }
        )
        self.at += timedelta(seconds=5 + 50 * self.random.random())

    def open_page(self, path: str, title: str) -> None:
        self.send(
            "page", path, properties={"path": path, "title": title, "referrer": self.referrer}
        )
        self.referrer = ""

    def look_at(self, record: Record) -> None:
        path = f"/demo/shop/{record.sku}/"
        self.open_page(path, record.title)
        self.send("track", path, event="Product Viewed", properties=self._product(record))

    def add(self, record: Record) -> None:
        path = f"/demo/shop/{record.sku}/"
        properties = {**self._product(record), "quantity": 1}
        self.send("track", path, event="Product Added", properties=properties)

    def order(self, records: Sequence[Record]) -> None:
        properties = {
            "order_id": f"W-{self.anonymous_id[:8].upper()}",
            "revenue": float(sum(record.price for record in records)),
            "currency": self.currency,
            "products": [{**self._product(record), "quantity": 1} for record in records],
        }
        self.send("track", "/demo/shop/cart/", event="Order Completed", properties=properties)

    def sign_in(self, user_id: str, traits: Mapping[str, str]) -> None:
        self.user_id = user_id
        self.send("identify", "/demo/shop/cart/", traits=dict(traits))

    def sign_in_anew(self) -> None:
        person = people.make_up(f"web.{self.anonymous_id[:8]}")
        traits = {name: getattr(person, name) for name in ("firstName", "lastName", "email")}
        self.sign_in(f"WEB-{self.anonymous_id[:8].upper()}", traits)

    def _product(self, record: Record) -> dict[str, Any]:
        return {
            "product_id": record.sku,
            "name": record.title,
            "brand": record.artist,
            "category": record.genre,
            "price": float(record.price),
            "currency": self.currency,
        }


def browse(
    customer_ids: Sequence[str], *, now: datetime, currency: str, visitors: int = VISITORS
) -> list[Message]:
    """Return what visitors did in the last days, oldest first.

    Some of them turn out to be one of these known customers (who then buy nothing), some buy and
    give their name, some fill a cart and go.
    """
    messages = []
    for number in range(visitors):
        random = Random(f"start {number}")  # noqa: S311 (made up, and the same everywhere)
        ago = timedelta(days=DAYS) * random.random()
        visit = _Visit(str(number), now - _LONGEST_VISIT - ago, currency)
        _browse(visit, customer_ids)
        messages += visit.messages
    return sorted(messages, key=_moment)


def _browse(visit: _Visit, customer_ids: Sequence[str]) -> None:
    random = visit.random
    visit.open_page("/demo/shop/", "Records")
    seen = random.sample(RECORDS, random.choice((0, 1, 1, 2, 3, 4)))
    cart = []
    for record in seen:
        visit.look_at(record)
        if random.random() < 0.25:
            visit.add(record)
            cart.append(record)
    fate = random.random()
    if cart and fate < 0.4:
        visit.order(cart)
        if fate < 0.3:
            visit.sign_in_anew()
    elif fate > 0.96:
        visit.sign_in(random.choice(customer_ids), {})
        visit.open_page("/demo/shop/", "Records")


def arrive(*, now: datetime, currency: str) -> list[Message]:
    """Return what some visitors did in the last minutes; by it, some segments are entered.

    Two spend more than 200 and give their names; three fill a cart, give their names and go.
    """
    messages = []
    for number in range(5):
        visit = _Visit(f"latest {number}", now - timedelta(minutes=9 - number), currency)
        visit.open_page("/demo/shop/", "Records")
        wanted = RECORDS[:2] if number < 2 else RECORDS[number : number + 1]
        for record in wanted:
            visit.look_at(record)
            visit.add(record)
        if number < 2:
            visit.order(wanted)
        visit.sign_in_anew()
        messages += visit.messages
    return sorted(messages, key=_moment)


def _moment(message: Message) -> str:
    return str(message["timestamp"])


def in_batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Cut messages into as many as fit one request."""
    for start in range(0, len(messages), BATCH):
        yield messages[start : start + BATCH]

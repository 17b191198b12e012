"""Rows for tests, everything optional."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rest_framework.test import APIClient

from cdp import apikeys
from customers import exact, identity_rules
from customers.models import Customer, CustomerField, Identifier
from events.models import Event, EventName, Source
from segments import definitions, filling
from segments.models import Segment

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
_serial = itertools.count(1)


@pytest.fixture(autouse=True)
def rules_of_the_environment(monkeypatch):
    """Nobody has changed the rules of identity; what a test changes is forgotten after it."""
    monkeypatch.setattr(identity_rules, "_memo", identity_rules.Memo(until=float("inf")))


@pytest.fixture
def make_field(db):
    def make(name, kind="string", **more):
        return CustomerField.objects.create(name=name, type=kind, **more)

    return make


@pytest.fixture
def make_customer(db):
    """A customer; with `customer_id` an identified one."""

    def make(customer_id=None, **more):
        customer = Customer.objects.create(external_id=customer_id, **more)
        if customer_id is not None:
            Identifier.objects.create(kind="customer_id", value=customer_id, customer=customer)
        return customer

    return make


@pytest.fixture
def make_source(db):
    def make(key="shop", kind="website", channel="online", currency="CHF", **more):
        more.setdefault("name", key.title())
        more.setdefault("write_key", f"wk_{key}")
        return Source.objects.get_or_create(
            key=key, defaults={"kind": kind, "channel": channel, "currency": currency} | more
        )[0]

    return make


@pytest.fixture
def make_event(make_customer, make_source):
    """An event as the river stores it."""

    def make(name="Order Completed", customer=None, at=NOON, amount=None, source=None, **more):
        name, _ = EventName.objects.get_or_create(name=name)
        return Event.objects.create(
            customer=customer or make_customer(),
            name=name,
            source=source or make_source(),
            message_id=f"m{next(_serial)}",
            came_by="anonymous_id:x",
            occurred_at=at,
            amount=None if amount is None else Decimal(str(amount)),
            currency=more.pop("currency", None if amount is None else "CHF"),
            properties=more.pop("properties", {}),
            **more,
        )

    return make


@pytest.fixture
def make_segment(db):
    """A saved segment, filled."""

    def make(rule, key=None, audience="everyone", *, fill=True, **more):
        key = key or f"segment-{next(_serial)}"
        options = {"name": key.title()} | more
        segment = Segment(key=key, rule=rule, audience=audience, **options)
        definitions.save(segment)
        while fill and filling.fill_next():
            pass
        segment.refresh_from_db()
        return segment

    return make


class Api:
    """A program that speaks to the API with a key: `api.get(path)` answers (status, JSON)."""

    def __init__(self, key, client=None):
        self.client = client or APIClient(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def __getattr__(self, method):
        def call(path, body=None, **options):
            data = "" if body is None else exact.dumps(body)
            return self.send(method, path, data=data, content_type="application/json", **options)

        return call

    def send(self, method, path, **options):
        """Send a body as it is."""
        answer = self.client.generic(method.upper(), path, headers=self.headers, **options)
        text = b"".join(answer.streaming_content) if answer.streaming else answer.content
        is_json = answer.get("Content-Type", "").startswith("application/json")
        return answer.status_code, exact.loads(text) if is_json and text else text.decode()


@pytest.fixture
def api(db):
    """The API with a key that may do everything."""
    return Api(apikeys.create("tests")[1])

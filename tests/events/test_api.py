"""Events, sources and rejected events over HTTP."""

from datetime import timedelta
from decimal import Decimal

import pytest

from customers.models import Customer
from events.models import Event, Quarantine, Source
from tests.makers import NOON


def ids(answer):
    status, page = answer
    assert status == 200, page
    return [event["id"] for event in page["results"]]


def test_event_is_told_exactly(api, make_event, make_customer):
    ann = make_customer("ann")
    event = make_event(
        customer=ann, amount="0.10", properties={"x": Decimal("0.30"), "deep": {"y": [1]}}
    )
    _, page = api.get("/api/events/")
    (told,) = page["results"]
    assert told == {
        "id": event.id,
        "customer": ann.pk,
        "name": "Order Completed",
        "source": "shop",
        "message_id": event.message_id,
        "came_by": "anonymous_id:x",
        "occurred_at": "2026-01-15T12:00:00Z",
        "received_at": told["received_at"],
        "amount": Decimal("0.10"),
        "currency": "CHF",
        "properties": {"x": Decimal("0.30"), "deep": {"y": [1]}},
        "context": None,
    }


def test_events_are_filtered(api, make_event, make_customer, make_source):
    ann, bob = make_customer("ann"), make_customer("bob")
    first = make_event("A", customer=ann)
    second = make_event("B", customer=bob, at=NOON + timedelta(days=1), source=make_source("till"))
    for query, found in {
        "": [second, first],
        f"customer={ann.pk}": [first],
        "customer=999999999999": [],
        "customer=1e30": [],
        "customer_id=bob": [second],
        "customer_id=nobody": [],
        "name=A": [first],
        "name=C": [],
        "source=till": [second],
        "since=2026-01-16T00:00:00Z": [second],
        "until=2026-01-16T00:00:00Z": [first],
        f"customer={ann.pk}&name=B": [],
    }.items():
        assert ids(api.get(f"/api/events/?{query}")) == [event.id for event in found], query


def test_misspelt_filter_is_refused(api):
    status, answer = api.get("/api/events/?custmer=1")
    assert status == 400
    assert "customer" in answer["errors"][0]["detail"]


def test_events_of_an_absorbed_customer_are_those_of_the_survivor(api, tell):
    tell(
        {"anonymousId": "a1", "event": "Browsed"},
        {"userId": "u1", "event": "Bought"},
        {"type": "identify", "userId": "u1", "anonymousId": "a1"},
    )
    absorbed = Customer.objects.exclude(merged_into=None).get()
    assert len(ids(api.get(f"/api/events/?customer={absorbed.pk}"))) == 2
    assert len(ids(api.get(f"/api/customers/{absorbed.pk}/events/"))) == 2


def test_catalogue_tells_properties_and_their_types(api, make_event, django_assert_num_queries):
    make_event("A", properties={"n": 1, "list": [1], "none": None})
    make_event("A", properties={"n": "2"})
    make_event("B")
    _, page = api.get("/api/event-names/")
    assert [name["name"] for name in page["results"]] == ["A", "B"]
    assert page["results"][0]["properties"] == [
        {"name": "list", "types": ["array"], "example": None},
        {"name": "n", "types": ["number", "string"], "example": "2"},
    ]
    _, found = api.get("/api/event-names/?search=b")
    assert [name["name"] for name in found["results"]] == ["B"]


ONCE = ("write_key", "hook_path")


def test_source_shows_its_key_once(api, client):
    status, made = api.post("/api/sources/", {"name": "Till 1", "kind": "store"})
    assert status == 201
    assert (made["key"], made["channel"], made["enabled"]) == ("till-1", "offline", True)
    status, again = api.get("/api/sources/till-1/")
    assert again == {name: value for name, value in made.items() if name not in ONCE}
    sent = {"userId": "u1", "event": "Clicked", "writeKey": made["write_key"]}
    assert client.post("/v1/track", sent, content_type="application/json").status_code == 200


def test_rotated_key_replaces_the_old(api, client, source):
    _, rotated = api.post("/api/sources/shop/rotate/")
    sent = {"userId": "u1", "event": "Clicked"}
    for key, status in (("wk_shop", 401), (rotated["write_key"], 200)):
        answer = client.post(f"/v1/track?writeKey={key}", sent, content_type="application/json")
        assert answer.status_code == status


def test_source_can_be_changed_and_switched_off(api, source):
    status, changed = api.patch("/api/sources/shop/", {"enabled": False, "currency": "eur"})
    assert (status, changed["enabled"], changed["currency"]) == (200, False, "EUR")
    assert not Source.objects.get().is_enabled


@pytest.mark.parametrize(
    "wrong",
    [
        {"currency": "Euro"},
        {"kind": "radio"},
        {"key": "shop"},
        {"key": "not a slug"},
        {"nme": "x"},
        {"name": ""},
    ],
)
def test_wrong_source_is_refused_with_the_member_at_fault(api, source, wrong):
    status, answer = api.post("/api/sources/", {"name": "x"} | wrong)
    assert status == 400
    assert answer["errors"][0]["attr"] == next(iter(wrong))
    assert Source.objects.count() == 1


def test_rejected_events_are_listed_and_sent_through_again(api, send, take_in, source):
    source.is_enabled = False
    source.save()
    for n in range(3):
        send("/v1/track", {"userId": "u1", "event": f"E{n}"})
    take_in()
    source.is_enabled = True
    source.save()
    _, page = api.get("/api/quarantine/?code=source_disabled&source=shop&replayed=false")
    first, *others = [row["id"] for row in page["results"]]
    assert api.post(f"/api/quarantine/{first}/replay/") == (200, {"replayed": 1})
    assert api.post("/api/quarantine/replay/", {"ids": [first, *others]}) == (200, {"replayed": 2})
    take_in()
    assert Event.objects.count() == 3
    assert len(api.get("/api/quarantine/?replayed=true")[1]["results"]) == 3


def test_rejected_event_outlives_its_source(api, send, take_in, source):
    send("/v1/track", {"userId": "u1", "event": "Clicked"})
    source.delete()
    take_in()
    _, row = api.get(f"/api/quarantine/{Quarantine.objects.get().pk}/")
    assert (row["source"], row["code"]) == (None, "source_deleted")

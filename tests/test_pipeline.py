"""The river from end to end: a request comes in, a message to a destination waits to go out."""

import json
from datetime import timedelta

import pytest
from django.core.management import call_command

from activation.models import Delivery, Destination, Trigger
from cdp import pipeline
from customers import clock
from customers.models import Change, Customer, CustomerField
from events.models import Event, Inbox
from segments.models import Membership, MembershipChange

pytestmark = pytest.mark.django_db(transaction=True)

SPENT_200 = {
    "event": "Order Completed",
    "measure": "sum",
    "property": "amount",
    "op": "at_least",
    "value": 200,
    "within": {"last": 90, "unit": "days"},
}


@pytest.fixture
def send(client, make_source):
    """Send a call as a website does."""
    source = make_source()

    def post(call, **body):
        answer = client.post(
            f"/v1/{call}",
            json.dumps(body),
            content_type="application/json",
            headers={"X-Write-Key": source.write_key},
        )
        assert answer.json() == {"success": True}

    return post


@pytest.fixture
def big_spenders(make_segment):
    """The flagship segment, forwarded to a destination."""
    segment = make_segment(SPENT_200, key="big-spenders", audience="identified")
    destination = Destination.objects.create(
        key="mail", name="Mail", config={"url": "https://example.com/hook"}, secret="whsec_MDEyMw=="
    )
    Trigger.objects.create(
        key="forward", name="Forward", segment=segment, destination=destination, is_enabled=True
    )
    return segment


def flow():
    while sum(stage.work(pipeline.BATCH) for stage in pipeline.STAGES):
        pass


def bodies():
    return [json.loads(d.body) for d in Delivery.objects.order_by("created_at")]


def test_purchases_online_and_offline_together_are_forwarded_once(
    send, big_spenders, client, make_source
):
    till = make_source("till", kind="store", channel="offline")
    send("track", userId="ann", event="Order Completed", properties={"revenue": 120})
    flow()
    assert not Membership.objects.exists()
    body = {"userId": "ann", "event": "Order Completed", "properties": {"total": "80.00"}}
    for _ in range(2):  # the till sends twice
        client.post(
            "/v1/track",
            json.dumps(body | {"messageId": "till-1"}),
            content_type="application/json",
            headers={"X-Write-Key": till.write_key},
        )
    flow()
    (message,) = bodies()
    assert message["type"] == "segment.entered"
    assert message["data"]["customer"]["customer_id"] == "ann"
    assert message["data"]["event"]["message_id"] == "till-1"
    assert message["data"]["membership"] | {"entered_at": None} == {
        "entered_at": None,
        "entry_no": 1,
        "cause": "event",
    }
    assert Event.objects.count() == 2
    assert not Inbox.objects.exists()
    assert not Change.objects.exists()


def test_an_anonymous_buyer_enters_by_signing_in(send, big_spenders):
    send("track", anonymousId="v1", event="Order Completed", properties={"revenue": 250})
    flow()
    assert not Delivery.objects.exists()
    send("identify", userId="ann", anonymousId="v1", traits={"email": "ann@example.com"})
    flow()
    (message,) = bodies()
    assert message["data"]["customer"]["customer_id"] == "ann"
    assert Customer.objects.current().count() == 1


def test_the_customer_leaves_when_the_90_days_have_passed(send, big_spenders, monkeypatch):
    send("track", userId="ann", event="Order Completed", properties={"revenue": 200})
    flow()
    bought_at = Event.objects.get().occurred_at
    due = bought_at + timedelta(days=90)
    monkeypatch.setattr(clock, "now", lambda: due - timedelta(microseconds=1))
    flow()
    assert Membership.objects.exists()
    monkeypatch.setattr(clock, "now", lambda: due)
    flow()
    assert not Membership.objects.exists()
    left = MembershipChange.objects.get(entered=False)
    assert (left.at, left.cause) == (due, "time")
    assert len(bodies()) == 1


def test_a_field_written_by_an_identify_moves_the_customer(send, make_segment):
    CustomerField.objects.create(name="plan", type="string")
    make_segment({"field": "plan", "op": "is", "value": "gold"}, key="gold")
    send("identify", userId="ann", traits={"plan": "Gold"})
    flow()
    assert MembershipChange.objects.get().cause == "field"


def test_a_new_customer_of_whom_nothing_is_known_is_in_the_segments_of_those(send, make_segment):
    make_segment(
        {"event": "Order Completed", "op": "at_most", "value": 0, "within": SPENT_200["within"]},
        key="idle",
    )
    send("track", userId="ann", event="Page Viewed")
    flow()
    assert Membership.objects.count() == 1


def test_a_row_that_fails_alone_holds_up_nobody(send, big_spenders, monkeypatch):
    """A customer whose evaluation fails is set aside with the error; the others get on."""
    send("track", userId="bad", event="Order Completed", properties={"revenue": 300})
    ingest()
    send("track", userId="ann", event="Order Completed", properties={"revenue": 300})
    ingest()
    bad = Customer.objects.get(external_id="bad").pk
    refresh = pipeline.memberships.refresh

    def failing(facts):
        if any(fact.customer_id == bad for fact in facts):
            raise ValueError("cannot be evaluated")
        return refresh(facts)

    monkeypatch.setattr(pipeline.memberships, "refresh", failing)
    call_command("run_pipeline", "--once")
    assert [m.customer.external_id for m in Membership.objects.all()] == ["ann"]
    errors = set(Change.objects.values_list("customer_id", "error"))
    assert errors == {(bad, "ValueError: cannot be evaluated")}


def ingest():
    pipeline.ingest(pipeline.BATCH)

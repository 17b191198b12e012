from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from activation import messages
from activation.messages import Occasion
from customers import exact
from customers.models import Identifier
from tests.activation.conftest import entry
from tests.makers import NOON

pytestmark = pytest.mark.django_db


def write(trigger, *transitions, **more):
    wish = messages.wish_of(trigger)
    bodies = messages.write([Occasion(wish, transition) for transition in transitions], **more)
    return [exact.loads(written.body) for written in bodies]


def test_message_says_who_entered_what_and_why(make_trigger, make_customer, make_event):
    trigger = make_trigger(key="thanks")
    anna = make_customer("C-1", fields={"firstName": "Änna", "score": Decimal("1.50"), "vip": True})
    Identifier.objects.create(kind="email", value="anna@example.org", customer=anna)
    event = make_event(customer=anna, amount="200.10", properties={"n": Decimal("0.1"), "s": "ü"})
    (body,) = write(trigger, entry(trigger, anna, 3, at=NOON, event_id=event.id))
    assert body == {
        "type": "segment.entered",
        "timestamp": "2026-01-15T12:00:00Z",
        "data": {
            "trigger": "thanks",
            "segment": {"key": trigger.segment.key, "name": trigger.segment.name},
            "customer": {
                "id": anna.pk,
                "customer_id": "C-1",
                "identifiers": [
                    {"kind": "customer_id", "value": "C-1"},
                    {"kind": "email", "value": "anna@example.org"},
                ],
                "fields": {"firstName": "Änna", "score": Decimal("1.50"), "vip": True},
            },
            "membership": {"entered_at": "2026-01-15T12:00:00Z", "entry_no": 3, "cause": "event"},
            "event": {
                "id": event.id,
                "message_id": event.message_id,
                "name": "Order Completed",
                "occurred_at": "2026-01-15T12:00:00Z",
                "received_at": body["data"]["event"]["received_at"],
                "source": "shop",
                "channel": "online",
                "amount": Decimal("200.10"),
                "currency": "CHF",
                "properties": {"n": Decimal("0.1"), "s": "ü"},
            },
        },
    }


def test_message_without_an_event_or_customer_id_says_null(make_trigger, make_customer):
    trigger = make_trigger()
    (body,) = write(trigger, entry(trigger, make_customer(), cause="time"))
    assert body["data"]["event"] is None
    assert body["data"]["customer"]["customer_id"] is None


def test_message_of_leaving_says_from_when_to_when(make_trigger, join):
    trigger = make_trigger(on="leave")
    customer = join(trigger.segment, at=NOON, entry_no=2)
    left = entry(trigger, customer, 2, entered=False, at=NOON.replace(day=20), cause="time")
    (body,) = write(trigger, left)
    assert body["type"] == "segment.left"
    assert body["data"]["membership"] == {
        "entered_at": "2026-01-15T12:00:00Z",
        "left_at": "2026-01-20T12:00:00Z",
        "entry_no": 2,
        "cause": "time",
    }


@pytest.mark.parametrize("number", ["0.1", "200.00", "-1e-30", "123456789012345678901234567890.5"])
def test_amounts_and_numbers_keep_all_their_digits(make_trigger, make_customer, make_event, number):
    trigger = make_trigger()
    customer = make_customer(fields={"n": Decimal(number)})
    event = make_event(customer=customer, amount=number, properties={"n": Decimal(number)})
    (body,) = write(trigger, entry(trigger, customer, event_id=event.id))
    found = body["data"]
    numbers = [found["customer"]["fields"]["n"], found["event"]["amount"]]
    assert [*numbers, found["event"]["properties"]["n"]] == [Decimal(number)] * 3


def test_hostile_names_stay_inside_their_strings(make_trigger, make_customer, by_hand):
    name = 'x","data":{}}\n<script>\u2028'
    by_hand.name = name
    by_hand.save()
    trigger = make_trigger(segment=by_hand)
    (body,) = write(trigger, entry(trigger, make_customer(name)))
    assert body["data"]["segment"]["name"] == name
    assert body["data"]["customer"]["customer_id"] == name


def test_customer_that_is_gone_is_left_out(make_trigger, make_customer):
    trigger, gone, here = make_trigger(), make_customer(), make_customer()
    transitions = [entry(trigger, gone), entry(trigger, here)]
    gone.delete()
    assert [body["data"]["customer"]["id"] for body in write(trigger, *transitions)] == [here.pk]


def test_test_says_that_it_is_one(make_trigger, make_customer):
    trigger = make_trigger()
    (body,) = write(trigger, entry(trigger, make_customer()), is_test=True)
    assert body["data"]["test"] is True


def test_queries_do_not_grow_with_the_messages(make_trigger, make_customer, make_event):
    trigger = make_trigger()

    def count(people):
        transitions = []
        for _ in range(people):
            event = make_event(amount=1)
            transitions.append(entry(trigger, event.customer, event_id=event.id))
            transitions.append(entry(trigger, event.customer, entered=False))
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert len(write(trigger, *transitions)) == 2 * people
        return len(queries)

    assert count(1) == count(20) == 4

"""From a request to an event of a known customer."""

import threading

import pytest
from django.db import connection, transaction

from customers import erasure as customers_erasure
from customers.models import Change, Customer
from events import cleaning, erasure, inbox
from events.models import Event, Inbox
from tests.events.reading import events_of, reasons

TRACK = {
    "userId": "u1",
    "event": "Order Completed",
    "messageId": "m1",
    "properties": {"revenue": 9.95},
}


def test_tracked_event_belongs_to_its_customer(send, take_in):
    assert send("/v1/track", TRACK).json() == {"success": True}
    assert take_in() == 1
    event = Event.objects.get()
    assert event.customer.external_id == "u1"
    assert str(event.amount) == "9.95"
    assert event.came_by == "customer_id:u1"
    assert not Inbox.objects.exists()


def test_new_event_is_a_fact_for_the_segments(send, take_in):
    send("/v1/track", TRACK)
    take_in()
    event, customer = Event.objects.get(), Customer.objects.get()
    facts = set(Change.objects.values_list("customer_id", "fact", "event_id"))
    assert facts == {
        (customer.pk, "new", None),
        (customer.pk, "field:@identified", None),
        (customer.pk, "event:Order Completed", event.id),
    }


def test_event_sent_twice_is_stored_once(send, take_in):
    send("/v1/track", TRACK)
    send("/v1/track", TRACK)
    take_in()
    send("/v1/batch", {"batch": [{**TRACK, "type": "track"}] * 2})
    take_in()
    assert Event.objects.count() == 1


def test_events_follow_a_merge(tell):
    tell(
        {"anonymousId": "a1", "event": "Browsed"},
        {"userId": "u1", "event": "Bought"},
        {"type": "identify", "userId": "u1", "anonymousId": "a1"},
        {"anonymousId": "a1", "event": "Returned"},
    )
    assert events_of(customer_id="u1") == ["Browsed", "Bought", "Returned"]
    came_by = [*Event.objects.order_by("id").values_list("came_by", flat=True)]
    assert came_by == ["anonymous_id:a1", "customer_id:u1", "anonymous_id:a1"]


def test_device_of_two_people_in_one_batch(tell):
    tell(
        {"type": "track", "anonymousId": "a", "userId": "u1", "event": "1"},
        {"type": "track", "anonymousId": "a", "event": "2"},
        {"type": "track", "anonymousId": "a", "userId": "u2", "event": "3"},
        {"type": "track", "anonymousId": "a", "event": "4"},
        together=True,
    )
    assert events_of(customer_id="u1") == ["1", "2"]
    assert events_of(customer_id="u2") == ["3", "4"]


def test_second_copy_of_an_identify_is_recognised(tell, make_field):
    make_field("city")
    identify = {"type": "identify", "userId": "u1", "messageId": "m1"}
    tell(*(identify | {"traits": {"city": city}} for city in ("Bern", "Basel")))
    assert Customer.objects.get().fields == {"city": "Bern"}


def test_cost_of_a_batch_does_not_grow_with_it(send, take_in, django_assert_num_queries):
    for start, end in ((0, 10), (10, 1010)):
        batch = [
            {"type": "track", "userId": f"u{n}", "event": f"E{n % 40} {start}"}
            for n in range(start, end)
        ]
        send("/v1/batch", {"batch": batch})
        with django_assert_num_queries(24):
            take_in()
    assert Event.objects.count() == 1010


def test_large_requests_are_taken_a_few_at_a_time(send, take_in, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_BYTES", 100)
    for n in range(3):
        send("/v1/track", TRACK | {"messageId": str(n)})
    assert [take_in(), take_in(), take_in()] == [2, 1, 0]


def test_batch_of_many_events_is_stored_in_slices(send, take_in, monkeypatch):
    monkeypatch.setattr(inbox, "AT_ONCE", 3)
    send("/v1/batch", {"batch": [TRACK | {"type": "track", "messageId": str(n)} for n in range(8)]})
    assert take_in() == 1
    assert Event.objects.count() == 8


@pytest.mark.django_db(transaction=True)
def test_pipelines_side_by_side_store_each_event_once(send, take_in):
    for n in range(60):
        event = {"userId": f"u{n % 7}", "anonymousId": f"a{n % 5}", "event": "Clicked"}
        send("/v1/track", event | {"messageId": f"m{n % 50}"})
    failures = []

    def pipeline():
        try:
            while take_a_few():
                pass
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    @transaction.atomic
    def take_a_few():
        return inbox.process(4)

    threads = [threading.Thread(target=pipeline) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert Event.objects.count() == 50
    assert Customer.objects.current().count() == 7


def test_fault_of_ours_costs_one_event_not_its_neighbours(send, take_in, monkeypatch):
    clean = cleaning.clean

    def faulty(raw, envelope):
        return clean(raw | 5 if raw["event"] == "2" else raw, envelope)

    monkeypatch.setattr(cleaning, "clean", faulty)
    batch = [{"type": "track", "userId": "u1", "event": str(n)} for n in range(4)]
    send("/v1/batch", {"batch": batch})
    take_in()
    assert reasons() == ["unreadable"]
    assert events_of(customer_id="u1") == ["0", "1", "3"]


@pytest.mark.django_db(transaction=True)
def test_event_of_a_customer_who_is_being_erased_is_nobodys_of_old(send, take_in):
    """No foreign key guards this: the locks must."""
    send("/v1/track", TRACK)
    take_in()
    (erased,) = Customer.objects.values_list("pk", flat=True)
    send("/v1/track", TRACK | {"messageId": "m2"})

    def pipeline():
        take_in()
        connection.close()

    thread = threading.Thread(target=pipeline)
    with transaction.atomic():
        customers_erasure.hold([erased])
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it should wait for the customer"
        erasure.forget([erased])
        customers_erasure.forget([erased])
    thread.join(10)
    event = Event.objects.get()
    assert event.message_id == "m2"
    assert event.customer_id == Customer.objects.get().pk != erased

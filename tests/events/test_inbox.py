"""From a request to an event of a known customer."""

from customers.models import Change, Customer
from events.models import Event, Inbox

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
    assert facts == {(customer.pk, "new", None), (customer.pk, "event:Order Completed", event.id)}


def test_event_sent_twice_is_stored_once(send, take_in):
    send("/v1/track", TRACK)
    send("/v1/track", TRACK)
    take_in()
    send("/v1/batch", {"batch": [{**TRACK, "type": "track"}] * 2})
    take_in()
    assert Event.objects.count() == 1

import pytest

from activation import destinations, outbox, triggers
from activation.models import Destination, Trigger
from customers import consent
from tests.makers import NOON

pytestmark = pytest.mark.django_db


def test_export_holds_everything_known_of_one_person_and_of_nobody_else(
    api, make_field, make_customer, make_event, make_segment, settings
):
    settings.DEMO = True  # opens loopback, where nobody listens
    make_field("age", "number")
    ann, bob = make_customer("a"), make_customer("b")
    for customer in (ann, bob):
        api.patch(f"/api/customers/{customer.pk}/", {"fields": {"age": customer.pk}})
        make_event(customer=customer, amount="12.50", properties={"of": customer.pk})
    ann.merges.create(absorbed_id=bob.pk, cause="x", identifiers=[])
    both = [consent.Decision(one.pk, "mail", granted=True, at=NOON) for one in (ann, bob)]
    consent.record(both, source="test")
    segment = make_segment({"event": "Order Completed"}, "buyers")
    destination = Destination(key="x", name="X", config={"url": "http://127.0.0.1:9/"})
    destinations.save(destination)
    trigger = Trigger(key="x", name="X", segment=segment, destination=destination)
    triggers.save(trigger)
    outbox.send_test(trigger, ann.pk)
    status, answer = api.get(f"/api/customers/{ann.pk}/export/")
    assert status == 200
    assert answer.pop("customer")["fields"] == {"age": ann.pk}
    assert {name: len(rows) for name, rows in answer.items()} == {
        "identifiers": 1,
        "changes": 1,
        "merges": 1,
        "consents": 1,
        "consent_history": 1,
        "events": 1,
        "memberships": 1,
        "membership_history": 1,
        "deliveries": 1,
    }
    assert answer["events"][0]["properties"] == {"of": ann.pk}
    assert answer["membership_history"][0]["segment"] == "buyers"


def test_export_reads_as_often_for_1_event_as_for_100(
    api, make_customer, make_event, django_assert_num_queries
):
    ann = make_customer("a")
    make_event(customer=ann)
    api.get("/api/customers/")  # notes that the key was used, once a minute
    path = f"/api/customers/{ann.pk}/export/"
    for _ in range(2):
        with django_assert_num_queries(13):
            api.get(path)
        for _ in range(99):
            make_event(customer=ann)

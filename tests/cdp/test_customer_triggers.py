"""From a profile: why a trigger sent nothing, what it would send, and everything as a file."""

import json

import pytest

from activation import destinations, triggers
from activation.models import Delivery, Destination, Trigger
from segments.models import Segment
from tests.activation.receivers import Receiver


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def trigger(db, settings, receiver):
    settings.DEMO = True  # opens loopback
    target = Destination(key="tool", name="Tool", config={"url": receiver.url})
    destinations.save(target)
    segment = Segment.objects.create(key="vip", name="VIP", kind="static", rule=None)
    made = Trigger(key="hello", name="Hello", segment=segment, destination=target, on="enter")
    triggers.save(made)
    return made


def test_profile_asks_a_trigger_why_and_tries_it(staff, make_customer, trigger, receiver):
    anna = make_customer("A1")
    page = f"/admin/customers/customer/{anna.pk}/"
    assert "Ask a trigger" in staff.get(page).content.decode()
    said = staff.get(f"{page}why/", {"trigger": trigger.pk}).content.decode()
    assert "never been in “VIP”" in said
    tried = staff.post(f"{page}test/", {"trigger": trigger.pk}).content.decode()
    assert "It works" in tried
    sent = Delivery.objects.get()
    assert (sent.customer_id, sent.is_test, len(receiver.received)) == (anna.pk, True, 1)
    assert f"/admin/activation/delivery/{sent.pk}/" in staff.get(page).content.decode()


@pytest.mark.parametrize("named", ["", "0", "x", "9" * 30, "²"])
def test_trigger_that_does_not_exist_is_asked_for_again(staff, make_customer, trigger, named):
    page = f"/admin/customers/customer/{make_customer().pk}/"
    asked = staff.get(f"{page}why/", {"trigger": named})
    tried = staff.post(f"{page}test/", {"trigger": named})
    assert [answer.status_code for answer in (asked, tried)] == [200, 200]
    assert all("Choose a trigger." in answer.content.decode() for answer in (asked, tried))


def test_everything_of_a_customer_is_for_those_who_may_see_and_export_it(
    staff, member, make_customer, trigger
):
    page = f"/admin/customers/customer/{make_customer('A1').pk}/"
    file = staff.get(f"{page}everything.json")
    assert json.loads(b"".join(file.streaming_content))["customer"]["customer_id"] == "A1"
    viewer = member("Viewer")
    assert viewer.get(f"{page}everything.json").status_code == 403
    assert viewer.post(f"{page}test/", {"trigger": trigger.pk}).status_code == 403
    assert "everything.json" not in viewer.get(page).content.decode()

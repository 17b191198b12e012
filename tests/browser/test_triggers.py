"""From a segment to a message that arrives, by clicking."""

import pytest

from activation import dispatch, outbox
from activation.models import Delivery, Destination, Trigger
from segments import definitions
from segments.models import Segment
from tests.activation.receivers import Receiver, answer, one_after_the_other

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _loopback(settings, monkeypatch):
    settings.WEBHOOK_ALLOW_PRIVATE = ["127.0.0.0/8"]
    monkeypatch.setattr(dispatch, "LINGER", 0)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def guests(make_customer):
    """A segment kept by hand, with Ann in it."""
    segment = Segment(key="guests", name="Guests", kind="static")
    definitions.save(segment)
    ann = make_customer("CH-1", fields={"firstName": "Ann"})
    make_customer("CH-2", fields={"firstName": "Bob"})
    definitions.add_members(segment, [ann.pk])
    return segment


def test_trigger_is_described_tried_switched_on_and_sends(admin, guests, receiver, faults):
    page = admin.page
    admin.open("activation/destination/add/")
    page.get_by_label("Address", exact=True).first.fill(receiver.url)
    page.get_by_label("Name").fill("E-mail tool")
    assert page.get_by_label("Key").input_value() == "e-mail-tool"
    page.get_by_role("button", name="Create destination").click()
    secret = page.locator("[data-testid=secret]").inner_text()
    assert secret == Destination.objects.get().secret
    page.get_by_role("link", name="I have copied it").click()

    admin.open(f"segments/segment/{guests.pk}/")
    page.get_by_role("link", name="New trigger").click()
    assert page.get_by_label("Segment").input_value() == str(guests.pk)
    page.get_by_label("Destination").select_option(label="E-mail tool")
    page.get_by_label("Name").fill("Welcome guests")
    page.get_by_role("button", name="Create, switched off").click()

    page.get_by_role("button", name="Send a test").click()
    page.get_by_text("It works: answered 200").wait_for()
    assert '"firstName": "Ann"' in page.locator("#test-result").inner_text()
    assert b'"test":true' in receiver.wait_for(1)[0].body

    page.get_by_role("button", name="Switch on …").click()
    assert page.get_by_label("Only those who enter from now on").is_checked()
    page.get_by_role("button", name="Switch on", exact=True).click()
    page.get_by_text("it sends from now on").wait_for()
    assert Trigger.objects.get().is_enabled

    admin.open(f"segments/segment/{guests.pk}/members/add/")
    page.get_by_label("CustomerIds").fill("CH-2\nCH-3")
    page.get_by_role("button", name="Add customers").click()
    page.get_by_text("1 added. 1 line could not be used").wait_for()
    outbox.deliver_due()
    assert b'"firstName":"Bob"' in receiver.wait_for(2)[1].body.replace(b": ", b":")
    admin.open("activation/delivery/?kind=real")
    assert page.locator("#result_list").get_by_text("Delivered").count() == 1
    assert faults == []


def test_failed_message_is_looked_at_and_sent_again(admin, guests, make_customer):
    receiver = Receiver(one_after_the_other(*[answer(400)] * 3, answer(200)))
    page = admin.page
    destination = Destination(key="tool", name="Tool", config={"url": receiver.url})
    destination.secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
    destination.save()
    trigger = Trigger.objects.create(
        key="t", name="T", segment=guests, destination=destination, is_enabled=True
    )
    new = definitions.add_members(guests, [make_customer("CH-9").pk])
    outbox.enqueue(new)
    for _ in range(3):
        Delivery.objects.update(due_at="2020-01-01T00:00:00Z")
        Destination.objects.update(held_until=None)
        outbox.deliver_due()
    admin.open(f"activation/trigger/{trigger.pk}/")
    page.locator("#content").get_by_role("link", name="CH-9").click()
    page.get_by_text("Given up after 3 tries").wait_for()
    page.get_by_role("button", name="Send again").click()
    page.get_by_text("It is sent again, with the same id.").wait_for()
    outbox.deliver_due()
    page.reload()
    page.locator("#content").get_by_text("Delivered").first.wait_for()
    receiver.close()


@pytest.mark.parametrize("width", [390, 1400])
def test_pages_of_activation_fit_the_screen(admin, guests, width):
    destination = Destination.objects.create(
        key="tool", name="Tool", config={"url": f"https://tool.example/{'long' * 60}"}, secret="x"
    )
    trigger = Trigger.objects.create(key="t", name="T", segment=guests, destination=destination)
    delivery = Delivery.objects.create(
        trigger=trigger, destination=destination, customer_id=1, entry_no=1, body="{}"
    )
    admin.page.set_viewport_size({"width": width, "height": 844})
    for path in (
        "trigger/",
        f"trigger/{trigger.pk}/",
        "trigger/add/",
        "destination/",
        f"destination/{destination.pk}/",
        "destination/add/",
        "delivery/",
        f"delivery/{delivery.pk}/",
    ):
        admin.open(f"activation/{path}")
        fits = "document.documentElement.scrollWidth <= innerWidth"
        assert admin.page.evaluate(fits), path

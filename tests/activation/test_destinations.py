import base64
from datetime import timedelta

import pytest
from django.db import connection
from django_q.models import OrmQ

from activation import destinations, outbox, previews
from activation.destinations import DestinationError
from activation.models import Delivery, Destination, WakeUp
from customers import clock
from customers.masking import Mask
from tests.activation import receivers
from tests.activation.conftest import run_tasks, state_of, tasks

pytestmark = pytest.mark.django_db


def test_secret_is_told_once_and_encrypted_at_rest():
    destination = Destination(key="crm", name="CRM", config={"url": "https://a.example/"})
    secret = destinations.save(destination)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert destinations.save(destination) == ""
    assert Destination.objects.get().secret == secret
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM activation_destination")
        (stored,) = cursor.fetchone()
    assert secret not in stored
    assert stored.startswith("gAAAA")


def test_bad_address_is_refused_and_nothing_is_stored():
    with pytest.raises(DestinationError, match="begins with https://") as refused:
        destinations.save(Destination(key="crm", name="CRM", config={"url": "ftp://a.example"}))
    assert refused.value.member == "config.url"
    assert not Destination.objects.exists()


@pytest.mark.parametrize("member", ["key", "kind"])
def test_key_and_kind_stay(make_destination, member):
    destination = make_destination()
    setattr(destination, member, "webhook" if member == "key" else "other")
    destinations.KINDS.setdefault("other", destinations.KINDS["webhook"])
    with pytest.raises(DestinationError, match="cannot be changed") as refused:
        destinations.save(destination)
    del destinations.KINDS["other"]
    assert refused.value.member == member


def test_old_form_does_not_undo_what_the_breaker_knows(make_destination):
    destination = make_destination()
    held_until = clock.now() + timedelta(minutes=5)
    Destination.objects.update(failures_in_a_row=7, failing_since=held_until, held_until=held_until)
    destination.name = "New name"
    destinations.save(destination)
    destination.refresh_from_db()
    assert (destination.name, destination.failures_in_a_row) == ("New name", 7)
    assert destination.held_until == held_until


def test_old_form_does_not_enable_what_was_disabled_meanwhile(make_destination):
    """It says "enabled" because it was, which is no wish to enable it."""
    destination = make_destination()
    Destination.objects.update(is_enabled=False, disabled_because="It answered 410.")
    destination.name = "New name"
    destinations.save(destination, edited={"name"})
    destination.refresh_from_db()
    assert (destination.name, destination.is_enabled) == ("New name", False)


def test_enabling_gives_a_fresh_start_and_sends_what_was_held(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(410))
    trigger = make_trigger(receiver)
    (delivery,) = enter(trigger)
    run_tasks()
    receiver.behaves = receivers.answer(200)
    destination = Destination.objects.get(pk=trigger.destination_id)
    destination.is_enabled = True
    destinations.save(destination)
    destination.refresh_from_db()
    assert (destination.disabled_because, destination.failures_in_a_row) == ("", 0)
    Delivery.objects.update(due_at=clock.now())
    assert tasks() == 1
    run_tasks()
    assert state_of(delivery) == "delivered"


def test_disabled_by_hand_holds(make_trigger, enter, receiver):
    trigger = make_trigger(receiver)
    trigger.destination.is_enabled = False
    destinations.save(trigger.destination)
    (delivery,) = enter(trigger)
    OrmQ.objects.all().delete()
    WakeUp.objects.all().delete()
    outbox.deliver_due()
    assert receiver.received == []
    assert state_of(delivery) == "held"


def test_destination_that_triggers_use_is_not_deleted(make_trigger):
    trigger = make_trigger(name="Thank you")
    with pytest.raises(DestinationError, match="Triggers send to it: Thank you"):
        destinations.delete(trigger.destination)
    trigger.delete()
    destinations.delete(trigger.destination)
    assert not Destination.objects.exists()


def test_destination_with_a_log_is_not_deleted(make_trigger, make_destination, enter, receiver):
    trigger = make_trigger(receiver)
    enter(trigger)
    run_tasks()
    old = trigger.destination
    trigger.destination = make_destination()
    trigger.save()
    with pytest.raises(DestinationError, match="log"):
        destinations.delete(old)


def test_request_of_a_delivery_hides_its_signature(make_trigger, enter, receiver):
    (delivery,) = enter(make_trigger(receiver))
    request = previews.request_of(delivery, Mask())
    assert (request.method, request.url, request.body) == ("POST", receiver.url, delivery.body)
    assert request.headers["webhook-id"] == str(delivery.pk)
    assert request.headers["webhook-signature"] == "(hidden)"

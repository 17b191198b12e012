"""What is sent is settled before it is sent, so that nothing that dies or is edited changes it."""

from datetime import timedelta

import pytest

from activation import flights, outbox
from activation.models import Delivery, Destination
from activation.sql import sending
from customers import clock
from tests.activation import receivers
from tests.activation.conftest import run_tasks

pytestmark = pytest.mark.django_db

NOW = '{"at": "{{ "now" | date: "%s%f" }}"}'
LATER = {"template": '{"later": 1}'}


class Killed(BaseException):
    """As by kill -9: nothing after it happens."""


def killed_before_noting(monkeypatch):
    def die(rows):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(sending, "note_attempts", die)
        with pytest.raises(Killed):
            run_tasks()
    Delivery.objects.waiting().update(leased_until=clock.now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, LATER),
        ({"template": NOW}, {"template": NOW}),
        ({"template": NOW}, {}),
        ({"mapping": {"a": "customer.id"}}, {"mapping": {"b": "customer.id"}}),
        ({"batch": 5}, LATER),
    ],
)
def test_edit_after_a_kill_between_request_and_note_changes_no_byte(
    receiver, make_trigger, enter, monkeypatch, before, after
):
    trigger = make_trigger(receiver)
    Destination.objects.update(config={"url": receiver.url, **before})
    (delivery,) = enter(trigger)
    killed_before_noting(monkeypatch)
    Destination.objects.update(config={"url": receiver.url, **after})
    outbox.wake_due(clock.now())
    run_tasks()
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(delivery.pk)
    delivery.refresh_from_db()
    assert (delivery.sent, delivery.delivered_at is None) == ("", False)


def test_what_was_leased_and_not_sent_is_sent_in_the_words_of_then(
    make_receiver, make_trigger, enter, monkeypatch
):
    monkeypatch.setattr(flights, "SECONDS", 10.0)
    receiver = make_receiver()
    trigger = make_trigger(receiver)
    enter(trigger, 30)
    run_tasks()  # the next flights are long
    receiver.behaves = receivers.answer(500)
    enter(trigger, 60)
    run_tasks()
    begun = Delivery.objects.waiting().exclude(sent="")
    assert begun.count() == begun.filter(attempts_made=1).count() == 5


def test_message_whose_lease_is_lost_while_it_is_written_is_not_sent(
    receiver, make_trigger, enter, monkeypatch
):
    real = sending.keep_words

    def late(rows):
        Delivery.objects.update(lease="0" * 32)
        return real(rows)

    monkeypatch.setattr(sending, "keep_words", late)
    trigger = make_trigger(receiver)
    Destination.objects.update(config={"url": receiver.url, "template": NOW})
    enter(trigger)
    run_tasks()
    assert receiver.received == []
    assert Delivery.objects.get().sent == ""

"""A destination that fails is left in peace, as long as it takes or as it asks."""

from datetime import timedelta

import pytest

from activation import outbox, retries
from activation.models import Delivery, Destination
from customers import clock
from tests.activation import receivers
from tests.activation.conftest import (
    make_due,
    run_tasks,
    state_of,
)

pytestmark = pytest.mark.django_db


def test_receiver_that_is_gone_is_asked_no_more(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(410))
    trigger = make_trigger(receiver)
    enter(trigger)
    run_tasks()
    deliveries = enter(trigger, 3)
    run_tasks()
    assert len(receiver.received) == 1
    assert [state_of(delivery) for delivery in deliveries] == ["held"] * 4
    trigger.destination.refresh_from_db()
    assert "410" in trigger.destination.disabled_because


def test_overrun_receiver_is_left_in_peace_as_long_as_it_asks(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(429, Retry_After="60"))
    trigger = make_trigger(receiver)
    (delivery,) = enter(trigger)
    run_tasks()
    deliveries = enter(trigger, 3)
    run_tasks()
    assert len(receiver.received) == 1
    assert {state_of(delivery) for delivery in deliveries} == {"held"}
    delivery.refresh_from_db()
    assert 59 <= (delivery.due_at - clock.now()).total_seconds() <= 72


# The breaker


def test_open_breaker_holds_and_burns_no_attempts(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(500))
    trigger = make_trigger(receiver)
    enter(trigger, 20)
    run_tasks()
    assert len(receiver.received) == retries.FAILURES_TO_OPEN
    assert Delivery.objects.filter(attempts_made=0).count() == 15
    assert {state_of(delivery) for delivery in Delivery.objects.all()} == {"held"}


def test_half_open_breaker_tries_one_and_closes_if_that_works(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(500))
    trigger = make_trigger(receiver)
    enter(trigger, 20)
    run_tasks()
    make_due()
    outbox.wake_due(clock.now())
    run_tasks()
    assert len(receiver.received) == retries.FAILURES_TO_OPEN + 1
    receiver.behaves = receivers.answer(200)
    make_due()
    outbox.wake_due(clock.now())
    run_tasks()
    assert not Delivery.objects.waiting().exists()
    trigger.destination.refresh_from_db()
    assert trigger.destination.failures_in_a_row == 0
    assert trigger.destination.failing_since is None


def test_destination_that_failed_for_days_is_disabled(make_trigger, enter, make_receiver):
    trigger = make_trigger(make_receiver(receivers.answer(500)))
    Destination.objects.update(
        failures_in_a_row=9, failing_since=clock.now() - timedelta(days=5, minutes=1)
    )
    (delivery,) = enter(trigger)
    run_tasks()
    trigger.destination.refresh_from_db()
    assert not trigger.destination.is_enabled
    assert "5 days" in trigger.destination.disabled_because
    assert state_of(delivery) == "held"

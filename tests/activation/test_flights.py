"""Several requests at once and after one another; none waits for another destination."""

import time

import pytest

from activation import dispatch, flights, outbox
from activation.models import Attempt, Delivery
from activation.sql import sending, waking
from tests.activation import receivers
from tests.activation.conftest import (
    InAnotherSession,
    enqueue,
    entry,
    run_tasks,
    tasks,
)

pytestmark = pytest.mark.django_db


def hold_until(receiver, count):
    """Answer only when another receiver has had so many requests."""

    def behave(handler, own):
        receiver.wait_for(count)
        receivers.answer(200)(handler, own)

    return behave


def test_at_most_four_are_in_flight_to_one_destination(make_trigger, enter, make_receiver):
    def answer_when_four_are_there(handler, receiver):
        end = time.monotonic() + 9
        while receiver.most_at_once < 4 and time.monotonic() < end:
            time.sleep(0.005)
        receivers.slowly(0.01)(handler, receiver)

    receiver = make_receiver(answer_when_four_are_there)
    enter(make_trigger(receiver), 30)
    run_tasks()
    assert receiver.most_at_once == 4


def test_quick_receiver_gets_several_requests_before_they_are_noted(
    make_trigger, enter, receiver, monkeypatch
):
    noted, real = [], sending.note_attempts
    monkeypatch.setattr(
        sending, "note_attempts", lambda rows: noted.append(len(rows)) or real(rows)
    )
    monkeypatch.setattr(flights, "SECONDS", 10.0)
    deliveries = enter(make_trigger(receiver), 60)
    run_tasks()
    assert sorted(receiver.ids) == sorted(str(one.pk) for one in deliveries)
    assert receiver.most_at_once <= 4
    assert max(noted) > 4
    assert sum(noted) == 60


def test_flight_ends_with_the_first_failure(make_trigger, enter, make_receiver, monkeypatch):
    monkeypatch.setattr(flights, "SECONDS", 10.0)
    trigger = make_trigger(receiver := make_receiver())
    enter(trigger, 30)
    run_tasks()
    received = len(receiver.received)
    receiver.behaves = receivers.answer(500)
    enter(trigger, 60)
    run_tasks()
    assert len(receiver.received) - received == 5, "as many as open the breaker"
    assert Delivery.objects.waiting().filter(attempts_made=0, lease=None).count() == 55


def test_hanging_destinations_do_not_delay_another(
    make_trigger, make_by_hand, enter, make_receiver, receiver
):
    for _ in range(3):
        enter(make_trigger(make_receiver(hold_until(receiver, 10)), make_by_hand()), 6)
    enter(make_trigger(receiver, make_by_hand()), 10)
    run_tasks()
    assert len(receiver.received) == 10
    assert set(Attempt.objects.values_list("error", flat=True)) == {""}


def test_entry_during_a_hanging_attempt_is_sent_at_once(
    make_trigger, make_by_hand, make_customer, make_receiver, receiver, monkeypatch
):
    """The task that waits for the hanging one serves what comes in the meantime."""
    slow = make_receiver(hold_until(receiver, 1))
    trigger = make_trigger(receiver, make_by_hand())
    enqueue(entry(make_trigger(slow, make_by_hand()), make_customer()))
    real, late = dispatch.Dispatcher._start, [True]

    def start(self):
        if late and slow.received:
            late.clear()
            enqueue(entry(trigger, make_customer()))
        return real(self)

    monkeypatch.setattr(dispatch.Dispatcher, "_start", start)
    run_tasks()
    assert [attempt.error for attempt in Attempt.objects.all()] == ["", ""]
    assert tasks() == 0  # it took no second task


def test_one_task_sends_at_a_time_so_that_the_other_worker_is_free(make_trigger, enter, receiver):
    enter(make_trigger(receiver))
    with InAnotherSession("SELECT pg_advisory_lock(%s)", [waking._SENDER]):
        outbox.deliver_due()
        assert receiver.received == []
    run_tasks()
    assert len(receiver.received) == 1


def test_slice_ends_in_time_and_hands_over(make_trigger, enter, make_receiver, monkeypatch):
    monkeypatch.setattr(dispatch, "QUIET_AFTER", 0.05)
    receiver = make_receiver(receivers.slowly(0.03))
    enter(make_trigger(receiver), 24)
    dispatch.run()
    assert 4 <= len(receiver.received) < 24
    assert tasks() == 2  # the one we did not take out, and the next
    run_tasks()
    assert len(receiver.received) == 24


def test_slice_does_not_end_while_an_attempt_is_slow(
    make_trigger, make_by_hand, enter, make_receiver, receiver, monkeypatch
):
    """Else the others would have to wait until the slow one is over."""
    monkeypatch.setattr(dispatch, "QUIET_AFTER", 0.1)
    monkeypatch.setattr(dispatch, "SLOW", 0.0)
    enter(make_trigger(make_receiver(hold_until(receiver, 12)), make_by_hand()))
    receiver.behaves = receivers.slowly(0.05)
    enter(make_trigger(receiver, make_by_hand()), 12)
    dispatch.run()
    assert set(Attempt.objects.values_list("error", flat=True)) == {""}
    assert not Delivery.objects.waiting().exists()

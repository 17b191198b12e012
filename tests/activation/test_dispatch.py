import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ

from activation import carriers, dispatch, flights, outbox, retries, triggers, webhook
from activation.carriers import Answer
from activation.models import AS_IT_IS, Attempt, Delivery, Destination
from activation.sql import sending
from customers import clock
from tests.activation import receivers
from tests.activation.conftest import enqueue, entry, run_tasks, state_of, tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(carriers, "SECONDS", 1.2)
    monkeypatch.setattr(webhook, "READ_SECONDS", 1.0)


def make_due(**more):
    """Let the time pass that waiting deliveries and destinations wait for."""
    Delivery.objects.waiting().update(due_at=clock.now(), **more)
    Destination.objects.update(held_until=None)


def lease(token, limit=100, until=timedelta(seconds=20)):
    now = clock.now()
    rows = sending.lease_due(token, now, now + until, limit=limit, each=4, to_open=5)
    return [row[0] for row in rows]


def row_of(delivery_id, token, answer=None, before=0):
    one = flights.Leased(delivery_id, 0, "{}", before, 0, 0, None, "", True, token)
    (row,) = flights.rows(flights.Landed((one,), 0, 0.0, answer or Answer(200, 5)), clock.now())
    return row


def token_of(delivery):
    return Delivery.objects.get(pk=delivery.pk).lease


def test_entry_reaches_the_receiver(receiver, make_trigger, enter):
    (delivery,) = enter(make_trigger(receiver))
    assert state_of(delivery) == "pending"
    run_tasks()
    assert receiver.ids == [str(delivery.pk)]
    assert receiver.received[0].body.decode() == delivery.body
    attempt = Attempt.objects.get()
    assert (attempt.status, attempt.error, attempt.response) == (200, "", "ok")
    assert state_of(delivery) == "delivered"
    assert tasks() == 0


def test_every_one_of_many_is_received_once(make_trigger, make_by_hand, enter, make_receiver):
    pairs = [(make_receiver(), make_by_hand()) for _ in range(3)]
    for receiver, segment in pairs:
        enter(make_trigger(receiver, segment), 40)
    run_tasks()
    for receiver, segment in pairs:
        sent = Delivery.objects.filter(trigger__segment=segment)
        assert sorted(receiver.ids) == sorted(str(delivery.pk) for delivery in sent)
    assert not Delivery.objects.waiting().exists()


def test_at_most_four_are_in_flight_to_one_destination(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.slowly(0.02))
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


def test_failure_is_logged_and_retried_with_the_same_id(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(500, b"oops"))
    (delivery,) = enter(make_trigger(receiver))
    for _ in range(3):
        run_tasks()
        make_due()
        outbox.wake_due(clock.now())
    assert receiver.ids == [str(delivery.pk)] * 3
    assert len({request.body for request in receiver.received}) == 1
    attempts = Attempt.objects.filter(delivery=delivery)
    assert [(a.status, a.error, a.response) for a in attempts] == [
        (500, "Answered 500.", "oops")
    ] * 3
    delivery.refresh_from_db()
    assert (delivery.attempts_made, delivery.last_error) == (3, "Answered 500.")


def test_edit_between_attempts_changes_nothing_until_it_is_sent_again(
    make_trigger, enter, make_receiver
):
    receiver = make_receiver(receivers.answer(500))
    trigger = make_trigger(receiver)
    (delivery,) = enter(trigger)
    run_tasks()
    Destination.objects.update(config={"url": receiver.url, "template": '{"a": 1}'})
    make_due()
    outbox.wake_due(clock.now())
    run_tasks()
    outbox.replay(delivery)
    receiver.behaves = receivers.answer(200)
    run_tasks()
    first, second, third = [request.body for request in receiver.received]
    assert first == second == delivery.body.encode()
    assert third == b'{"a": 1}'
    assert len(set(receiver.ids)) == 1
    delivery.refresh_from_db()
    assert delivery.sent == ""


def test_other_destination_gets_its_own_words(make_trigger, enter, make_receiver, make_destination):
    trigger = make_trigger(make_receiver(receivers.answer(500)))
    (delivery,) = enter(trigger)
    run_tasks()
    delivery.refresh_from_db()
    assert (delivery.sent, delivery.words) == (AS_IT_IS, delivery.body)
    other = make_receiver()
    trigger.destination = make_destination(
        config={"url": other.url, "template": '{"b": {{ trigger | json }}}'}
    )
    triggers.save(trigger)
    make_due()
    outbox.wake_due(clock.now())
    run_tasks()
    assert [request.body for request in other.received] == [b'{"b": "%s"}' % trigger.key.encode()]


def test_retry_waits_as_the_schedule_says(make_trigger, enter, make_receiver):
    (delivery,) = enter(make_trigger(make_receiver(receivers.answer(500))))
    run_tasks()
    delivery.refresh_from_db()
    waits = (delivery.due_at - clock.now()).total_seconds()
    assert 3 < waits <= 6
    assert state_of(delivery) == "retry"


def test_message_is_dead_after_the_last_try(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(503))
    (delivery,) = enter(make_trigger(receiver))
    for _ in range(20):
        run_tasks()
        make_due()
        outbox.wake_due(clock.now())
    assert len(receiver.received) == 1 + len(retries.SCHEDULE)
    assert state_of(delivery) == "dead"


def test_message_that_is_not_wanted_is_dead_after_three_tries(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(422))
    (delivery,) = enter(make_trigger(receiver))
    for _ in range(5):
        run_tasks()
        make_due()
        outbox.wake_due(clock.now())
    assert len(receiver.received) == 3
    assert state_of(delivery) == "dead"


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


# Nobody waits for another


def test_hanging_destinations_do_not_delay_another(
    make_trigger, make_by_hand, enter, make_receiver, receiver, hurry
):
    hanging = [make_receiver(receivers.hang) for _ in range(3)]
    for one in hanging:
        enter(make_trigger(one, make_by_hand()), 6)
    enter(make_trigger(receiver, make_by_hand()), 10)
    run_tasks()
    assert len(receiver.received) == 10
    given_up_at = min(one.received[0].at for one in hanging) + webhook.READ_SECONDS
    assert receiver.received[-1].at < given_up_at


def test_entry_during_a_hanging_attempt_is_sent_at_once(
    make_trigger, make_by_hand, make_customer, make_receiver, receiver, hurry, monkeypatch
):
    """The task that waits for the hanging one serves what comes in the meantime."""
    hanging = make_trigger(make_receiver(receivers.hang), make_by_hand())
    trigger = make_trigger(receiver, make_by_hand())
    enqueue(entry(hanging, make_customer()))
    real, began = dispatch.Dispatcher._start, time.monotonic()
    late = [0.2]

    def start(self):
        if late and time.monotonic() - began > late[0]:
            late.clear()
            enqueue(entry(trigger, make_customer()))
        return real(self)

    monkeypatch.setattr(dispatch.Dispatcher, "_start", start)
    run_tasks()
    assert 0.2 < receiver.received[0].at - began < 0.9
    assert tasks() == 0  # it took no second task


def test_one_task_sends_at_a_time_so_that_the_other_worker_is_free(make_trigger, enter, receiver):
    enter(make_trigger(receiver))
    with _in_another_session("SELECT pg_advisory_lock(%s)", [sending._SENDER]):
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
    make_trigger, make_by_hand, enter, make_receiver, receiver, monkeypatch, hurry
):
    """Else the others would have to wait until the slow one is over."""
    monkeypatch.setattr(dispatch, "QUIET_AFTER", 0.1)
    monkeypatch.setattr(dispatch, "SLOW", 0.05)
    enter(make_trigger(make_receiver(receivers.hang), make_by_hand()))
    enter(make_trigger(make_receiver(receivers.slowly(0.05)), make_by_hand()), 12)
    dispatch.run()
    assert Delivery.objects.filter(delivered_at=None).count() == 1


# Leases


def test_leased_message_is_leased_to_nobody_else(make_trigger, enter, receiver):
    enter(make_trigger(receiver), 3)
    assert len(lease(uuid4())) == 3
    assert lease(uuid4()) == []
    assert {state_of(delivery) for delivery in Delivery.objects.all()} == {"sending"}


def test_no_message_is_leased_twice_by_workers_at_once(
    make_trigger, make_by_hand, enter, transactional_db
):
    for _ in range(5):
        enter(make_trigger(segment=make_by_hand()), 4)
    leased, ready = [], threading.Barrier(4)

    def work():
        ready.wait()
        while found := lease(uuid4(), limit=2):
            leased.extend(found)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(leased) == len(set(leased)) == 20


def test_lease_that_ran_out_is_given_to_the_next(make_trigger, enter, receiver):
    """As after a crash between sending and noting: the same id is sent again."""
    (delivery,) = enter(make_trigger(receiver))
    lease(uuid4(), until=timedelta(seconds=-1))
    run_tasks()
    assert receiver.ids == [str(delivery.pk)]
    assert state_of(delivery) == "delivered"


def test_result_is_not_written_when_the_lease_is_lost(make_trigger, enter, make_destination):
    trigger = make_trigger()
    (delivery,) = enter(trigger)
    lease(uuid4(), until=timedelta(seconds=-1))
    first = token_of(delivery)
    lease(uuid4())
    second = token_of(delivery)
    late = row_of(delivery.pk, first, Answer(500, 5, "late"))
    assert sending.note_attempts([late]) == set()
    delivery.refresh_from_db()
    assert (delivery.lease, delivery.attempts_made, delivery.last_error) == (second, 0, "")
    assert not Attempt.objects.exists()
    both = [late, row_of(delivery.pk, second)]
    assert sending.note_attempts(both) == {(delivery.pk, second)}
    assert state_of(delivery) == "delivered"
    assert [attempt.error for attempt in Attempt.objects.all()] == [""]


@pytest.mark.django_db(transaction=True)
def test_result_whose_lease_is_lost_does_not_count_against_the_destination(
    make_trigger, enter, make_receiver
):
    def lose_the_lease(handler, receiver):
        with _in_another_session("UPDATE activation_delivery SET lease = gen_random_uuid()"):
            pass
        receivers.answer(500)(handler, receiver)

    trigger = make_trigger(make_receiver(lose_the_lease))
    enter(trigger)
    run_tasks()
    trigger.destination.refresh_from_db()
    assert trigger.destination.failures_in_a_row == 0
    assert not Attempt.objects.exists()


def test_leases_of_the_dead_count_as_in_flight(make_trigger, enter, receiver):
    """The receiver may still be at work on them: four in all is the promise."""
    enter(make_trigger(receiver), 10)
    assert len(lease(uuid4())) == 4
    run_tasks()
    assert receiver.received == []
    Delivery.objects.exclude(lease=None).update(leased_until=clock.now())
    run_tasks()
    outbox.wake_due(clock.now())
    run_tasks()
    assert len(receiver.received) == 10


def test_message_deleted_while_on_its_way_is_no_fault(make_trigger, enter, receiver):
    (delivery,) = enter(make_trigger(receiver))
    lease(uuid4())
    row = row_of(delivery.pk, token_of(delivery))
    delivery.delete()
    assert sending.note_attempts([row]) == set()


def test_message_cancelled_while_on_its_way_may_arrive_but_is_not_retried(make_trigger, enter):
    trigger = make_trigger()
    arrived, failed = enter(trigger, 2)
    lease(uuid4())
    triggers.switch_off(trigger)
    rows = [
        row_of(arrived.pk, token_of(arrived)),
        row_of(failed.pk, token_of(failed), Answer(500, 5, "no")),
    ]
    assert {pk for pk, _ in sending.note_attempts(rows)} == {arrived.pk, failed.pk}
    assert (state_of(arrived), state_of(failed)) == ("delivered", "cancelled")


def test_fault_of_ours_in_one_message_does_not_stop_the_others(
    make_trigger, make_by_hand, enter, receiver, make_receiver, monkeypatch, caplog
):
    (poisoned,) = enter(make_trigger(make_receiver(), make_by_hand()))
    enter(make_trigger(receiver, make_by_hand()), 3)
    real = webhook.Webhooks.send

    def send(self, message):
        if message.id == poisoned.pk:
            raise ZeroDivisionError
        return real(self, message)

    monkeypatch.setattr(webhook.Webhooks, "send", send)
    run_tasks()
    assert len(receiver.received) == 3
    poisoned.refresh_from_db()
    assert "fault in this product" in poisoned.last_error
    assert str(poisoned.pk) in caplog.text


def test_answer_that_no_column_can_hold_is_noted_all_the_same(make_trigger, enter, make_receiver):
    (delivery,) = enter(make_trigger(make_receiver(receivers.answer(500, b"a\0b \xed\xa0\x80"))))
    run_tasks()
    assert Attempt.objects.get(delivery=delivery).response.startswith("a\ufffdb ")


def test_kind_that_is_gone_does_not_stop_the_others(make_trigger, make_by_hand, enter, receiver):
    odd = make_trigger(segment=make_by_hand())
    Destination.objects.filter(pk=odd.destination_id).update(kind="pigeon")
    (stuck,) = enter(odd)
    enter(make_trigger(receiver, make_by_hand()))
    run_tasks()
    assert len(receiver.received) == 1
    assert state_of(stuck) == "retry"


def test_log_holds_neither_bodies_nor_secrets(make_trigger, make_customer, make_receiver, caplog):
    caplog.set_level("DEBUG")
    trigger = make_trigger(make_receiver(receivers.answer(410)))
    enqueue(entry(trigger, make_customer("C-secret-1", fields={"email": "anna@example.org"})))
    run_tasks()
    assert "disabled" in caplog.text
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("activation"))
    assert "anna@example.org" not in ours
    assert trigger.destination.secret not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_worker_killed_between_sending_and_noting_loses_and_doubles_nothing(
    make_trigger, make_by_hand, enter, make_receiver, receiver
):
    """The message on its way is sent again, with the same id, when its lease has run out."""
    slow = make_receiver(receivers.slowly(60))
    (hit,) = enter(make_trigger(slow, make_by_hand()))
    worker = subprocess.Popen([sys.executable, "-c", _WORKER], env=_same_database())
    slow.wait_for(1, seconds=150)
    worker.kill()
    worker.wait()
    OrmQ.objects.all().delete()
    enter(make_trigger(receiver, make_by_hand()), 3)  # the dead task is still thought to work
    assert _until(lambda: outbox.wake_due(clock.now())) == 1
    run_tasks()
    assert len(receiver.received) == 3
    assert len(slow.received) == 1
    slow.behaves = receivers.answer(200)
    Delivery.objects.filter(pk=hit.pk).update(leased_until=clock.now())
    assert outbox.wake_due(clock.now()) == 1
    run_tasks()
    assert slow.ids == [str(hit.pk)] * 2
    assert slow.received[0].body == slow.received[1].body
    assert state_of(hit) == "delivered"
    assert Attempt.objects.filter(delivery=hit).count() == 1


_WORKER = "import django; django.setup(); from activation import outbox; outbox.deliver_due()"


def _same_database():
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"])
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "cdp.settings",
        "DATABASE_URL": url.geturl(),
        "CDP_SECRET_KEY": settings.SECRET_KEY,
        "CDP_DEMO": "true",
    }


def _until(true, seconds=10):
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


class _in_another_session:  # noqa: N801
    def __init__(self, statement, parameters=()):
        self.statement, self.parameters = statement, parameters

    def __enter__(self):
        self.session = connection.copy()
        self.session.cursor().execute(self.statement, self.parameters)

    def __exit__(self, *_):
        self.session.close()

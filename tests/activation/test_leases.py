"""Whoever has leased a message may send it and note it, nobody else; also when somebody dies."""

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

from activation import flights, outbox, triggers
from activation.carriers import Answer
from activation.models import Attempt, Delivery
from activation.sql import sending
from customers import clock
from tests.activation import receivers
from tests.activation.conftest import (
    InAnotherSession,
    run_tasks,
    state_of,
)

pytestmark = pytest.mark.django_db


def lease(token, limit=100, until=timedelta(seconds=20), **more):
    now = clock.now()
    rows = sending.lease_due(token, now, now + until, limit=limit, each=4, to_open=5, **more)
    return [row[0] for row in rows]


def row_of(delivery_id, token, answer=None, before=0):
    at = clock.now()
    one = flights.Leased(delivery_id, 0, "{}", before, 0, 0, None, "", True, token, at)
    (row,) = flights.rows(flights.Landed((one,), 0, 0.0, answer or Answer(200, 5)), clock.now())
    return row


def token_of(delivery):
    return Delivery.objects.get(pk=delivery.pk).lease


def test_leased_message_is_leased_to_nobody_else(make_trigger, enter, receiver):
    enter(make_trigger(receiver), 3)
    assert len(lease(uuid4())) == 3
    assert lease(uuid4()) == []
    assert {state_of(delivery) for delivery in Delivery.objects.all()} == {"sending"}


def test_what_is_due_for_longer_than_we_know_of_is_found_by_a_look_back(
    make_trigger, enter, receiver
):
    trigger = make_trigger(receiver)
    enter(trigger, 2)
    begins = {trigger.destination_id: clock.now()}
    (new,) = enter(trigger)[2:]
    assert lease(uuid4(), due_from=begins) == [new.pk]
    assert len(lease(uuid4())) == 2


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
        with InAnotherSession("UPDATE activation_delivery SET lease = gen_random_uuid()"):
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

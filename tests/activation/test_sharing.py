"""One destination never delays another; many messages leave room for new ones; requests share."""

import time
from datetime import timedelta

import pytest
from django.db import connection

from activation import carriers, dispatch, outbox, wakeups
from activation.models import Attempt, Delivery, Destination
from activation.sql import sending
from customers import clock, exact
from tests.activation import receivers
from tests.activation.conftest import run_tasks, state_of

pytestmark = pytest.mark.django_db


def backlog(trigger, count):
    """Queue many messages as one big entry would; the body is the same for all."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO activation_delivery
                (id, trigger_id, destination_id, customer_id, entry_no, body, is_test,
                 attempts_made, last_error, created_at, due_at)
            SELECT gen_random_uuid(), %s, %s, n, 1, '{"type":"segment.entered"}', false, 0, '',
                   now() - interval '1 hour', now() - interval '1 hour' + n * interval '1 ms'
            FROM generate_series(1, %s) n
            """,
            [trigger.pk, trigger.destination_id, count],
        )


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(dispatch, "QUIET_AFTER", 3.0)
    monkeypatch.setattr(dispatch, "STOP_AFTER", 4.0)


def test_backlog_of_100_000_and_hanging_receivers_delay_nobody(
    make_trigger, make_by_hand, make_receiver, enter, brief, monkeypatch
):
    monkeypatch.setattr(dispatch, "SLOW", 0.2)
    monkeypatch.setattr(carriers, "SECONDS", 6.0)
    busy = make_receiver()
    backlog(make_trigger(busy, make_by_hand()), 100_000)
    for behaviour in (receivers.hang, receivers.drip, receivers.drip_body) * 8:
        enter(make_trigger(make_receiver(behaviour), make_by_hand()), 5)
    healthy = make_receiver()
    enter(make_trigger(healthy, make_by_hand()), 20)
    dispatch.run()
    assert len(healthy.received) == 20
    assert len(busy.received) > 20
    assert Delivery.objects.waiting().count() > 50_000, "nobody waited for the backlog"


def test_new_message_does_not_wait_for_the_backlog_of_its_destination(
    make_trigger, make_by_hand, make_receiver, enter, brief
):
    receiver = make_receiver(receivers.slowly(0.02))
    first = make_trigger(receiver, make_by_hand())
    backlog(first, 20_000)
    (new,) = enter(make_trigger(first.destination, make_by_hand()))
    dispatch.run()
    assert str(new.pk) in receiver.ids[:40]
    assert len(receiver.received) > 40
    assert Delivery.objects.waiting().count() > 10_000


def test_rate_is_kept_and_not_lost(make_trigger, make_receiver, enter, make_destination, brief):
    receiver = make_receiver()
    trigger = make_trigger(make_destination(receiver, rate=5))
    enter(trigger, 30)
    began = time.monotonic()
    while len(receiver.received) < 15 and time.monotonic() < began + 20:
        dispatch.run()
    times = [request.at for request in receiver.received]
    assert len(times) >= 15
    for count, at in enumerate(times, 1):  # however late they are noticed
        assert count <= 1 + 5 * (at - began), "the bucket begins with 1 and gets 5 a second"


def test_batch_holds_many_customers_and_tells_them_apart(
    make_trigger, make_receiver, enter, make_destination
):
    receiver = make_receiver()
    destination = make_destination(receiver)
    destination.config |= {"batch": 100}
    Destination.objects.filter(pk=destination.pk).update(config=destination.config)
    deliveries = enter(make_trigger(destination), 250)
    run_tasks()
    bodies = [exact.loads(request.body) for request in receiver.received]
    assert sorted(len(body["messages"]) for body in bodies) == [50, 100, 100]
    told = {message["id"] for body in bodies for message in body["messages"]}
    assert told == {str(delivery.pk) for delivery in deliveries}
    assert len(set(receiver.ids)) == 3
    assert Attempt.objects.count() == 250


def test_one_bad_customer_does_not_sink_the_batch(make_trigger, make_receiver, enter):
    bad = []

    def behave(handler, receiver):
        body = exact.loads(receiver.received[-1].body)
        ids = {message["data"]["customer"]["id"] for message in body["messages"]}
        status = 422 if bad[0] in ids else 200
        receivers.answer(status)(handler, receiver)

    receiver = make_receiver(behave)
    trigger = make_trigger(receiver)
    config = {"url": receiver.url, "batch": 64}
    Destination.objects.filter(pk=trigger.destination_id).update(config=config)
    deliveries = enter(trigger, 64)
    bad.append(deliveries[17].customer_id)
    for _ in range(15):
        run_tasks()
        Destination.objects.update(held_until=None)
        Delivery.objects.waiting().update(due_at=clock.now())
        outbox.wake_due(clock.now())
    states = [state_of(delivery) for delivery in deliveries]
    assert (states.count("delivered"), states[17]) == (63, "dead")
    deliveries[17].refresh_from_db()
    assert deliveries[17].attempts_made == 3
    assert len(receiver.received) < 25


def test_batches_keep_to_four_in_flight(make_trigger, make_receiver, enter, make_destination):
    receiver = make_receiver(receivers.slowly(0.05))
    trigger = make_trigger(make_destination(receiver))
    config = {"url": receiver.url, "batch": 5}
    Destination.objects.filter(pk=trigger.destination_id).update(config=config)
    enter(trigger, 60)
    run_tasks()
    assert receiver.most_at_once <= wakeups.EACH
    assert len(receiver.received) >= 12


def test_fault_of_a_template_is_not_the_receivers(make_trigger, make_receiver, enter):
    receiver = make_receiver()
    trigger = make_trigger(receiver)
    config = {"url": receiver.url, "template": '{"a": {{ customer.customer_id }} }'}
    Destination.objects.filter(pk=trigger.destination_id).update(config=config)
    (delivery,) = enter(trigger)
    run_tasks()
    delivery.refresh_from_db()
    assert "did not make JSON" in delivery.last_error
    assert state_of(delivery) == "dead"
    assert Destination.objects.get().failures_in_a_row == 0
    Destination.objects.update(config=config | {"template": '{"a": 1}'})
    outbox.replay(delivery)
    run_tasks()
    assert [request.body for request in receiver.received] == [b'{"a": 1}']


def test_lease_of_the_newest_takes_these_first(make_trigger, enter):
    deliveries = enter(make_trigger(), 3)
    for number, delivery in enumerate(deliveries):
        due_at = clock.now() - timedelta(minutes=3 - number)
        Delivery.objects.filter(pk=delivery.pk).update(due_at=due_at)
    now = clock.now()
    token = deliveries[0].pk
    options = {"limit": 1, "each": 4, "to_open": 5, "newest_first": True}
    (row,) = sending.lease_due(token, now, now + timedelta(seconds=9), **options)
    assert row[0] == deliveries[2].pk

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from activation import dispatch, outbox, triggers
from activation.models import Attempt, Backlog, Delivery, WakeUp
from activation.sql import waking
from customers import clock, exact
from tests.activation import receivers
from tests.activation.conftest import enqueue, entry, run_tasks, state_of, tasks

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def dead(make_receiver, make_trigger, make_by_hand, enter):
    """Deliveries that have failed for good, of a trigger whose receiver works by now."""

    def make(count=1):
        receiver = make_receiver()
        deliveries = enter(make_trigger(receiver, make_by_hand()), count)
        ids = [delivery.pk for delivery in deliveries]
        Delivery.objects.filter(pk__in=ids).update(
            dead_at=clock.now(), attempts_made=10, last_error="Answered 500."
        )
        OrmQ.objects.all().delete()
        WakeUp.objects.all().delete()
        return receiver, [*Delivery.objects.filter(pk__in=ids).order_by("id")]

    return make


# Queueing


def test_each_trigger_that_waited_for_it_gets_one_delivery(make_trigger, make_customer, by_hand):
    entering = [make_trigger(), make_trigger()]
    leaving = make_trigger(on="leave")
    make_trigger(is_enabled=False)
    customer = make_customer()
    enqueue(entry(entering[0], customer))
    assert {d.trigger for d in Delivery.objects.all()} == {*entering}
    enqueue(entry(leaving, customer, entered=False))
    assert Delivery.objects.latest("id").trigger == leaving


def test_other_segments_are_nobodys_business(make_trigger, make_customer, make_segment):
    trigger = make_trigger()
    other = entry(trigger, make_customer())._replace(segment_id=trigger.segment_id + 1)
    enqueue(other)
    assert not Delivery.objects.exists()
    assert tasks() == 0


def test_same_entry_is_delivered_once_and_the_next_again(make_trigger, make_customer):
    trigger, customer = make_trigger(), make_customer()
    for entry_no in (1, 1, 2):
        enqueue(entry(trigger, customer, entry_no))
    assert sorted(Delivery.objects.values_list("entry_no", flat=True)) == [1, 2]


def test_silent_changes_send_nothing(make_trigger, make_customer):
    trigger = make_trigger()
    enqueue(entry(trigger, make_customer(), is_silent=True))
    assert not Delivery.objects.exists()


def test_nothing_is_queued_if_the_change_is_rolled_back(make_trigger, make_customer):
    trigger, customer = make_trigger(), make_customer()
    with transaction.atomic():
        outbox.enqueue([entry(trigger, customer)])
        transaction.set_rollback(True)
    assert not Delivery.objects.exists()
    assert tasks() == 0


def test_queries_do_not_grow_with_the_transitions(make_trigger, make_customer):
    triggers_ = [make_trigger(), make_trigger()]

    def count(people):
        transitions = [entry(triggers_[0], make_customer()) for _ in range(people)]
        OrmQ.objects.all().delete()
        WakeUp.objects.all().delete()
        with CaptureQueriesContext(connection) as queries:
            outbox.enqueue(transitions)
        return len(queries)

    assert count(1) == count(50)
    assert Delivery.objects.count() == 102


def test_bytes_are_frozen_when_the_membership_changes(make_trigger, enter, receiver):
    trigger = make_trigger(receiver, key="frozen")
    (delivery,) = enter(trigger)
    trigger.segment.name = "Renamed"
    trigger.segment.save()
    run_tasks()
    assert receiver.received[0].body.decode() == delivery.body
    assert b"Renamed" not in receiver.received[0].body


# Waking up


def test_one_task_waits_however_much_is_queued(make_trigger, enter):
    first, second = make_trigger(), make_trigger()
    for trigger in (first, second, first):
        enter(trigger, 3)
    assert tasks() == 1


def test_task_that_is_done_is_asked_for_anew(make_trigger, enter, receiver):
    trigger = make_trigger(receiver)
    for _ in range(2):
        enter(trigger)
        assert tasks() == 1
        run_tasks()
    assert len(receiver.received) == 2
    assert not WakeUp.objects.exists()


def test_retry_is_woken_when_it_is_due(make_trigger, enter, make_receiver):
    receiver = make_receiver(
        receivers.one_after_the_other(receivers.answer(500), receivers.answer(200))
    )
    (delivery,) = enter(make_trigger(receiver))
    run_tasks()
    delivery.refresh_from_db()
    assert outbox.wake_due(delivery.due_at - SECOND) == 0
    assert outbox.wake_due(delivery.due_at) == 1
    assert outbox.wake_due(delivery.due_at) == 0  # it is asked for already
    Delivery.objects.update(due_at=clock.now())
    run_tasks()
    assert state_of(delivery) == "delivered"


def test_nothing_due_wakes_nobody(make_trigger, enter, receiver):
    enter(make_trigger(receiver))
    run_tasks()
    assert outbox.wake_due(clock.now() + timedelta(days=1)) == 0


def test_lost_task_is_replaced(make_trigger, enter):
    enter(make_trigger())
    OrmQ.objects.all().delete()
    assert outbox.wake_due(clock.now()) == 0  # it may have waited for its turn until now
    assert outbox.wake_due(clock.now() + timedelta(seconds=31)) == 1


def test_task_that_died_at_work_is_replaced_at_once(make_trigger, enter):
    enter(make_trigger())
    OrmQ.objects.all().delete()
    waking.note_awake()
    assert outbox.wake_due(clock.now()) == 1


@pytest.mark.django_db(transaction=True)
def test_task_at_work_is_not_replaced(make_trigger, enter):
    enter(make_trigger())
    OrmQ.objects.all().delete()
    waking.note_awake()
    waking.lock_sending()
    try:
        assert outbox.wake_due(clock.now() + timedelta(hours=1)) == 0
    finally:
        waking.unlock_sending()


def test_held_and_disabled_destinations_wake_nobody(make_trigger, enter):
    first, second = make_trigger(), make_trigger()
    enter(first)
    OrmQ.objects.all().delete()
    WakeUp.objects.all().delete()
    now = clock.now()
    for change in ({"held_until": now + timedelta(minutes=1)}, {"is_enabled": False}):
        for trigger in (first, second):
            type(trigger.destination).objects.filter(pk=trigger.destination_id).update(**change)
        assert outbox.wake_due(now) == 0
    type(first.destination).objects.update(is_enabled=True)
    assert outbox.wake_due(now + timedelta(minutes=1)) == 1


@pytest.mark.django_db(transaction=True)
def test_wake_up_is_not_lost_while_a_task_ends(make_trigger, make_customer, receiver, monkeypatch):
    """A change commits after the task has found nothing more, and before it has ended."""
    trigger, customer = make_trigger(receiver), make_customer()
    enqueue(entry(trigger, make_customer()))
    queued, may_commit = threading.Event(), threading.Event()

    def pipeline():
        with transaction.atomic():
            outbox.enqueue([entry(trigger, customer)])
            queued.set()
            may_commit.wait(5)
        connection.close()

    thread = threading.Thread(target=pipeline)
    real = dispatch.Dispatcher.send

    def send_and_be_slow(self):
        real(self)
        thread.start()
        queued.wait(5)
        threading.Timer(0.2, may_commit.set).start()

    monkeypatch.setattr(dispatch.Dispatcher, "send", send_and_be_slow)
    OrmQ.objects.all().delete()
    outbox.deliver_due()  # must wait for the pipeline, and see what it committed
    thread.join()
    monkeypatch.setattr(dispatch.Dispatcher, "send", real)
    assert tasks() == 1
    run_tasks()
    assert len(receiver.received) == 2


# Existing members


def test_members_from_before_are_sent_for_if_so_wished(make_trigger, join, by_hand, receiver):
    members = [join(by_hand) for _ in range(3)]
    make_trigger(receiver, include_existing=True)
    assert tasks("include_existing") == 1
    run_tasks()
    bodies = [exact.loads(request.body) for request in receiver.received]
    assert {body["data"]["customer"]["id"] for body in bodies} == {m.pk for m in members}
    assert not Backlog.objects.exists()


def test_members_from_before_are_left_alone_otherwise(make_trigger, join, by_hand):
    join(by_hand)
    make_trigger()
    run_tasks()
    assert not Delivery.objects.exists()


def test_members_from_before_are_gone_through_in_slices(make_trigger, join, by_hand, monkeypatch):
    monkeypatch.setattr(outbox, "AT_ONCE", 3)
    monkeypatch.setattr(outbox, "SLICE_SECONDS", 0)
    at = clock.now()
    for number in range(8):
        join(by_hand, at=at + SECOND * (number // 4))
    trigger = make_trigger(include_existing=True)
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 3
    assert tasks("include_existing") == 2  # the first one, and the next slice
    outbox.include_existing(trigger.pk)
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 8
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 8


def test_entry_that_was_sent_for_is_not_sent_for_again_as_existing(make_trigger, join, by_hand):
    trigger = make_trigger()
    customer = join(by_hand)
    enqueue(entry(trigger, customer))
    triggers.switch_off(trigger)
    trigger.include_existing = True
    triggers.switch_on(trigger)
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 1


def test_message_for_an_existing_member_tells_the_event_that_brought_her_in(
    make_trigger, join, by_hand, make_event
):
    event = make_event(amount="250.00")
    join(by_hand, customer=event.customer, event_id=event.id)
    outbox.include_existing(make_trigger(include_existing=True).pk)
    body = exact.loads(Delivery.objects.get().body)
    assert body["data"]["event"]["id"] == event.id


def test_segment_that_is_filling_is_waited_for(make_trigger, join, by_hand):
    by_hand.state = "filling"
    by_hand.save()
    trigger = make_trigger(include_existing=True)
    join(by_hand)
    outbox.include_existing(trigger.pk)
    assert not Delivery.objects.exists()
    assert outbox.wake_due(clock.now()) == 0
    by_hand.state = "live"
    by_hand.save()
    assert outbox.wake_due(clock.now()) == 1
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 1


def test_existing_members_go_on_after_their_task_has_died(make_trigger, join, by_hand):
    join(by_hand)
    trigger = make_trigger(include_existing=True)
    OrmQ.objects.all().delete()
    assert outbox.wake_due(clock.now()) == 0
    later = clock.now() + timedelta(seconds=31)
    assert outbox.wake_due(later) == 1
    assert outbox.wake_due(later) == 0
    assert tasks("include_existing") == 1
    run = OrmQ.objects.get().task
    assert run["args"] == (trigger.pk,)


def test_switching_off_stops_the_existing_members(make_trigger, join, by_hand):
    join(by_hand)
    trigger = make_trigger(include_existing=True)
    triggers.switch_off(trigger)
    outbox.include_existing(trigger.pk)
    assert not Delivery.objects.exists()
    assert not Backlog.objects.exists()


# Again


def test_dead_message_is_sent_again_with_the_same_id(dead):
    receiver, (delivery,) = dead()
    outbox.replay(delivery)
    run_tasks()
    assert receiver.ids == [str(delivery.pk)]
    assert receiver.received[0].body.decode() == delivery.body
    assert state_of(delivery) == "delivered"


def test_replayed_message_has_all_its_tries_again(dead):
    receiver, (delivery,) = dead()
    receiver.behaves = receivers.answer(500)
    outbox.replay(delivery)
    run_tasks()
    delivery.refresh_from_db()
    assert (delivery.attempts_made, delivery.dead_at) == (1, None)
    assert state_of(delivery) == "retry"


def test_delivered_and_cancelled_messages_can_be_sent_again(make_trigger, enter, receiver):
    trigger = make_trigger(receiver)
    (delivery,) = enter(trigger)
    run_tasks()
    outbox.replay(delivery)
    run_tasks()
    assert receiver.ids == [str(delivery.pk)] * 2
    (_, cancelled) = enter(trigger)
    triggers.switch_off(trigger)
    assert state_of(cancelled) == "cancelled"
    outbox.replay(cancelled)
    run_tasks()
    assert receiver.ids[2:] == [str(cancelled.pk)]


def test_waiting_message_is_sent_at_once_and_keeps_its_count(make_trigger, enter, make_receiver):
    receiver = make_receiver(receivers.answer(500))
    (delivery,) = enter(make_trigger(receiver))
    run_tasks()
    outbox.replay(delivery)
    run_tasks()
    delivery.refresh_from_db()
    assert (len(receiver.received), delivery.attempts_made) == (2, 2)


def test_message_on_its_way_is_not_sent_again(dead):
    _, (delivery,) = dead()
    Delivery.objects.update(leased_until=clock.now() + SECOND * 20)
    with pytest.raises(outbox.ReplayError, match="being sent"):
        outbox.replay(delivery)


def test_replay_tries_a_destination_that_is_held(dead):
    receiver, (delivery,) = dead()
    delivery.destination.held_until = clock.now() + timedelta(minutes=10)
    delivery.destination.failures_in_a_row = 9
    delivery.destination.save()
    outbox.replay(delivery)
    run_tasks()
    assert len(receiver.received) == 1


def test_replay_goes_where_the_trigger_sends_now(dead, make_receiver, make_destination):
    old, (delivery,) = dead()
    new = make_receiver()
    delivery.trigger.destination = make_destination(new)
    triggers.save(delivery.trigger)
    outbox.replay(delivery)
    run_tasks()
    assert (len(old.received), len(new.received)) == (0, 1)


def test_all_dead_messages_of_a_trigger_or_destination_are_sent_again(dead):
    first, (one, *_) = dead(3)
    second, (other, *_) = dead(2)
    assert outbox.replay_dead(trigger=one.trigger) == 3
    run_tasks()
    assert (len(first.received), len(second.received)) == (3, 0)
    assert outbox.replay_dead(destination=other.destination) == 2
    run_tasks()
    assert len(second.received) == 2
    assert outbox.replay_dead() == 0


def test_who_enters_now_does_not_wait_behind_existing_members(
    make_trigger, join, by_hand, enter, receiver
):
    join(by_hand)
    trigger = make_trigger(receiver, include_existing=True)
    (new,) = enter(trigger)
    outbox.include_existing(trigger.pk)
    assert Delivery.objects.count() == 2
    assert Delivery.objects.latest("due_at") == new
    run_tasks()
    assert len(receiver.received) == 2


def test_many_dead_messages_are_sent_again_stretch_by_stretch(dead, monkeypatch):
    monkeypatch.setattr(outbox, "AT_ONCE", 2)
    monkeypatch.setattr(outbox, "REPLAY_SECONDS", 0.0)
    receiver, made = dead(5)
    before = len(receiver.received)
    assert outbox.replay_dead(trigger=made[0].trigger) == 5
    assert Delivery.objects.dead().count() == 3
    run_tasks()
    assert len(receiver.received) == before + 5
    assert not Delivery.objects.dead().exists()


# Tests


def test_test_sends_at_once_and_counts_nowhere(make_trigger, join, by_hand, receiver):
    trigger = make_trigger(receiver, is_enabled=False)
    customer = join(by_hand, entry_no=4)
    attempt = outbox.send_test(trigger, customer.pk)
    (request,) = receiver.received
    body = exact.loads(request.body)
    assert body["data"]["test"] is True
    assert body["data"]["membership"]["entry_no"] == 4
    assert (attempt.status, attempt.response) == (200, "ok")
    assert request.headers["webhook-id"] == str(attempt.delivery_id)
    assert attempt.delivery.is_test
    assert not Delivery.objects.real().exists()
    triggers.switch_on(trigger)
    enqueue(entry(trigger, customer, 4))
    assert Delivery.objects.real().count() == 1


def test_test_that_fails_is_not_retried_nor_replayed(make_trigger, make_customer, make_receiver):
    receiver = make_receiver(receivers.answer(500, b"oops"))
    attempt = outbox.send_test(make_trigger(receiver), make_customer().pk)
    assert (attempt.status, attempt.error, attempt.response) == (500, "Answered 500.", "oops")
    assert outbox.wake_due(clock.now() + timedelta(days=1)) == 0
    assert outbox.replay_dead() == 0
    with pytest.raises(outbox.ReplayError):
        outbox.replay(attempt.delivery)
    attempt.delivery.destination.refresh_from_db()
    assert attempt.delivery.destination.failures_in_a_row == 0


def test_test_for_nobody_is_refused(make_trigger, receiver):
    with pytest.raises(outbox.NoCustomerError):
        outbox.send_test(make_trigger(receiver), 123_456)
    assert not Attempt.objects.exists()


def test_ping_says_which_destination_it_is_for(make_destination, receiver):
    answer = outbox.send_ping(make_destination(receiver, key="crm"))
    assert answer.status == 200
    body = exact.loads(receiver.received[0].body)
    assert (body["type"], body["data"]) == (
        "destination.test",
        {"destination": "crm", "test": True},
    )
    assert not Delivery.objects.exists()

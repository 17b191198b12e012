import pytest

from activation import outbox, retries, triggers, webhook
from activation.models import AS_IT_IS, Attempt, Delivery, Destination
from customers import clock
from tests.activation import receivers
from tests.activation.conftest import enqueue, entry, make_due, run_tasks, state_of, tasks

pytestmark = pytest.mark.django_db


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

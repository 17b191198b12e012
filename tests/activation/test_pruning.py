from datetime import timedelta

import pytest

from activation import outbox, pruning, triggers
from activation.models import Attempt, Delivery, Turn
from customers import clock
from tests.activation.conftest import enqueue, entry, run_tasks

pytestmark = pytest.mark.django_db


def later(days):
    return clock.now() + timedelta(days=days)


def test_old_messages_are_forgotten_with_their_attempts(receiver, make_trigger, enter, settings):
    settings.DELIVERY_LOG_DAYS = 30
    enter(make_trigger(receiver), 3)
    run_tasks()
    assert pruning.prune(later(29)) == 0
    assert pruning.prune(later(31)) == 3
    assert (Delivery.objects.count(), Attempt.objects.count()) == (0, 0)


def test_what_waits_is_kept(make_trigger, enter):
    enter(make_trigger())
    assert pruning.prune(later(1_000)) == 0


def test_log_is_kept_for_ever_if_wanted(receiver, make_trigger, enter, settings):
    settings.DELIVERY_LOG_DAYS = 0
    enter(make_trigger(receiver))
    run_tasks()
    assert pruning.prune(later(10_000)) == 0


def test_who_was_sent_for_is_remembered(receiver, make_trigger, join, by_hand):
    anna = join(by_hand)
    trigger = make_trigger(receiver, include_existing=True)
    run_tasks()
    pruning.prune(later(1_000))
    assert Turn.objects.get().customer_id == anna.pk
    triggers.switch_off(trigger)
    trigger.include_existing = True
    triggers.switch_on(trigger)
    run_tasks()
    assert len(receiver.received) == 1
    enqueue(entry(trigger, anna, 2))
    run_tasks()
    assert len(receiver.received) == 2


def test_pipeline_prunes_until_nothing_is_left_then_rests(
    receiver, make_trigger, enter, monkeypatch
):
    monkeypatch.setattr(pruning, "_last_at", {"": float("-inf")})
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    enter(make_trigger(receiver), 3)
    run_tasks()
    assert [outbox.wake_due(later(100)), Delivery.objects.count()] == [0, 1]
    assert [outbox.wake_due(later(100)), Delivery.objects.count()] == [0, 0]
    assert pruning._last_at[""] > float("-inf")

from datetime import timedelta

import pytest
from django.db.models import ProtectedError

from activation import cancelling, forecast, triggers
from activation.models import Attempt, Delivery
from activation.triggers import TriggerError
from customers import clock
from segments.models import MembershipChange
from tests.activation import receivers
from tests.activation.conftest import enqueue, entry, run_tasks, state_of, tasks

pytestmark = pytest.mark.django_db


def test_switched_off_sends_nothing_more_and_cancels_what_waits(make_trigger, enter, receiver):
    trigger = make_trigger(receiver)
    (waiting,) = enter(trigger)
    triggers.switch_off(trigger)
    assert len(enter(trigger)) == 1
    run_tasks()
    assert receiver.received == []
    assert state_of(waiting) == "cancelled"
    waiting.refresh_from_db()
    assert waiting.last_error == "The trigger was switched off."


def test_much_that_waits_is_cancelled_in_stretches_and_nothing_of_it_sent(
    make_trigger, enter, receiver, monkeypatch
):
    monkeypatch.setattr(cancelling, "AT_ONCE", 2)
    trigger = make_trigger(receiver)
    waiting = enter(trigger, 8)
    triggers.switch_off(trigger)
    assert [*map(state_of, waiting)].count("cancelled") == 2
    assert [cancelling.go_on(), [*map(state_of, waiting)].count("cancelled")] == [1, 4]
    triggers.switch_on(trigger)
    (new,) = [row for row in enter(trigger) if row not in waiting]
    run_tasks()
    assert receiver.ids == [str(new.pk)]
    assert {*map(state_of, waiting)} == {"cancelled"}
    assert [cancelling.go_on(), cancelling.go_on()] == [1, 0]


def test_switching_off_leaves_what_is_over_alone(make_trigger, enter, receiver):
    trigger = make_trigger(receiver)
    (delivered,) = enter(trigger)
    run_tasks()
    triggers.switch_off(trigger)
    assert state_of(delivered) == "delivered"


def test_switched_on_again_sends_for_those_who_enter_from_then_on(make_trigger, enter, receiver):
    trigger = make_trigger(receiver, is_enabled=False)
    enter(trigger)
    triggers.switch_on(trigger)
    enter(trigger)
    run_tasks()
    assert len(receiver.received) == 1


def test_what_waits_follows_to_another_destination(
    make_trigger, make_destination, enter, receiver, make_receiver
):
    other = make_receiver()
    trigger = make_trigger(receiver)
    enter(trigger)
    trigger.destination = make_destination(other)
    triggers.save(trigger)
    run_tasks()
    assert (len(receiver.received), len(other.received)) == (0, 1)


@pytest.mark.parametrize("member", ["segment", "on"])
def test_what_it_waits_for_is_fixed_once_it_has_sent(
    make_trigger, make_by_hand, make_customer, member
):
    """Else the first entry into the new segment would pass for one that was sent for."""
    trigger = make_trigger()
    setattr(trigger, member, make_by_hand() if member == "segment" else "leave")
    triggers.save(trigger)
    enqueue(entry(trigger, make_customer(), entered=member == "segment"))
    assert Delivery.objects.exists()
    setattr(trigger, member, make_by_hand() if member == "segment" else "enter")
    with pytest.raises(TriggerError, match="make a new trigger") as refused:
        triggers.save(trigger)
    assert refused.value.member == member


def test_key_stays(make_trigger):
    trigger = make_trigger()
    trigger.key = "other"
    with pytest.raises(TriggerError) as refused:
        triggers.save(trigger)
    assert refused.value.member == "key"


def test_existing_members_have_not_left(make_trigger):
    with pytest.raises(TriggerError) as refused:
        make_trigger(on="leave", include_existing=True)
    assert refused.value.member == "include_existing"


def test_existing_members_are_gone_through_once_each_time_it_is_switched_on(make_trigger):
    trigger = make_trigger(include_existing=True)
    assert tasks("include_existing") == 1
    triggers.save(trigger)
    assert tasks("include_existing") == 1
    triggers.switch_off(trigger)
    triggers.switch_on(trigger)
    assert tasks("include_existing") == 2


def test_trigger_is_deleted_with_its_log(make_trigger, make_by_hand, enter, make_receiver):
    trigger = make_trigger(make_receiver(receivers.answer(500)))
    (other,) = enter(make_trigger(segment=make_by_hand()))
    enter(trigger, 2)
    run_tasks()
    assert Attempt.objects.filter(delivery__trigger=trigger).count() == 2
    triggers.delete(trigger)
    assert [*Delivery.objects.all()] == [other]
    assert not Attempt.objects.exclude(delivery=other).exists()


def test_segment_of_a_trigger_is_not_deleted(make_trigger):
    with pytest.raises(ProtectedError):
        make_trigger().segment.delete()


def test_dry_run_counts_who_would_have_been_sent_for(make_trigger, join, by_hand):
    trigger = make_trigger(is_enabled=False)
    now = clock.now()
    for days in (1, 6, 8):
        join(by_hand, at=now - timedelta(days=days))
    rule = {"segment": by_hand, "cause": "rule", "entry_no": 1, "entered": True, "at": now}
    MembershipChange.objects.create(customer=join(by_hand, at=now), **rule)
    assert forecast.past(trigger, now - timedelta(days=7), clock.now()).messages == 3
    assert triggers.members(trigger) == 4

import time
from datetime import timedelta

import pytest

from activation import stays, triggers
from activation.models import Delivery
from customers import clock, exact
from segments.models import Membership, MembershipChange, Segment
from tests.activation.conftest import run_tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_stay(make_trigger):
    def make(to=None, days=3, **more):
        return make_trigger(to, on="stay", stay_for=days, stay_unit="days", **more)

    return make


def ago(**how_long):
    return clock.now() - timedelta(**how_long)


def test_who_has_been_in_long_enough_is_sent_for_once(receiver, make_stay, join, by_hand):
    make_stay(receiver)
    join(by_hand, at=ago(days=2))
    join(by_hand, at=ago(days=3) + timedelta(milliseconds=200))
    end = time.monotonic() + 20
    counts = []
    while not sum(counts) and time.monotonic() < end:
        began = clock.now()
        counts.append(stays.queue_due(began))
    assert counts.count(1) == 1
    caused_at = Delivery.objects.get().caused_at
    assert caused_at <= began
    assert len(counts) > 1


def test_message_comes_at_the_instant(receiver, make_stay, join, by_hand):
    trigger = make_stay(receiver)
    started_at = trigger.switched_on_at
    anna = join(by_hand, at=started_at - timedelta(days=3) + timedelta(milliseconds=1))
    assert stays.queue_due(clock.now()) == 1
    assert stays.queue_due(clock.now()) == 0
    run_tasks()
    (body,) = [exact.loads(request.body) for request in receiver.received]
    assert (body["type"], body["data"]["customer"]["id"]) == ("segment.stayed", anna.pk)
    stayed = Delivery.objects.get().caused_at
    assert stayed == started_at + timedelta(milliseconds=1)


def test_who_left_after_the_time_while_nobody_looked_is_sent_for(make_stay, join, by_hand):
    trigger = make_stay()
    entered_at = trigger.switched_on_at - timedelta(days=3) + timedelta(milliseconds=1)
    stayed, too_short = [join(by_hand, at=entered_at) for _ in range(2)]
    Membership.objects.all().delete()
    for customer, left_at in ((stayed, clock.now()), (too_short, clock.now() - timedelta(hours=1))):
        MembershipChange.objects.create(
            customer=customer, segment=by_hand, entered=False, at=left_at, entry_no=1, cause="event"
        )
    assert [stays.queue_due(clock.now()) for _ in range(2)] == [1, 0]
    assert Delivery.objects.get().customer_id == stayed.pk


def test_nobody_is_looked_back_at_again_and_again(make_stay, join, by_hand):
    trigger = make_stay(include_existing=True)
    Segment.objects.update(state="live")
    began = clock.now()
    assert stays.queue_due(began) == 0
    trigger.refresh_from_db()
    assert trigger.stayed_at >= began - timedelta(days=3, seconds=60)
    anna = join(by_hand, at=trigger.stayed_at + timedelta(milliseconds=1))
    assert stays.queue_due(began + timedelta(minutes=1)) == 1
    assert Delivery.objects.get().customer_id == anna.pk


def test_who_leaves_before_is_not_sent_for(make_stay, join, by_hand):
    trigger = make_stay()
    join(by_hand, at=trigger.switched_on_at - timedelta(days=3) + timedelta(milliseconds=1))
    Membership.objects.all().delete()
    assert stays.queue_due(clock.now()) == 0


def test_those_in_for_longer_are_sent_for_only_if_wanted(make_stay, join, by_hand):
    join(by_hand, at=ago(days=10))
    join(by_hand, at=ago(days=1))
    trigger = make_stay()
    assert stays.queue_due(clock.now()) == 0
    triggers.switch_off(trigger)
    trigger.include_existing = True
    triggers.switch_on(trigger)
    assert stays.queue_due(clock.now()) == 1


def test_those_whom_a_rule_brought_in_are_nobodys_news(make_stay, join, by_hand):
    trigger = make_stay()
    join(by_hand, at=trigger.switched_on_at - timedelta(days=3) + timedelta(milliseconds=1))
    Membership.objects.update(cause="rule")
    assert stays.queue_due(clock.now()) == 1  # looked at
    assert not Delivery.objects.exists()


def test_switched_off_sends_nothing(make_stay, join, by_hand):
    trigger = make_stay()
    join(by_hand, at=trigger.switched_on_at - timedelta(days=3) + timedelta(milliseconds=1))
    triggers.switch_off(trigger)
    assert stays.queue_due(clock.now()) == 0


def test_many_are_gone_through_in_steps(make_stay, join, by_hand, monkeypatch):
    monkeypatch.setattr(stays, "AT_ONCE", 2)
    at = ago(days=5)
    for _ in range(5):
        join(by_hand, at=at)  # at the same instant
    make_stay(include_existing=True)
    assert [stays.queue_due(clock.now()) for _ in range(4)] == [2, 2, 1, 0]
    assert Delivery.objects.count() == 5


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"on": "stay"}, "stay_for"),
        ({"on": "stay", "stay_for": 600, "stay_unit": "weeks"}, "stay_for"),
        ({"at_most": "once_per_days"}, "at_most_days"),
        ({"purpose": "newsletr"}, "purpose"),
        ({"quiet_from": "21:00"}, "quiet_until"),
        ({"quiet_from": "21:00", "quiet_until": "21:00"}, "quiet_until"),
        (
            {"quiet_from": "21:00", "quiet_until": "08:00", "quiet_zone_field": "nix"},
            "quiet_zone_field",
        ),
    ],
)
def test_sentence_that_makes_no_sense_is_refused(make_trigger, more, member):
    with pytest.raises(triggers.TriggerError) as refused:
        make_trigger(**more)
    assert refused.value.member == member

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction

from activation import gates, outbox, quiet, triggers
from activation.models import Delivery, Reason, Turn
from customers import clock, consent, suppression
from customers.consent import Decision
from customers.models import ConsentPurpose, Identifier
from tests.activation.conftest import enqueue, entry, run_tasks, state_of

pytestmark = pytest.mark.django_db

ZURICH, TOKYO = ZoneInfo("Europe/Zurich"), ZoneInfo("Asia/Tokyo")


@pytest.fixture
def newsletter(db):
    return ConsentPurpose.objects.create(key="newsletter", channel="email")


def decide(customer, *, granted, purpose="newsletter"):
    with transaction.atomic():
        decision = Decision(customer.pk, purpose, granted, clock.now())
        consent.record([decision], source="test")


def reasons(trigger):
    rows = Delivery.objects.filter(trigger=trigger).order_by("customer_id", "entry_no")
    return [row.reason for row in rows]


def test_once_is_once_however_often_somebody_enters(receiver, make_trigger, make_customer):
    trigger = make_trigger(receiver, at_most="once")
    anna = make_customer()
    for number in (1, 2, 3):
        enqueue(entry(trigger, anna, number))
    run_tasks()
    assert len(receiver.received) == 1
    assert reasons(trigger) == ["", "capped", "capped"]


def test_once_in_days_begins_anew_after_these_days(receiver, make_trigger, make_customer):
    trigger = make_trigger(receiver, at_most="once_per_days", at_most_days=30)
    anna = make_customer()
    enqueue(entry(trigger, anna, 1))
    Turn.objects.update(at=clock.now() - timedelta(days=29, hours=23))
    Delivery.objects.update(created_at=clock.now() - timedelta(days=29, hours=23))
    enqueue(entry(trigger, anna, 2))
    Turn.objects.update(at=clock.now() - timedelta(days=30))
    Delivery.objects.filter(entry_no=1).update(created_at=clock.now() - timedelta(days=31))
    enqueue(entry(trigger, anna, 3))
    assert reasons(trigger) == ["", "capped", ""]


def test_cap_counts_what_was_sent_before_there_was_one(make_trigger, make_customer):
    trigger, anna = make_trigger(), make_customer()
    enqueue(entry(trigger, anna, 1))
    trigger.at_most = "once"
    triggers.save(trigger)
    enqueue(entry(trigger, anna, 2))
    assert reasons(trigger) == ["", "capped"]


def test_cap_follows_a_merge(make_trigger, make_customer):
    trigger, anna, visitor = make_trigger(at_most="once"), make_customer(), make_customer()
    enqueue(entry(trigger, visitor, 1))
    visitor.merged_into = anna
    visitor.save()
    enqueue(entry(trigger, anna, 1))
    assert Delivery.objects.get(customer_id=anna.pk).reason == "capped"


def test_what_was_cancelled_does_not_count_for_the_cap(make_trigger, make_customer):
    trigger, anna = make_trigger(at_most="once"), make_customer()
    enqueue(entry(trigger, anna, 1))
    triggers.switch_off(trigger)
    triggers.switch_on(trigger)
    enqueue(entry(trigger, anna, 2))
    assert reasons(trigger) == ["switched_off", ""]


def test_only_who_agrees_is_sent_for(receiver, make_trigger, make_customer, newsletter):
    trigger = make_trigger(receiver, purpose="newsletter")
    anna, bea, carla = (make_customer() for _ in range(3))
    decide(anna, granted=True)
    decide(bea, granted=False)
    enqueue(*[entry(trigger, one) for one in (anna, bea, carla)])
    run_tasks()
    assert len(receiver.received) == 1
    assert reasons(trigger) == ["", "no_consent", "no_consent"]
    assert Delivery.objects.get(customer_id=bea.pk).body == ""


def test_who_withdraws_while_it_waits_gets_nothing(
    receiver, make_trigger, make_customer, newsletter
):
    trigger = make_trigger(receiver, purpose="newsletter", at_most="once")
    anna = make_customer()
    decide(anna, granted=True)
    enqueue(entry(trigger, anna, 1))
    decide(anna, granted=False)
    run_tasks()
    assert receiver.received == []
    assert reasons(trigger) == ["no_consent"]
    assert not Turn.objects.exists()


def test_suppressed_addresses_get_nothing(receiver, make_trigger, make_customer, newsletter):
    trigger = make_trigger(receiver, purpose="newsletter")
    anna, bea = (make_customer() for _ in range(2))
    for customer, address in ((anna, "a@x.example"), (bea, "b@x.example"), (bea, "c@x.example")):
        Identifier.objects.create(kind="email", value=address, customer=customer)
        decide(customer, granted=True)
    suppression.add("email", ["a@x.example", "b@x.example"], "hard_bounce", "test")
    enqueue(entry(trigger, anna), entry(trigger, bea))
    assert reasons(trigger) == ["suppressed", ""]


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        (datetime(2026, 1, 15, 20, 59, tzinfo=ZURICH), None),
        (datetime(2026, 1, 15, 21, 0, tzinfo=ZURICH), datetime(2026, 1, 16, 8, tzinfo=ZURICH)),
        (datetime(2026, 1, 16, 7, 59, tzinfo=ZURICH), datetime(2026, 1, 16, 8, tzinfo=ZURICH)),
        (datetime(2026, 1, 16, 8, 0, tzinfo=ZURICH), None),
        # The night in which the clocks go back has an hour more.
        (datetime(2026, 10, 24, 22, tzinfo=ZURICH), datetime(2026, 10, 25, 7, tzinfo=UTC)),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(now, ends):
    assert quiet.ends_at(now.astimezone(UTC), ZURICH, time(21), time(8)) == ends


def test_quiet_hours_within_a_day():
    noon = datetime(2026, 1, 15, 12, 30, tzinfo=ZURICH)
    assert quiet.ends_at(noon, ZURICH, time(12), time(13)) == noon.replace(hour=13, minute=0)
    assert quiet.ends_at(noon, TOKYO, time(12), time(13)) is None


@pytest.mark.parametrize("day", [(2026, 3, 28), (2026, 10, 24)])
@pytest.mark.parametrize(
    "hours", [(time(21), time(8)), (time(22), time(2, 30)), (time(2), time(3))]
)
def test_quiet_hours_end_in_the_future_also_where_clocks_are_set(day, hours):
    began = datetime(*day, 12, tzinfo=UTC)
    for minutes in range(0, 24 * 60, 5):
        now = began + timedelta(minutes=minutes)
        end = quiet.ends_at(now, ZURICH, *hours)
        assert end is None or now < end.astimezone(UTC) <= now + timedelta(hours=14)


def quiet_now(zone, **more):
    """Quiet hours that it is now, there, and for an hour at least."""
    local = clock.now().astimezone(zone)
    span = {
        "quiet_from": (local - timedelta(hours=1)).time(),
        "quiet_until": (local + timedelta(hours=2)).time(),
    }
    return span | more


def test_message_of_quiet_hours_is_held_then_sent(receiver, make_trigger, enter):
    trigger = make_trigger(receiver, **quiet_now(ZURICH))
    (delivery,) = enter(trigger)
    run_tasks()
    assert receiver.received == []
    assert (state_of(delivery), delivery.reason) == ("held", Reason.QUIET)
    assert timedelta(hours=1) < delivery.due_at - clock.now() <= timedelta(hours=2)
    trigger.quiet_from = trigger.quiet_until = None
    triggers.save(trigger)
    run_tasks()
    delivery.refresh_from_db()
    assert delivery.due_at - clock.now() < timedelta(minutes=1)
    Delivery.objects.update(due_at=clock.now())
    outbox.deliver_due()
    assert len(receiver.received) == 1


def test_message_of_quiet_hours_is_dropped_if_wanted(receiver, make_trigger, enter):
    (delivery,) = enter(make_trigger(receiver, quiet_then="drop", **quiet_now(ZURICH)))
    run_tasks()
    assert receiver.received == []
    assert (state_of(delivery), delivery.reason) == ("cancelled", Reason.QUIET)


def test_retry_that_falls_into_quiet_hours_waits(receiver, make_trigger, enter):
    trigger = make_trigger(receiver)
    (delivery,) = enter(trigger)
    for name, value in quiet_now(ZURICH).items():
        setattr(trigger, name, value)
    triggers.save(trigger)
    run_tasks()
    assert (receiver.received, state_of(delivery)) == ([], "held")


def test_quiet_hours_are_the_customers_if_a_field_tells(
    make_field, make_trigger, make_customer, settings
):
    make_field("zone")
    now = clock.now().astimezone(TOKYO)
    trigger = make_trigger(quiet_zone_field="zone", **quiet_now(TOKYO))
    away = "UTC" if now.utcoffset() != timedelta(hours=0) else "Asia/Tokyo"
    anna = make_customer(fields={"zone": "Asia/Tokyo"})
    bea = make_customer(fields={"zone": away})
    enqueue(entry(trigger, anna), entry(trigger, bea))
    assert reasons(trigger) == ["quiet", ""]


def test_triggers_without_conditions_ask_nothing(
    make_trigger, make_customer, django_assert_num_queries
):
    wish, now = gates.wish_of(make_trigger()), clock.now()
    customer = make_customer()
    with django_assert_num_queries(0):
        gates.weigh([(wish, customer.pk)] * 100, now)


def test_conditions_cost_the_same_for_many(
    make_trigger, make_customer, newsletter, make_field, django_assert_max_num_queries
):
    make_field("zone")
    trigger = make_trigger(
        purpose="newsletter", quiet_zone_field="zone", at_most="once", **quiet_now(ZURICH)
    )
    customers = [make_customer(fields={"zone": "Asia/Tokyo"}) for _ in range(30)]
    entries = [entry(trigger, customer) for customer in customers]
    with django_assert_max_num_queries(14):
        enqueue(*entries)

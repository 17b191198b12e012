"""The figures of Home: right, and never waited for when they take long."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from activation.models import Tally
from cdp import figures
from cdp.models import Snapshot

NOW = timezone.now()


def ago(**delta):
    return NOW - timedelta(**delta)


@pytest.fixture(autouse=True)
def _forgotten(db):
    figures.forget()
    yield
    figures.forget()


def test_active_customers_and_revenue_are_compared_with_the_30_days_before(
    make_event, make_customer
):
    anna, tom = make_customer("C1"), make_customer("C2")
    make_event(customer=anna, at=ago(days=1), amount=100)
    make_event("Page Viewed", tom, at=ago(days=29))
    make_event("Order Refunded", anna, at=ago(days=2), amount=-40)
    make_event(customer=anna, at=ago(days=3), amount=999, currency="EUR")
    make_event(customer=anna, at=ago(days=31), amount=50)
    make_event(customer=anna, at=ago(days=61), amount=7)
    found = figures.compute(NOW)
    assert found.active == (2, 1)
    assert found.active.percent == 100
    assert found.revenue == (60, 50)
    assert found.events == (4, 1)


def test_event_of_the_future_does_not_count_yet(make_event):
    make_event(at=NOW + timedelta(hours=1), amount=100)
    assert figures.compute(NOW).events == (0, 0)


def test_nothing_before_has_no_percentage(make_event):
    make_event(at=ago(days=1), amount=100)
    assert figures.compute(NOW).revenue.percent is None


def test_chart_has_every_day_and_sums_up_rare_events(make_event):
    for number in range(6):
        for _ in range(number + 1):
            make_event(f"Event {number}", at=ago(minutes=1))
    found = figures.compute(NOW)
    assert found.lines == ["Event 5", "Event 4", "Event 3", "Event 2", "Others"]
    assert len(found.days) == 30
    assert sum(map(sum, (day.counts for day in found.days))) == 21
    assert [max(day.counts[i] for day in found.days) for i in range(5)] == [6, 5, 4, 3, 3]


def test_new_customers_are_those_seen_first_or_added_in_30_days(make_customer):
    make_customer("old", first_seen_at=ago(days=40))
    make_customer("new", first_seen_at=ago(days=20))
    make_customer("imported")
    survivor = make_customer("survivor", first_seen_at=ago(days=40))
    make_customer(merged_into=survivor)
    found = figures.compute(timezone.now())
    assert (found.customers, found.new_customers) == (4, 2)


def test_messages_of_thirty_days_are_summed_up_by_what_became_of_them():
    now = timezone.now()
    for days, trigger_id, delivered, failed in ((0, 1, 2, 0), (29, 2, 3, 1), (31, 2, 50, 50)):
        Tally.objects.create(
            trigger_id=trigger_id,
            hour=now - timedelta(days=days),
            delivered=delivered,
            failed=failed,
        )
    found = figures.compute(now)
    assert (found.sent, found.failed) == (5, 1)


def test_stored_figures_are_read_as_they_were(make_event, make_segment, make_field):
    make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"})
    make_event(at=ago(days=1), amount="12.50")
    stored = figures.current()
    assert figures._read(Snapshot.objects.get().data) == stored
    assert stored.revenue.now == Decimal("12.50")


def test_quick_figures_are_computed_anew_after_half_a_minute(make_event):
    figures.current()
    make_event(at=ago(days=1), amount=1)
    figures.cache.clear()
    assert figures.current().events.now == 0
    Snapshot.objects.update(at=ago(seconds=31))
    figures.cache.clear()
    assert figures.current().events.now == 1


def test_slow_figures_are_left_to_the_queue_which_is_asked_once(make_event):
    figures.current()
    Snapshot.objects.update(took=5.0, at=ago(minutes=10))
    make_event(at=ago(days=1), amount=1)
    for _ in range(3):
        figures.cache.clear()
        assert figures.current().events.now == 0
    assert [task.func() for task in OrmQ.objects.all()] == ["cdp.figures.refresh"]
    figures.refresh()
    figures.cache.clear()
    assert figures.current().events.now == 1

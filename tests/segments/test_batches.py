from datetime import timedelta

import pytest
from django.db import connection

from customers import changes
from customers.changes import Fact
from segments import memberships
from segments.batches import ready
from segments.models import Membership, Recheck
from tests.makers import NOON

pytestmark = pytest.mark.django_db
ORDERED = {"event": "Order Completed", "within": {"last": 30, "unit": "days"}}


@pytest.fixture(autouse=True)
def at(monkeypatch):
    monkeypatch.setattr("customers.clock.now", lambda: NOON)


def tell(event):
    fact = Fact(event.customer_id, changes.event(event.name.name), event.id)
    return [(each.segment_id, each.customer_id) for each in memberships.refresh([fact])]


def prepared():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'segments%'")
        return cursor.fetchone()[0]


def test_a_statement_is_prepared_once_for_all_batches(make_segment, make_event):
    segment = make_segment(ORDERED)
    tell(make_event())
    before = prepared()
    event = make_event()
    assert tell(event) == [(segment.pk, event.customer_id)]
    assert prepared() == before


def test_a_name_that_is_new_counts_where_a_rule_speaks_of_its_beginning(make_segment, make_event):
    segment = make_segment({"event": "Email *", "op": "at_least", "value": 2})
    first = make_event("Email Opened")
    assert tell(first) == []
    second = make_event("Email Link Clicked", customer=first.customer)
    assert tell(second) == [(segment.pk, first.customer_id)]


def test_an_edited_rule_is_compiled_anew(make_segment, make_event):
    segment = make_segment(ORDERED | {"op": "at_least", "value": 3})
    event = make_event()
    assert tell(event) == []
    segment.rule = ORDERED
    segment.version += 1
    segment.save()
    assert tell(event) == [(segment.pk, event.customer_id)]


def test_a_connection_gives_up_statements_when_they_are_too_many(
    make_segment, make_event, monkeypatch
):
    monkeypatch.setattr(ready, "MAX_PREPARED", 1)
    orders, visits = make_segment(ORDERED), make_segment({"event": "Page Viewed"})
    for _ in range(2):
        order, visit = make_event(), make_event("Page Viewed")
        assert tell(order) == [(orders.pk, order.customer_id)]
        assert tell(visit) == [(visits.pk, visit.customer_id)]
    assert prepared() == 1


def test_the_clock_moves_only_the_pair_it_asks_for(make_segment, make_event):
    """What events that still wait will do to another segment keeps them as its cause."""
    visited = make_segment({"event": "Page Viewed", "within": {"last": 30, "unit": "days"}})
    twice = make_segment(ORDERED | {"op": "at_least", "value": 2})
    ann = make_event("Page Viewed", at=NOON - timedelta(days=30)).customer
    Membership.objects.create(customer=ann, segment=visited, entered_at=NOON, cause="event")
    make_event(customer=ann)
    order = make_event(customer=ann)
    (left,) = memberships.refresh([Fact(ann.pk, changes.clock(visited.pk))])
    assert (left.segment_id, left.entered, left.cause) == (visited.pk, False, "time")
    assert tell(order) == [(twice.pk, ann.pk)]


def test_who_is_below_a_threshold_is_not_looked_at_again(make_segment, make_event):
    spent = ORDERED | {"measure": "sum", "property": "amount", "op": "at_least", "value": 200}
    make_segment(ORDERED | {"op": "at_least", "value": 3})
    make_segment(ORDERED | {"op": "at_most", "value": 2}, key="seldom")
    make_segment(spent)
    event = make_event(amount=100, currency="CHF")
    tell(event)
    assert not Recheck.objects.exists()
    refund = make_event(customer=event.customer, amount=-50, currency="CHF")
    tell(refund)
    assert Recheck.objects.count() == 1
    tell(make_event(customer=event.customer, amount=400, currency="CHF"))
    assert Recheck.objects.count() == 3

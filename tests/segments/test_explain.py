from datetime import timedelta
from decimal import Decimal

import pytest

from segments import explain, memberships
from segments.models import Membership
from tests.makers import NOON

pytestmark = pytest.mark.django_db

SPENT = {
    "event": "Order Completed",
    "measure": "sum",
    "property": "amount",
    "op": "at_least",
    "value": 200,
    "within": {"last": 90, "unit": "days"},
}


def test_explains_each_condition_and_the_exact_instant_of_leaving(
    make_field, make_customer, make_event, make_segment
):
    make_field("city")
    ann = make_customer("ann", fields={"city": "Basel"})
    for days in (80, 40, 10):
        make_event(customer=ann, amount=100, at=NOON - timedelta(days=days))
    segment = make_segment({"all": [SPENT, {"field": "city", "op": "is", "value": "basel"}]})
    found = explain.explain(segment, ann.pk, NOON)
    assert found.member
    # The first purchase may leave: 200 are left. With the second it falls below.
    assert found.next_change_at == NOON + timedelta(days=50)
    assert [(c.path, c.value, c.threshold, c.holds) for c in found.conditions] == [
        ("all.0", Decimal(300), 200, True),
        ("all.1", "Basel", "basel", True),
    ]


def test_one_who_did_nothing_waits_for_no_instant(make_customer, make_segment):
    segment = make_segment(SPENT)
    found = explain.explain(segment, make_customer().pk, NOON)
    assert (found.member, found.since, found.next_change_at) == (False, None, None)
    assert found.conditions[0].value == 0


def test_a_customer_who_is_unknown_is_in_no_segment(make_segment):
    assert not explain.explain(make_segment(SPENT), 987654321, NOON).member


def test_who_has_left_is_out_since_then(make_event, make_segment, make_customer):
    customer = make_event(at=NOON).customer
    segment = make_segment({"event": "Order Completed"}, key="buyers")
    entered = Membership.objects.get()
    memberships.apply([], [(customer.pk, segment.pk, "manual", None)], NOON)
    customer.events.all().delete()
    found = explain.explain(segment, customer.pk)
    assert (found.member, found.since) == (False, NOON)
    assert entered.entered_at > NOON
    assert explain.explain(segment, make_customer().pk).since is None


def test_other_segments_and_sequences_are_true_or_false(make_event, make_segment):
    customer = make_event(at=NOON).customer
    make_segment({"event": "Order Completed"}, key="buyers")
    steps = {"sequence": [{"event": "Order Completed"}, {"event": "Page Viewed"}]}
    segment = make_segment({"all": [{"segment": "buyers"}, {"not": steps}]})
    found = explain.explain(segment, customer.pk)
    assert [(c.value, c.threshold, c.holds) for c in found.conditions] == [
        (True, True, True),
        (False, True, False),
    ]

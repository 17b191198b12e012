from datetime import timedelta

import pytest

from segments import parsing, preview
from tests.makers import NOON

pytestmark = pytest.mark.django_db

SPENT_200 = {
    "event": "Order Completed",
    "measure": "sum",
    "property": "amount",
    "op": "at_least",
    "value": 200,
    "where": [{"property": "currency", "op": "is", "value": "CHF"}],
    "within": {"last": 90, "unit": "days"},
}


def test_flagship_counts_online_and_offline_together(make_customer, make_event, make_source):
    ann, bob = make_customer("ann"), make_customer("bob")
    till = make_source("till", channel="offline")
    make_event(customer=ann, amount=120, at=NOON - timedelta(days=80))
    make_event(customer=ann, amount="80.00", at=NOON - timedelta(days=2), source=till)
    make_event(customer=bob, amount=500, at=NOON - timedelta(days=90))  # left this very second
    found = preview.preview(SPENT_200, as_of=NOON, members=True)
    assert found.members == [ann.pk]
    assert (found.count, found.total, found.sample) == (1, 2, [ann.pk])
    assert [(c.path, c.count) for c in found.conditions] == [("", 1)]
    assert "in the last 90 days" in found.sentence


def test_what_is_too_large_with_the_segments_it_names_is_refused(make_segment):
    for n in range(20):
        rules = [{"event": "E", "op": "is", "value": 100 * n + m} for m in range(100)]
        make_segment({"any": rules}, key=f"s{n}")
    rule = {"any": [{"segment": f"s{n}"} for n in range(20)]}
    with pytest.raises(parsing.RuleError, match="too large"):
        preview.preview(rule)
    with pytest.raises(parsing.RuleError, match="too large"):
        make_segment(rule)

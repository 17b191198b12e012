"""A customer's timeline: everything once, newest first, page after page."""

from datetime import timedelta

import pytest

from cdp import timeline
from customers.models import Merge
from segments.models import MembershipChange
from tests.makers import NOON


@pytest.fixture
def nina(make_customer, make_event, make_segment, make_field):
    """Sixty events, many at the same instant, and changes of segments among them."""
    make_field("city")
    nina = make_customer("C1")
    segment = make_segment({"field": "city", "op": "is", "value": "Bern"})
    for number in range(60):
        make_event("Page Viewed", nina, at=NOON + timedelta(seconds=number // 20))
    for number in range(10):
        MembershipChange.objects.create(
            customer=nina,
            segment=segment,
            entered=number % 2 == 0,
            at=NOON + timedelta(seconds=number // 5),
            cause="event",
            entry_no=1,
        )
    Merge.objects.create(
        survivor=nina, absorbed_id=9, cause="x", identifiers=[["anonymous_id", "a"]], at=NOON
    )
    return nina


def all_pages(customer, show=""):
    entries, position = [], None
    while True:
        page = timeline.page(customer.pk, position, show)
        entries += page.entries
        if page.end is None:
            return entries
        assert len(page.entries) == timeline.PAGE
        position = timeline.Position.read(str(page.end))


def test_every_entry_is_shown_once_and_in_order(nina):
    entries = all_pages(nina)
    assert len({(entry.rank, entry.id) for entry in entries}) == len(entries) == 71
    assert [entry.at for entry in entries] == sorted((e.at for e in entries), reverse=True)


def test_what_arrives_meanwhile_is_not_shown_twice(nina, make_event):
    first = timeline.page(nina.pk)
    make_event("Page Viewed", nina, at=NOON + timedelta(hours=1))
    second = timeline.page(nina.pk, first.end)
    seen = {(entry.rank, entry.id) for entry in first.entries}
    assert not seen & {(entry.rank, entry.id) for entry in second.entries}


def test_timeline_can_be_of_segments_only(nina):
    titles = {entry.title.partition(" ")[0] for entry in all_pages(nina, "segments")}
    assert titles == {"Entered", "Left"}


def test_position_that_nobody_wrote_is_the_beginning():
    for text in (
        "",
        "x|0|1",
        "2026-01-01|x|1",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01|0|1",
        "2026-01-01T00:00:00Z|2|5",
        "2026-01-01T00:00:00Z|0|x",
    ):
        assert timeline.Position.read(text) is None


def test_summary_names_products_or_what_tells_most():
    products = [{"name": "Bag"}, {"sku": "S1"}, "odd", {}]
    assert timeline.summary({"products": products}) == "Bag, S1"
    assert timeline.summary({"url": "https://x", "title": "Sale"}) == "Sale"
    assert timeline.summary({"nested": {"name": "x"}}) == ""

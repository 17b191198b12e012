"""When the words of a rule come to stand for something else."""

import pytest
from django.db import transaction

from customers import changes
from events.models import Source
from segments import definitions, evaluation, explain, filling, memberships
from segments.models import Membership, MembershipChange, Segment

pytestmark = pytest.mark.django_db

OFFLINE = {"event": "Order Completed", "where": [{"channel": "offline"}]}


def fill():
    while filling.fill_next():
        pass


@pytest.fixture(autouse=True)
def look_anew():
    definitions._looked_at.clear()


def test_past_events_count_anew_when_their_source_changes_its_channel(
    make_source, make_event, make_segment
):
    shop = make_source()
    customer = make_event(source=shop).customer
    segment = make_segment(OFFLINE, key="in-shops")
    make_segment({"not": {"segment": "in-shops"}}, key="others")
    assert memberships.sizes([segment.pk]) == {segment.pk: 0}
    shop.channel = "offline"
    shop.save()
    fill()
    assert [m.segment_id for m in Membership.objects.filter(customer=customer)] == [segment.pk]
    causes = {(c.segment.key, c.entered, c.cause) for c in MembershipChange.objects.all()}
    assert causes == {
        ("others", True, "rule"),
        ("others", False, "rule"),
        ("in-shops", True, "rule"),
    }
    assert Segment.versions.filter(key="in-shops").count() == 1  # nobody has edited it


def test_segments_that_do_not_speak_of_what_changed_are_not_filled_again(
    make_source, make_event, make_segment
):
    shop = make_source()
    make_event(source=shop)
    segment = make_segment({"event": "Order Completed"})
    shop.channel = "offline"
    shop.save()
    filling.fill_next()
    segment.refresh_from_db()
    assert segment.version == 2


def test_nothing_is_looked_at_while_nothing_has_changed(
    make_segment, django_assert_num_queries, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        make_segment(OFFLINE)
    with django_assert_num_queries(3):
        assert filling.fill_next() == 0


def test_a_segment_whose_source_is_gone_keeps_its_members_and_holds_up_nobody(
    make_source, make_event, make_segment
):
    till = make_source("till", channel="offline")
    customer = make_event(source=till).customer
    broken = make_segment({"event": "Order Completed", "where": [{"source": "till"}]})
    whole = make_segment({"event": "Page Viewed"})
    other = make_event("Page Viewed").customer
    Source.objects.filter(pk=till.pk).delete()
    evaluation._TREES.clear()  # as in a process that has not read it before
    Membership.objects.filter(customer=other).delete()
    changes.record([changes.Fact(other.pk, "event:Page Viewed")])
    changes.record([changes.Fact(customer.pk, "event:Order Completed")])
    with transaction.atomic():
        entered = memberships.refresh(changes.claim(100))
    assert [(each.segment_id, each.customer_id) for each in entered] == [(whole.pk, other.pk)]
    fill()
    broken.refresh_from_db()
    assert broken.state == "live"
    assert "no source 'till'" in broken.error
    assert explain.explain(broken, customer.pk).member
    make_source("till", channel="offline")
    fill()
    broken.refresh_from_db()
    assert broken.error == ""
    assert not Membership.objects.filter(segment=broken).exists()

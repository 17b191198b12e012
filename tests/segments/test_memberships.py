from datetime import timedelta

import pytest
from django.db import transaction

from cdp import identities
from customers import changes
from customers.changes import Fact
from customers.models import Change, Identifier
from segments import memberships
from segments.models import Membership, MembershipChange, Recheck
from tests.makers import NOON

pytestmark = pytest.mark.django_db

ORDERED = {"event": "Order Completed", "within": {"last": 30, "unit": "days"}}
VISITED = {"event": "Page Viewed"}


@pytest.fixture
def at(monkeypatch):
    """Set the clock."""

    def move(moment):
        monkeypatch.setattr("customers.clock.now", lambda: moment)

    move(NOON)
    return move


def refresh(*facts):
    with transaction.atomic():
        return memberships.refresh(facts)


def history(customer):
    rows = MembershipChange.objects.filter(customer=customer).order_by("id")
    return [(row.entered, row.cause, row.entry_no) for row in rows]


def test_an_event_lets_a_customer_enter_and_is_named(at, make_segment, make_event):
    segment = make_segment(ORDERED)
    event = make_event(at=NOON)
    (entered,) = refresh(Fact(event.customer_id, "event:Order Completed", event.id))
    assert entered == memberships.Transition(
        segment.pk, event.customer_id, True, NOON, 1, "event", event.id
    )
    assert Membership.objects.get().entered_at == NOON


def test_one_fact_tells_all_fields_of_a_new_customer(at, make_segment, make_customer, make_field):
    make_field("city")
    in_bern = make_segment({"field": "city", "op": "is", "value": "Bern"})
    identified = make_segment({"field": "@identified", "op": "is", "value": True})
    idle = make_segment({"event": "Order Completed", "op": "at_most", "value": 0})
    make_segment(ORDERED)
    ann = make_customer("ann", fields={"city": "Bern"})
    entered = refresh(Fact(ann.pk, changes.NEW_WITH_FIELDS))
    assert {(each.segment_id, each.cause) for each in entered} == {
        (segment.pk, "field") for segment in (in_bern, identified, idle)
    }


def test_untouched_segments_are_not_evaluated(
    at, make_segment, make_event, django_assert_num_queries
):
    for n in range(20):
        make_segment({"event": f"Unrelated {n}"})
    event = make_event("Page Viewed")
    fact = Fact(event.customer_id, "event:Page Viewed", event.id)
    refresh(fact)  # reads the new segments
    with django_assert_num_queries(6):
        assert refresh(fact) == []


def test_the_number_of_segments_does_not_change_the_number_of_queries(
    at, make_segment, make_event, django_assert_num_queries, django_assert_max_num_queries
):
    event = make_event()
    fact = Fact(event.customer_id, "event:Order Completed", event.id)
    make_segment(ORDERED | {"op": "at_least", "value": 2})
    with django_assert_max_num_queries(13) as few:
        refresh(fact)
    for n in range(3, 9):
        make_segment(ORDERED | {"op": "at_least", "value": n})
    with django_assert_num_queries(len(few.captured_queries)):
        refresh(fact)


def test_a_customer_leaves_in_the_instant_the_event_turns_30_days_old(at, make_segment, make_event):
    make_segment(ORDERED)
    customer = make_event(at=NOON).customer
    refresh(Fact(customer.pk, "event:Order Completed"))
    due = NOON + timedelta(days=30)
    assert Recheck.objects.get().due_at == due
    at(due - timedelta(microseconds=1))
    assert memberships.recheck_due(due - timedelta(microseconds=1), 10) == 0
    at(due)
    assert memberships.recheck_due(due, 10) == 1
    (left,) = refresh(*changes.claim(10))
    assert (left.entered, left.cause, left.at) == (False, "time", due)
    assert not Recheck.objects.exists()
    assert not Change.objects.exists()


def test_a_reentry_counts_up(at, make_segment, make_event):
    make_segment(ORDERED)
    customer = make_event(at=NOON).customer
    refresh(Fact(customer.pk, "event:Order Completed"))
    at(NOON + timedelta(days=30))
    refresh(Fact(customer.pk, "event:Order Completed"))
    make_event(customer=customer, at=NOON + timedelta(days=30))
    (again,) = refresh(Fact(customer.pk, "event:Order Completed"))
    assert again.entry_no == 2
    assert history(customer) == [(True, "event", 1), (False, "event", 1), (True, "event", 2)]


def test_an_event_of_the_future_counts_when_its_time_has_come(at, make_segment, make_event):
    make_segment(VISITED)
    customer = make_event("Page Viewed", at=NOON + timedelta(hours=2)).customer
    assert refresh(Fact(customer.pk, "event:Page Viewed")) == []
    at(NOON + timedelta(hours=2))
    assert memberships.recheck_due(NOON + timedelta(hours=2), 10) == 1
    assert [each.cause for each in refresh(*changes.claim(10))] == ["time"]


def merge(absorbed, survivor):
    """As identity resolution leaves it: events moved, the absorbed a signpost."""
    for event in absorbed.events.all():
        event.delete()
        event.customer = survivor
        event.save(force_insert=True)
    absorbed.merged_into = survivor
    absorbed.save()
    fact = changes.merged(absorbed.pk)
    return refresh(Fact(absorbed.pk, fact), Fact(survivor.pk, fact))


def test_a_merge_carries_the_membership_and_nobody_enters(
    at, make_segment, make_event, make_customer
):
    make_segment(VISITED)
    visitor = make_event("Page Viewed").customer
    ann = make_customer("ann")
    refresh(Fact(visitor.pk, "event:Page Viewed"))
    assert merge(visitor, ann) == []
    assert [m.customer_id for m in Membership.objects.all()] == [ann.pk]
    assert history(ann) == [(True, "event", 1)]


def test_whose_events_came_by_a_merge_does_not_enter_before_it_is_followed(
    at, make_segment, make_event, make_customer
):
    """A fact of the survivor may be evaluated before the one that tells of the merge."""
    make_segment(VISITED)
    visitor = make_event("Page Viewed").customer
    ann = make_customer("ann")
    refresh(Fact(visitor.pk, "event:Page Viewed"))
    identities.join(ann, visitor, by="Anna")
    assert refresh(Fact(ann.pk, "event:Page Viewed")) == []
    assert refresh(*changes.claim(100)) == []
    assert [m.customer_id for m in Membership.objects.all()] == [ann.pk]
    assert history(ann) == [(True, "event", 1)]


def test_a_merge_of_two_members_ends_one_membership(at, make_segment, make_event, make_customer):
    make_segment(VISITED)
    visitor = make_event("Page Viewed").customer
    ann = make_event("Page Viewed", customer=make_customer("ann")).customer
    refresh(Fact(visitor.pk, "event:Page Viewed"), Fact(ann.pk, "event:Page Viewed"))
    assert merge(visitor, ann) == []
    assert Membership.objects.get().customer_id == ann.pk
    assert sorted(history(ann)) == [(False, "merge", 1), (True, "event", 1), (True, "event", 1)]


def test_signing_in_enters_a_segment_of_identified_customers(
    at, make_segment, make_event, make_customer
):
    make_segment(VISITED, audience="identified")
    visitor = make_event("Page Viewed").customer
    assert refresh(Fact(visitor.pk, "event:Page Viewed")) == []
    (entered,) = merge(visitor, make_customer("ann"))
    assert entered.cause == "merge"


def test_facts_of_a_customer_who_is_gone_are_passed_over(at, make_segment):
    make_segment(VISITED)
    assert refresh(Fact(987654321, "event:Page Viewed")) == []


def test_an_undone_merge_gives_both_what_was_theirs(at, make_segment, make_event, make_customer):
    visited, bought = make_segment(VISITED), make_segment(ORDERED)
    visitor = make_event("Page Viewed").customer
    ann = make_event(customer=make_customer("ann"), at=NOON).customer
    Identifier.objects.create(kind="anonymous_id", value="x", customer=visitor)
    refresh(Fact(visitor.pk, "event:Page Viewed"), Fact(ann.pk, "event:Order Completed"))
    assert [h[0] for h in history(visitor)] == [True]
    merge = identities.join(ann, visitor, by="Anna")
    assert refresh(*changes.claim(100)) == []
    assert {(m.customer_id, m.segment_id) for m in Membership.objects.all()} == {
        (merge.survivor_id, visited.pk),
        (merge.survivor_id, bought.pk),
    }
    identities.undo(merge, by="Anna")
    assert refresh(*changes.claim(100)) == []
    assert {(m.customer_id, m.segment_id) for m in Membership.objects.all()} == {
        (visitor.pk, visited.pk),
        (ann.pk, bought.pk),
    }
    assert history(visitor) == history(ann) == [(True, "event", 1)]
    assert memberships.sizes([visited.pk, bought.pk]) == {visited.pk: 1, bought.pk: 1}


def test_two_members_who_are_separated_again_are_two(at, make_segment, make_event, make_customer):
    visited = make_segment(VISITED)
    visitor = make_event("Page Viewed").customer
    ann = make_event("Page Viewed", customer=make_customer("ann")).customer
    Identifier.objects.create(kind="anonymous_id", value="x", customer=visitor)
    refresh(Fact(visitor.pk, "event:Page Viewed"), Fact(ann.pk, "event:Page Viewed"))
    merge = identities.join(ann, visitor, by="Anna")
    refresh(*changes.claim(100))
    assert memberships.sizes([visited.pk]) == {visited.pk: 1}
    identities.undo(merge, by="Anna")
    assert refresh(*changes.claim(100)) == []
    assert Membership.objects.count() == 2
    assert memberships.sizes([visited.pk]) == {visited.pk: 2}
    assert history(visitor) == history(ann) == [(True, "event", 1)]


def test_more_columns_than_a_row_can_hold_are_evaluated_in_parts(at, make_segment, make_event):
    wide = [
        {"event": "Order Completed", "op": "at_least", "value": n, "within": within}
        for n in range(2, 100)
        for within in ({"last": n, "unit": "days"},)
    ]
    for n in range(12):
        rules = [rule | {"where": [{"property": f"p{n}", "op": "missing"}]} for rule in wide]
        make_segment({"any": [*rules, {"event": "Order Completed"}]})
    event = make_event(at=NOON)
    entered = refresh(Fact(event.customer_id, "event:Order Completed", event.id))
    assert len(entered) == 12

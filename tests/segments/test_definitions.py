import pytest

from customers.models import Change
from segments import definitions, filling, memberships, parsing
from segments.models import Membership, MembershipChange, Recheck, Segment

pytestmark = pytest.mark.django_db

VISITED = {"event": "Page Viewed"}


@pytest.fixture
def by_hand(make_segment):
    def make(key="vips"):
        segment = Segment(key=key, name="VIPs", kind="static")
        definitions.save(segment)
        return segment

    return make


def test_the_first_fill_is_silent_and_has_the_cause_rule(make_event, make_segment):
    customer = make_event("Page Viewed").customer
    segment = make_segment(VISITED)
    assert segment.state == "live"
    (change,) = MembershipChange.objects.all()
    assert (change.customer_id, change.cause, change.entered) == (customer.pk, "rule", True)
    assert not Change.objects.exists()


def test_sentences_call_the_segments_they_use_by_their_names(by_hand, make_segment):
    vips, visitors = by_hand(), make_segment(VISITED, "visitors")
    rule = {"all": [{"segment": "vips"}, {"not": {"segment": "visitors"}}]}
    both = make_segment(rule, "both")
    vips.name, visitors.name = "Friends", "Guests"
    for renamed in (vips, visitors):
        definitions.save(renamed)
    version = both.version
    both.refresh_from_db()
    assert "in the segment “Friends” and" in both.sentence
    assert "not in the segment “Guests”" in both.sentence
    assert both.version == version, "nobody is evaluated for a name"


def test_a_fill_goes_by_stretches_and_resumes(make_event, make_segment, monkeypatch):
    monkeypatch.setattr(filling, "STRETCH", 2)
    for _ in range(5):
        make_event("Page Viewed")
    segment = make_segment(VISITED, fill=False)
    assert filling.fill_next() == 1
    assert Membership.objects.count() == 2
    segment.refresh_from_db()
    assert segment.state == "filling"
    while filling.fill_next():
        pass
    assert Membership.objects.count() == 5


def test_a_filled_segment_awaits_what_time_will_do_and_numbers_entries_on(make_event, make_segment):
    """The first fill looks only at who has events; one after an edit at everybody."""
    within = {"within": {"last": 500, "unit": "weeks"}}
    customer = make_event("Page Viewed").customer
    make_event("Order Completed")
    segment = make_segment(VISITED | within)
    assert [row.customer_id for row in Recheck.objects.all()] == [customer.pk]
    for rule, members in (({"event": "Order Completed"}, 1), ({"not": VISITED}, 1), (VISITED, 1)):
        segment.rule = rule
        definitions.save(segment)
        while filling.fill_next():
            pass
        assert Membership.objects.count() == members == memberships.sizes([segment.pk])[segment.pk]
    assert not Recheck.objects.exists()
    numbers = MembershipChange.objects.filter(customer=customer).order_by("id")
    assert [*numbers.values_list("entered", "entry_no")] == [(True, 1), (False, 1), (True, 2)]


def test_members_stay_until_the_edited_rule_has_reached_them(make_event, make_segment):
    customer = make_event("Page Viewed").customer
    segment = make_segment(VISITED)
    segment.rule = {"event": "Order Completed"}
    definitions.save(segment)
    assert Membership.objects.filter(customer=customer).exists()
    filling.fill_next()
    assert not Membership.objects.exists()
    assert MembershipChange.objects.order_by("id").last().cause == "rule"


def test_a_new_name_needs_no_fill(make_event, make_segment):
    segment = make_segment(VISITED)
    segment.name = "Visitors"
    definitions.save(segment)
    assert segment.state == "live"


def test_a_refused_rule_is_not_stored(make_segment):
    with pytest.raises(parsing.RuleError):
        make_segment({"field": "unknown", "op": "exists"})
    assert not Segment.objects.exists()


def test_a_segment_cannot_lead_back_to_itself(make_segment):
    one = make_segment(VISITED, key="one")
    make_segment({"all": [{"segment": "one"}, VISITED]}, key="two")
    one.rule = {"any": [{"segment": "two"}, VISITED]}
    with pytest.raises(parsing.RuleError) as caught:
        definitions.save(one)
    assert caught.value.path == "any.0.segment"
    assert "one → two → one" in caught.value.message
    one.rule = {"segment": "one"}
    with pytest.raises(parsing.RuleError, match="its own rule"):
        definitions.save(one)


def test_editing_a_segment_refills_those_that_use_it(make_event, make_segment):
    make_event("Page Viewed")
    inner = make_segment(VISITED, key="inner")
    make_segment({"not": {"segment": "inner"}}, key="outer")
    assert [m.segment.key for m in Membership.objects.all()] == ["inner"]
    inner.rule = {"event": "Order Completed"}
    definitions.save(inner)
    while filling.fill_next():
        pass
    assert [m.segment.key for m in Membership.objects.all()] == ["outer"]


def test_a_segment_in_use_is_not_deleted(make_segment):
    inner = make_segment(VISITED, key="inner")
    outer = make_segment({"segment": "inner"}, key="outer")
    with pytest.raises(definitions.SegmentInUseError, match="Outer"):
        definitions.delete(inner)
    definitions.delete(outer)
    definitions.delete(inner)
    assert not Segment.objects.exists()


def test_segments_by_hand_tell_those_that_use_them(by_hand, make_customer, make_segment):
    vips = by_hand()
    ann = make_customer("ann")
    (entered,) = definitions.add_members(vips, [ann.pk, 424242])
    assert (entered.customer_id, entered.cause) == (ann.pk, "manual")
    assert definitions.add_members(vips, [ann.pk]) == []
    assert Change.objects.get().fact == f"segment:{vips.pk}"
    (left,) = definitions.remove_members(vips, [ann.pk])
    assert not left.entered


def test_a_segment_by_rule_takes_nobody_by_hand(make_segment, make_customer):
    with pytest.raises(definitions.NotByHandError):
        definitions.add_members(make_segment(VISITED), [make_customer().pk])


def test_the_sentence_says_what_the_rule_finds(make_segment):
    segment = make_segment(
        {
            "event": "Order Completed",
            "measure": "sum",
            "property": "amount",
            "op": "at_least",
            "value": 200,
            "within": {"last": 90, "unit": "days"},
        },
        audience="identified",
    )
    assert segment.sentence == (
        "Customers whose total amount of “Order Completed” in the last 90 days is at least CHF 200"
    )

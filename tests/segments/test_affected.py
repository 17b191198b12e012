from customers import changes
from customers.changes import Fact
from segments import affected
from segments.models import Segment


def segment(pk, *facts):
    return Segment(pk=pk, facts=list(facts))


def grouped(segments, told):
    facts = {customer: [Fact(customer, name) for name in names] for customer, names in told.items()}
    return [
        (sorted(group.segment_ids), group.customer_ids, list(group.pairs))
        for group in affected.groups(affected.Index(segments), facts)
    ]


ORDERS, VISITS = segment(1, "event:Order"), segment(2, "event:Visit")


def test_each_customer_is_evaluated_for_what_concerns_them():
    assert grouped(
        [ORDERS, VISITS], {2: ["event:Order"], 1: ["event:Order"], 3: ["event:Visit"]}
    ) == [
        ([1], [1, 2], []),
        ([2], [3], []),
    ]


def test_who_was_told_of_nothing_that_concerns_a_segment_is_in_no_group():
    assert grouped([ORDERS], {1: ["event:Other", "field:city", changes.clock(9)]}) == []


def test_who_was_told_of_several_things_is_evaluated_for_all_of_them():
    told = {1: ["event:Order", "event:Visit"], 2: ["event:Visit"]}
    assert sorted(grouped([ORDERS, VISITS], told)) == [([1], [1], []), ([2], [1, 2], [])]


def test_what_concerns_more_segments_includes_what_concerns_fewer():
    told = {1: ["event:Order", changes.merged(7), "event:Visit", changes.clock(2)]}
    assert grouped([ORDERS, VISITS], told) == [([1, 2], [1], [])]


def test_a_name_that_begins_as_a_rule_says_concerns_it():
    mail = segment(3, "event:Email *")
    assert affected.Index([ORDERS, mail]).concerned("event:Email Opened") == {3}


def test_a_new_customer_with_fields_concerns_the_rules_on_fields_and_on_having_done_nothing():
    city, nobody = segment(3, "field:city"), segment(4, changes.NEW)
    index = affected.Index([ORDERS, city, nobody])
    assert index.concerned(changes.NEW_WITH_FIELDS) == {3, 4}


def test_the_clock_asks_for_pairs_in_fixed_blocks_of_segments():
    segments = [segment(pk) for pk in range(1, affected.BLOCK + 3)]
    last = affected.BLOCK + 2
    told = {9: [changes.clock(last), changes.clock(1)], 8: [changes.clock(2)]}
    assert sorted(grouped(segments, told)) == [
        ([*range(1, affected.BLOCK + 1)], [8, 9], [(9, 1), (8, 2)]),
        ([last - 1, last], [9], [(9, last)]),
    ]

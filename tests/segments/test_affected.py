from customers import changes
from customers.changes import Fact
from segments import affected
from segments.models import Segment


def segment(pk, *facts):
    return Segment(pk=pk, facts=list(facts))


def grouped(segments, told):
    facts = {customer: [Fact(customer, name) for name in names] for customer, names in told.items()}
    return [
        ([each.pk for each in group.segments], group.customer_ids)
        for group in affected.groups(segments, facts)
    ]


ORDERS, VISITS = segment(1, "event:Order"), segment(2, "event:Visit")


def test_each_customer_is_evaluated_for_what_concerns_them():
    told = {n: ["event:Order"] for n in range(300)} | {n: ["event:Visit"] for n in range(300, 600)}
    assert grouped([ORDERS, VISITS], told) == [
        ([1], [*range(300)]),
        ([2], [*range(300, 600)]),
    ]


def test_who_was_told_of_nothing_that_concerns_a_segment_is_in_no_group():
    assert grouped([ORDERS], {1: ["event:Other", "field:city"]}) == []


def test_who_was_told_of_several_things_is_evaluated_for_all_of_them():
    told = {1: ["event:Order", "event:Visit"]} | {n: ["event:Visit"] for n in range(2, 900)}
    pairs = {
        (pk, customer)
        for pks, customers in grouped([ORDERS, VISITS], told)
        for pk in pks
        for customer in customers
    }
    assert {(1, 1), (2, 1)} <= pairs


def test_what_concerns_more_segments_includes_what_concerns_fewer():
    told = {1: ["event:Order", changes.merged(7), "event:Visit"]}
    assert grouped([ORDERS, VISITS], told) == [([1, 2], [1])]


def test_few_customers_with_few_segments_share_a_statement():
    segments = [segment(pk, f"event:{pk}") for pk in range(1, 101)]
    told = {n: [f"event:{n}"] for n in range(1, 101)}
    groups = grouped(segments, told)
    assert len(groups) < 15
    assert {n for _, customers in groups for n in customers} == {*range(1, 101)}

"""Finding people by what somebody typed."""

import pytest

from cdp import erasure, pipeline
from customers import changes, fields, search
from customers.changes import Fact
from customers.models import Customer, Identifier, SearchEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def find(make_customer):
    """Search among customers with these texts; answers with their CustomerIds."""

    def look(text, **people):
        for name, values in people.items():
            if not Customer.objects.filter(external_id=name).exists():
                make_customer(name, fields=values)
        search.rebuild()
        found = Customer.objects.filter(pk__in=search.find(text))
        return {customer.external_id for customer in found}

    return look


PEOPLE = {
    "C1": {"firstName": "Anna", "lastName": "Müller-Meier", "phone": "+41 79 123 45 67"},
    "C2": {"firstName": "Annabelle", "lastName": "Frei", "email": "a.frei@example.ch"},
    "C3": {"firstName": "Zoé", "born": "1980-04-30T22:00:00Z", "points": 41791234567},
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("anna", {"C1", "C2"}),
        ("ANNA mull", {"C1"}),
        ("müller", {"C1"}),
        ("meier", {"C1"}),
        ("zoe", {"C3"}),
        ("a.frei@exa", {"C2"}),
        ("C1", {"C1"}),
        ("C", {"C1", "C2", "C3"}),
        ("079 123 45 67", {"C1"}),
        ("+41 (79) 123-45-67", {"C1"}),
        ("0041791234567", {"C1"}),
        ("0791", {"C1"}),
        ("1980", set()),
        ("firstName", set()),
        ("anna frei zoe", set()),
        ("'", set()),
        ("& | ! :* <-> \\", set()),
        ("%", set()),
    ],
)
def test_people_are_found_by_beginnings_of_words_and_by_numbers(find, text, found):
    assert find(text, **PEOPLE) == found


def test_identifier_finds_who_has_no_words(find, make_customer):
    visitor = make_customer()
    Identifier.objects.create(kind="anonymous_id", value="abc-123", customer=visitor)
    assert search.find("abc-123") == [visitor.pk]


def test_pipeline_lets_new_words_be_found_and_old_ones_no_more(make_field, make_customer):
    make_field("city")
    ann = make_customer("C1")
    for city in ("Bern", "Chur"):
        fields.set_values({ann.pk: {"city": city}}, source="test")
        pipeline.refresh(10)
    assert search.find("chur") == [ann.pk]
    assert search.find("bern") == []
    fields.set_values({ann.pk: {"city": None}}, source="test")
    pipeline.refresh(10)
    assert not SearchEntry.objects.exists()


def test_merged_and_erased_customers_are_not_found(make_customer):
    survivor = make_customer("C1", fields={"city": "Bern"})
    absorbed = make_customer(fields={"city": "Bern"})
    search.rebuild()
    Customer.objects.filter(pk=absorbed.pk).update(merged_into=survivor)
    search.follow([Fact(absorbed.pk, changes.merged(absorbed.pk))])
    assert search.find("bern") == [survivor.pk]
    erasure.forget([survivor.pk])
    assert search.find("bern") == []


def test_events_cost_no_look_at_the_words(make_customer, django_assert_num_queries):
    ann = make_customer("C1")
    with django_assert_num_queries(0):
        search.follow([Fact(ann.pk, changes.event("Page Viewed")), Fact(ann.pk, "field:@seen")])


def test_words_before_the_last_are_beginnings_only_where_nobody_has_them_whole(find):
    people = {"J1": {"name": "Jan Fischer"}, "J2": {"name": "Janine Fischer"}}
    assert find("jan fisch", **people) == {"J1"}
    assert find("jani fisch", **people) == {"J2"}

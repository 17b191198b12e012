"""Filters of lists: what they find, that a rule finds the same, and what is refused."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ

from cdp import audience
from customers import clock, fields, filters, finding, indexing, paging
from customers.models import Customer, CustomerField
from customers.sql import lists
from segments import preview

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(make_customer, make_field):
    """Customers whose values lie on both sides of every comparison, and one without any."""
    for name, kind in (
        *(("city", "string"), ("points", "number"), ("born", "datetime"), ("vip", "boolean")),
        ("odd[is]", "string"),
    ):
        make_field(name, kind)
    now = clock.now()
    rows = {
        "a": {"city": "Bern", "points": 10, "born": "1990-04-30T22:00:00Z", "vip": True},
        "b": {"city": "BERN", "points": 9.5, "born": "1990-05-01T21:59:59.5Z", "vip": False},
        "c": {"city": "Zürich 100%", "points": -3, "born": "1990-05-01T22:00:00Z"},
        "d": {"city": "Bernex", "born": f"{now - timedelta(days=3):%FT%TZ}", "odd[is]": "x"},
        "e": {},
    }
    for name, values in rows.items():
        make_customer(name, fields=values, last_seen_at=now - timedelta(days=ord(name) - 96))


def found(*given):
    wanted, problems = filters.read(given, fields.known())
    assert not problems
    rows = filters.apply(Customer.objects.current(), wanted, clock.now())
    by_rule = preview.preview(audience.rule(wanted, None), members=True).members
    assert {row.pk for row in rows} == {*by_rule}
    return "".join(sorted(row.external_id for row in rows))


@pytest.mark.parametrize(
    ("parameter", "value", "who"),
    [
        ("city", "bern", "ab"),
        ("city", " Bern ", "ab"),
        ("city", "", "e"),
        ("city[is_not]", "bern", "cde"),
        ("city[one_of]", "bern, bernex", "abd"),
        ("city[none_of]", "bern,bernex", "ce"),
        ("city[contains]", "ern", "abd"),
        ("city[contains]", "0%", "c"),
        ("city[contains]", "_", ""),
        ("city[not_contains]", "ern", "ce"),
        ("city[starts_with]", "ZÜ", "c"),
        ("city[ends_with]", "EX", "d"),
        ("city[exists]", "true", "abcd"),
        ("city[exists]", "false", "e"),
        ("city[missing]", "true", "e"),
        ("points", "9.5", "b"),
        ("points[at_least]", "9.5", "ab"),
        ("points[more_than]", "9.5", "a"),
        ("points[at_most]", "9.5", "bc"),
        ("points[less_than]", "-2.9", "c"),
        ("points[one_of]", "10,-3", "ac"),
        ("points[is_not]", "10", "bcde"),
        ("born", "1990-05-01", "a"),
        ("born[from]", "1990-05-01", "abcd"),
        ("born[to]", "1990-05-01", "ab"),
        ("born[to]", "1990-05-01T00:00", "a"),
        ("born[before]", "1990-05-02", "ab"),
        ("born[after]", "1990-05-01", "bcd"),
        ("born[in_last]", "4", "d"),
        ("born[not_in_last]", "4", "abce"),
        ("born[missing]", "true", "e"),
        ("vip", "true", "a"),
        ("vip", "no", "b"),
        ("vip[missing]", "true", "cde"),
        ("odd[is]", "x", "d"),
        ("odd[is][contains]", "X", "d"),
        ("@last_seen[in_last]", "2", "a"),
        ("@last_seen[not_in_last]", "2", "bcde"),
        ("@first_seen[missing]", "true", "abcde"),
    ],
)
def test_filter_finds_whom_its_rule_finds(people, parameter, value, who):
    assert found((f"field.{parameter}", value)) == who


def test_filters_hold_together(people):
    assert found(("field.city", "bern"), ("field.points[at_least]", "10")) == "a"


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("ctiy", "x", "unknown_field"),
        ("points", "many", "not_a_number"),
        ("points[contains]", "1", "unknown_op"),
        ("points[at_least]", "", "required"),
        ("born[in_last]", "0", "invalid"),
        ("born[in_last]", "9" * 30, "invalid"),
        ("born[from]", "soon", "not_a_datetime"),
        ("vip", "maybe", "not_a_boolean"),
        ("city[one_of]", ",,", "invalid"),
        ("city", "a\0b", "nul_character"),
        ("city", "\ud800", "bad_encoding"),
    ],
)
def test_filter_that_cannot_be_read_says_why(people, parameter, value, code):
    wanted, (problem,) = filters.read([(f"field.{parameter}", value)], fields.known())
    assert (wanted, problem.code) == ([], code)


def test_pages_show_everybody_once_in_both_directions(people):
    for order in (
        paging.LAST_ADDED,
        paging.LAST_SEEN,
        *(
            paging.by_field(CustomerField.objects.get(name=name), is_descending=is_descending)
            for name in ("city", "points", "born", "vip")
            for is_descending in (True, False)
        ),
    ):
        rows = Customer.objects.current()
        whole = paging.take(rows, order, 100).rows
        seen, after, page = [], None, None
        while page is None or page.has_after:
            page = paging.take(rows, order, 1, after=after)
            seen += page.rows
            after = page.rows[-1].pk
        assert seen == whole
        while page.has_before:
            page = paging.take(rows, order, 1, before=page.rows[0].pk)
            assert page.has_after
        assert page.rows == whole[:1]


def test_page_behind_nobody_is_the_first(people):
    order = paging.by_field(CustomerField.objects.get(name="points"), is_descending=False)
    first = paging.take(Customer.objects.current(), order, 2)
    assert paging.take(Customer.objects.current(), order, 2, after=999_999).rows == first.rows


@pytest.mark.django_db(transaction=True)
def test_index_is_used_and_goes_with_its_field(people):
    for name in ("city", "points", "born", "vip"):
        field = CustomerField.objects.get(name=name)
        field.is_indexed = True
        field.save()
    indexing.follow()
    assert {*lists.field_indexes().values()} == {True}
    given = [
        *(("field.city", "bern"), ("field.points[at_least]", "9")),
        *(("field.born[from]", "1990-01-01"), ("field.vip", "true")),
    ]
    for one in filters.read(given, fields.known())[0]:
        rows = filters.apply(Customer.objects.current(), [one], clock.now())
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            assert f"customer_field_{one.field.pk}_" in rows.explain()
    CustomerField.objects.update(is_indexed=False)
    indexing.follow()
    assert lists.field_indexes() == {}


@pytest.mark.django_db(transaction=True)
def test_parts_of_texts_are_found_by_their_index(people, make_customer):
    make_customer("f", fields={"city": "x" * 400 + "Lauterbrunnen"})
    city = CustomerField.objects.get(name="city")
    seen = filters.BUILT_INS["@last_seen"]
    indexing.note_slow([seen], [city])
    indexing.follow(*OrmQ.objects.get().args())
    assert lists.field_indexes() == {
        f"customer_field_{city.pk}_string": True,
        f"customer_field_{city.pk}_parts": True,
        "customer_seen_last_seen": True,
    }
    for value, who in (("ern", "abd"), ("terbrun", "f"), ("nowhere", ""), ("rn", "abd")):
        (one,) = filters.read([("field.city[contains]", value)], fields.known())[0]
        rows = finding.apply(Customer.objects.current(), [one], clock.now())
        assert "".join(sorted(row.external_id for row in rows)) == who
        is_long_enough = len(value) >= filters.PART
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            assert (f"customer_field_{city.pk}_parts" in rows.explain()) == is_long_enough
    rows = filters.apply(
        Customer.objects.all(),
        [filters.read([("field.@last_seen[not_in_last]", "3")], fields.known())[0][0]],
        clock.now(),
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        assert "customer_seen_last_seen" in rows.explain()
    CustomerField.objects.update(is_indexed=False)
    indexing.follow()
    assert [*lists.field_indexes()] == ["customer_seen_last_seen"]
    lists.drop_index("customer_seen_last_seen")


def test_slow_field_gets_an_index_by_itself(people):
    city = CustomerField.objects.get(name="city")
    indexing.note_slow([city])
    city.refresh_from_db()
    assert (city.is_indexed, city.finds_parts) == (True, False)
    indexing.note_slow([], [city])
    city.refresh_from_db()
    assert city.finds_parts

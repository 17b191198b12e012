from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from customers import changes, fields
from customers.models import Customer, CustomerField, FieldChange, FieldType

pytestmark = pytest.mark.django_db


def field(type_):
    return CustomerField(name="it", type=type_)


def given(**values):
    return Customer.objects.create(fields=values)


@pytest.mark.parametrize("type_", FieldType.values)
@pytest.mark.parametrize("nothing", [None, "", " \t\u00a0"])
def test_nothing_clears_a_field_of_any_type(type_, nothing):
    assert fields.parse_value(field(type_), nothing) is None


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        ("string", " Zoë \u3000", "Zoë"),
        ("string", "e\u0301", "é"),
        ("string", 8001, "8001"),
        ("string", Decimal("1E+3"), "1000"),
        ("string", "'=1", "'=1"),
        ("number", "1234.50", Decimal("1234.50")),
        ("number", "+.5", Decimal("0.5")),
        ("number", "-0", Decimal(0)),
        ("number", 12, Decimal(12)),
        ("number", 0.1, Decimal("0.1")),
        ("number", Decimal("1e3"), Decimal(1000)),
        ("number", "9" * 100, Decimal("9" * 100)),
        ("datetime", "2026-01-02", "2026-01-01T23:00:00Z"),
        ("datetime", "2026-07-02 12:30", "2026-07-02T10:30:00Z"),
        ("datetime", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("datetime", "2026-01-02t03:04:05.120z", "2026-01-02T03:04:05.12Z"),
        ("datetime", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
        ("datetime", "2026-01-02T03:04:05+0530", "2026-01-01T21:34:05Z"),
        ("datetime", "1000-01-01T00:00:00-15:00", "1000-01-01T15:00:00Z"),
        ("datetime", datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
        ("boolean", True, True),
        ("boolean", "NO", False),
        ("boolean", "1", True),
        ("boolean", 0, False),
    ],
)
def test_value_is_read_as_its_field_stores_it(type_, raw, value):
    parsed = fields.parse_value(field(type_), raw)
    assert (parsed, type(parsed)) == (value, type(value))
    assert fields.parse_value(field(type_), parsed) == value


@pytest.mark.parametrize(
    ("type_", "raw", "code"),
    [
        ("string", "a\0b", "nul_character"),
        ("string", "\ud800", "bad_encoding"),
        ("string", "x" * 10_001, "text_too_long"),
        ("string", True, "not_a_text"),
        ("string", ["a"], "not_a_text"),
        ("string", {"a": 1}, "not_a_text"),
        ("number", "1'234", "not_a_number"),
        ("number", "1e5", "not_a_number"),
        ("number", "١٢", "not_a_number"),
        ("number", "1 2", "not_a_number"),
        ("number", "1\n2", "not_a_number"),
        ("number", True, "not_a_number"),
        ("number", float("nan"), "not_a_number"),
        ("number", Decimal("1e400"), "not_a_number"),
        pytest.param("number", 10**5000, "not_a_number", id="5000 digits"),
        pytest.param("string", 10**5000, "not_a_number", id="5000 digits as text"),
        ("number", "9" * 101, "not_a_number"),
        ("number", [1], "not_a_number"),
        ("datetime", "2026-02-30", "not_a_datetime"),
        ("datetime", "02.01.2026", "not_a_datetime"),
        ("datetime", "20260102", "not_a_datetime"),
        ("datetime", "2026-01-02T24:00", "not_a_datetime"),
        ("datetime", "9999-12-31T23:00:00-05:00", "not_a_datetime"),
        ("datetime", "0001-01-01", "not_a_datetime"),
        ("datetime", "1000-01-01T00:00:00+15:00", "not_a_datetime"),
        ("datetime", 1767322800, "not_a_datetime"),
        ("boolean", "ja", "not_a_boolean"),
        ("boolean", 2, "not_a_boolean"),
        ("boolean", 1.0, "not_a_boolean"),
        ("boolean", [10**5000], "not_a_boolean"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_a_reason(type_, raw, code):
    with pytest.raises(fields.FieldValueError) as error:
        fields.parse_value(field(type_), raw)
    assert error.value.code == code
    assert len(str(error.value)) < 200


def test_time_without_offset_is_standard_time_where_the_clocks_change():
    at = [
        fields.parse_value(field("datetime"), text)
        for text in ("2026-10-25T02:30", "2026-03-29T02:30")
    ]
    assert at == ["2026-10-25T01:30:00Z", "2026-03-29T01:30:00Z"]


def test_offset_of_a_datetime_object_counts():
    at = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))
    assert fields.parse_value(field("datetime"), at) == "2026-01-02T01:00:00Z"


def test_check_separates_the_good_from_the_bad_and_says_why():
    CustomerField.objects.create(name="age", type="number")
    CustomerField.objects.create(name="city")
    checked = fields.check({"age": "old", "city": " Bern", "Ctiy": "Bern"})
    assert checked.values == {"city": "Bern"}
    assert [(p.name, p.code) for p in checked.problems] == [
        ("age", "not_a_number"),
        ("Ctiy", "unknown_field"),
    ]


def test_values_are_merged_logged_and_told(django_assert_num_queries):
    ann, bob = given(city="Bern", age=3), given()
    with django_assert_num_queries(2):
        fields.set_values(
            {bob.pk: {"city": "Basel"}, ann.pk: {"city": "Genf", "age": None}}, source="Anna"
        )
    ann.refresh_from_db()
    assert ann.fields == {"city": "Genf"}
    change = FieldChange.objects.get(customer=ann)
    assert change.changes == {"city": ["Bern", "Genf"], "age": [3, None]}
    assert change.source == "Anna"
    assert set(changes.claim(10)) == {
        (ann.pk, "field:city", None),
        (ann.pk, "field:age", None),
        (bob.pk, "field:city", None),
    }


def test_values_that_are_so_already_change_nothing():
    ann = given(city="Bern", age=Decimal("1.50"))
    fields.set_values(
        {ann.pk: {"city": "Bern", "age": Decimal("1.5"), "gone": None}}, source="Anna"
    )
    assert not FieldChange.objects.exists()
    assert changes.claim(10) == []


def test_only_the_fields_that_change_are_logged():
    ann = given(city="Bern", age=1)
    fields.set_values({ann.pk: {"city": "Bern", "age": Decimal(2)}}, source="Anna")
    assert FieldChange.objects.get().changes == {"age": [1, 2]}


def test_numbers_keep_every_digit():
    ann = given()
    number = Decimal("12345678901234567890.12345678901234567890")
    fields.set_values({ann.pk: {"it": number}}, source="Anna")
    ann.refresh_from_db()
    assert ann.fields == {"it": number}


def test_values_of_a_merged_customer_go_to_the_survivor():
    last = given()
    middle = Customer.objects.create(merged_into=last)
    first = Customer.objects.create(merged_into=middle)
    fields.set_values({first.pk: {"city": "Bern"}}, source="Anna")
    last.refresh_from_db()
    assert last.fields == {"city": "Bern"}
    assert [change.customer_id for change in FieldChange.objects.all()] == [last.pk]


def test_writing_to_nobody_asks_the_database_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        fields.set_values({1: {}}, source="Anna")


def test_fields_are_created_from_examples_with_the_type_they_look_like():
    CustomerField.objects.create(name="age", type="string")
    fields.create_missing(
        {
            "age": 3,
            "score": Decimal("1.5"),
            "vip": False,
            "born": "2026-01-02",
            "joined": "2026-01-02T03:04:05Z",
            "@no": "x",
            "list": [1],
            "": "x",
        }
    )
    types = {f.name: f.type for f in fields.known().values()}
    assert types == {
        "age": "string",
        "score": "number",
        "vip": "boolean",
        "born": "string",
        "joined": "datetime",
    }

"""What identify and group tell about customers."""

from decimal import Decimal

import pytest

from customers.models import Change, Customer, CustomerField, FieldChange
from events.models import DiscoveredField, Quarantine
from tests.events.reading import reasons


@pytest.fixture
def _fields(make_field):
    for name, type_ in {"city": "string", "points": "number", "born": "datetime"}.items():
        make_field(name, type_)


def identify(**traits):
    return {"type": "identify", "userId": "u1", "traits": traits}


@pytest.mark.usefixtures("_fields")
def test_traits_become_typed_fields_with_their_origin(tell):
    tell(identify(city="Bern", points="12.50", born="1990-02-03"))
    customer = Customer.objects.get()
    assert customer.fields == {
        "city": "Bern",
        "points": Decimal("12.50"),
        "born": "1990-02-02T23:00:00Z",
    }
    assert FieldChange.objects.get().source == 'website "Shop"'
    facts = {*Change.objects.values_list("fact", flat=True)}
    assert {"field:city", "field:points", "field:born", "field:@seen"} <= facts


@pytest.mark.usefixtures("_fields")
def test_value_that_does_not_fit_is_refused_for_that_field_only(tell):
    tell(identify(city="Bern", points="many"))
    assert Customer.objects.get().fields == {"city": "Bern"}
    assert reasons() == ["field_type"]
    assert Quarantine.objects.get().message.startswith("points: “many” is not a number")


@pytest.mark.usefixtures("_fields")
def test_the_last_identify_counts_also_within_a_batch_of_several_sources(
    send, take_in, make_source
):
    make_source("till", name="Till", kind="store")
    for key, city, more in (
        ("wk_shop", "A", {"points": 1}),
        ("wk_till", "B", {}),
        ("wk_shop", "C", {}),
    ):
        send("/v1/identify", identify(city=city, **more), key=key)
    take_in()
    assert Customer.objects.get().fields == {"city": "C", "points": 1}


@pytest.mark.usefixtures("_fields")
def test_context_traits_stand_in_and_null_clears(tell):
    tell(
        identify(city="Bern", points=1),
        {"type": "identify", "userId": "u1", "context": {"traits": {"city": None}}},
    )
    assert Customer.objects.get().fields == {"points": 1}


def test_unknown_traits_are_remembered_for_staff(tell):
    tell(identify(shoeSize=42, address={"city": "Bern"}, tags=["a"]))
    found = {row.name: (row.type, row.example) for row in DiscoveredField.objects.all()}
    assert found == {
        "shoeSize": ("number", "42"),
        "address.city": ("string", '"Bern"'),
        "tags": ("string", '["a"]'),
    }
    assert Customer.objects.get().fields == {}
    assert reasons() == []


def test_source_that_creates_fields_creates_them(tell, source):
    source.creates_fields = True
    source.save()
    tell(identify(shoeSize=42, vip=True, since="2026-01-02T03:04:05Z", name="Ann", nick=""))
    types = dict(CustomerField.objects.values_list("name", "type"))
    assert types == {"shoeSize": "number", "vip": "boolean", "since": "datetime", "name": "string"}
    assert Customer.objects.get().fields["shoeSize"] == 42


def test_group_tells_about_the_company(tell, make_field):
    make_field("group.id")
    make_field("group.name")
    tell({"type": "group", "userId": "u1", "groupId": "g1", "traits": {"name": "Acme", "size": 9}})
    assert Customer.objects.get().fields == {"group.id": "g1", "group.name": "Acme"}
    assert [row.name for row in DiscoveredField.objects.all()] == ["group.size"]


@pytest.mark.usefixtures("_fields")
def test_numbers_keep_their_digits(send, take_in):
    body = b'{"userId":"u1","traits":{"points":0.10000000000000000000000001}}'
    send("/v1/identify", body)
    take_in()
    assert Customer.objects.get().fields["points"] == Decimal("0.10000000000000000000000001")

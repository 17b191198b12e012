"""The pages of customer fields: made, counted, retyped, deleted."""

from decimal import Decimal

import pytest
from django.core.cache import cache
from django_q.models import OrmQ

from customers import definitions, usage
from customers.models import Customer, CustomerField, FieldChange
from events.models import DiscoveredField


@pytest.fixture(autouse=True)
def _fresh_figures():
    cache.clear()


def test_field_with_values_keeps_its_name_and_type(staff, make_customer, make_field):
    field = make_field("city")
    make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/change/"
    assert "its name and type stay" in staff.get(address).content.decode()
    staff.post(address, {"name": "town", "type": "number", "label": "City"})
    field.refresh_from_db()
    assert (field.name, field.type, field.label) == ("city", "string", "City")


def test_type_of_a_field_changes_after_a_look_at_what_is_lost(
    transactional_db, staff, make_customer, make_field
):
    field = make_field("points")
    for number, value in enumerate(("12", "1.50", "many", "many")):
        make_customer(f"C{number}", fields={"points": value})
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    text = staff.get(address, {"type": "number"}).content.decode()
    assert "2 of the values cannot become a Number" in text
    assert "many" in text
    assert Customer.objects.get(external_id="C0").fields == {"points": "12"}
    staff.post(address, {"type": "number"})
    definitions.convert(field.pk, "Anna")
    values = {c.external_id: c.fields.get("points") for c in Customer.objects.all()}
    assert values == {"C0": 12, "C1": Decimal("1.50"), "C2": None, "C3": None}
    lost = FieldChange.objects.get(customer__external_id="C2")
    assert lost.changes == {"points": ["many", None]}


def test_type_of_a_field_that_a_segment_uses_stays(staff, make_field, make_segment):
    field = make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    assert "in use" in staff.get(address, {"type": "number"}).content.decode()
    staff.post(address, {"type": "number"})
    field.refresh_from_db()
    assert field.type == "string"


def test_viewer_may_not_change_a_type(member, make_field):
    field = make_field("city")
    client = member("Viewer")
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    assert client.post(address, {"type": "number"}).status_code == 403


def test_kept_figures_of_fields_are_counted_by_the_queue(make_customer, make_field, monkeypatch):
    monkeypatch.setattr(usage, "SAMPLED", 1)
    make_field("city")
    make_field("plan")
    make_customer("C1", fields={"city": "Bern"})
    make_customer("C2")  # the newest shows nothing
    usage.refresh()
    city, plan = CustomerField.objects.order_by("name")
    assert (city.holders, city.examples, plan.holders) == (1, ["Bern"], 0)


def test_list_of_fields_says_who_has_a_value_and_what_uses_it(
    staff, make_customer, make_field, make_segment
):
    make_field("city")
    make_customer("C1", fields={"city": "Bern"})
    make_customer("C2")
    segment = make_segment({"field": "city", "op": "is", "value": "Bern"})
    text = staff.get("/admin/customers/customerfield/").content.decode()
    assert "50" in text
    assert segment.name in text


def test_field_is_deleted_with_its_values_when_its_name_is_typed(
    transactional_db, staff, make_customer, make_field
):
    field = make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/delete/"
    staff.post(address, {"name": "town"})
    assert CustomerField.objects.exists()
    staff.post(address, {"name": "city"})
    customer.refresh_from_db()
    assert not CustomerField.objects.exists()
    assert customer.fields == {}


def test_field_that_a_segment_uses_is_not_deleted(staff, make_field, make_segment):
    field = make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"})
    staff.post(f"/admin/customers/customerfield/{field.pk}/delete/", {"name": "city"})
    assert CustomerField.objects.exists()


def test_unknown_traits_are_offered_as_fields(staff, make_source):
    DiscoveredField.objects.create(
        name="plan", source=make_source(), type="string", example='"gold"'
    )
    text = staff.get("/admin/customers/customerfield/").content.decode()
    assert "add/?name=plan&amp;type=string" in text


def test_field_that_many_have_is_deleted_by_the_queue(make_field, make_customer, monkeypatch):
    monkeypatch.setattr(definitions, "CHUNK", 2)
    monkeypatch.setattr(definitions, "SLICE", -1)  # a chunk a task
    field = make_field("city")
    for n in range(3):
        make_customer(f"C-{n}", fields={"city": "Bern"})
    assert not definitions.start_delete(field, source="Anna")
    while OrmQ.objects.exists():
        task = OrmQ.objects.earliest("id")
        definitions.delete_by_queue(*task.args())
        task.delete()
    assert not CustomerField.objects.filter(name="city").exists()
    assert not Customer.objects.filter(fields__has_key="city").exists()

"""The profile of a customer, the form, and the page of a single value."""

from decimal import Decimal

import pytest
from django.core.cache import cache

from customers.models import Customer, CustomerField, FieldChange


@pytest.fixture(autouse=True)
def _fresh_figures():
    cache.clear()


def form_of(customer, **values):
    """What the form of a customer sends: the controls are called after the fields' ids."""
    ids = dict(CustomerField.objects.values_list("name", "pk"))
    return {f"value_{ids[name]}": value for name, value in values.items()}


def test_edit_lays_typed_values_and_remembers_who_wrote_them(staff, make_customer, make_field):
    make_field("points", "number")
    make_field("vip", "boolean")
    make_field("born", "datetime")
    make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customer/{customer.pk}/change/"
    sent = form_of(customer, points="12.50", vip="true", born="1980-05-01T00:00", city="Bern")
    answer = staff.post(address, sent)
    assert answer.url == f"/admin/customers/customer/{customer.pk}/"
    customer.refresh_from_db()
    assert customer.fields["points"] == 12.5
    assert customer.fields["vip"] is True
    assert customer.fields["born"] == "1980-04-30T23:00:00Z"
    change = FieldChange.objects.get(customer=customer)
    assert change.source == "Anna"
    assert set(change.changes) == {"points", "vip", "born"}


def test_edit_refuses_a_value_beside_its_field_and_changes_nothing(
    staff, make_customer, make_field
):
    make_field("points", "number")
    make_field("city")
    customer = make_customer("C1")
    sent = form_of(customer, points="many", city="Bern")
    answer = staff.post(f"/admin/customers/customer/{customer.pk}/change/", sent)
    assert "is not a number" in answer.content.decode()
    customer.refresh_from_db()
    assert customer.fields == {}


def test_form_cannot_change_id_or_customer_id(staff, make_customer):
    customer = make_customer("C1")
    staff.post(
        f"/admin/customers/customer/{customer.pk}/change/", {"external_id": "X", "id": "999"}
    )
    customer.refresh_from_db()
    assert customer.external_id == "C1"


def test_clearing_a_control_clears_the_value(staff, make_customer, make_field):
    make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    staff.post(f"/admin/customers/customer/{customer.pk}/change/", form_of(customer, city=""))
    customer.refresh_from_db()
    assert customer.fields == {}


def test_customer_is_added_by_hand_once(staff, make_field):
    make_field("city")
    sent = {"external_id": "C7", **form_of(None, city="Bern")}
    answer = staff.post("/admin/customers/customer/add/", sent)
    customer = Customer.objects.get(external_id="C7")
    assert answer.url == f"/admin/customers/customer/{customer.pk}/"
    assert customer.fields == {"city": "Bern"}
    again = staff.post("/admin/customers/customer/add/", sent).content.decode()
    assert "already" in again
    assert Customer.objects.count() == 1


@pytest.mark.parametrize("name", ["", "undefined", "00000"])
def test_customer_cannot_be_added_with_an_id_that_is_none(staff, name):
    staff.post("/admin/customers/customer/add/", {"external_id": name})
    assert not Customer.objects.exists()


def test_profile_says_where_a_value_came_from(staff, make_customer, make_field):
    make_field("city")
    customer = make_customer("C1", fields={"city": "Basel"})
    FieldChange.objects.create(customer=customer, source="Tom", changes={"city": [None, "Bern"]})
    FieldChange.objects.create(
        customer=customer, source='import "a.csv"', changes={"city": ["Bern", "Basel"]}
    )
    text = staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()
    assert "import &quot;a.csv&quot;" in text
    assert "before: Bern" in text


def test_single_value_is_set_cleared_and_restored(staff, make_customer, make_field):
    points = make_field("points", "number")
    customer = make_customer("C1", fields={"points": 5})
    address = f"/admin/customers/customer/{customer.pk}/field/{points.pk}/"
    assert address in staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()

    def post(**sent):
        answer = staff.post(address, sent)
        customer.refresh_from_db()
        return customer.fields.get("points"), answer

    key = f"value_{points.pk}"
    assert post(save="1", **{key: "7.5"})[0] == Decimal("7.5")
    value, answer = post(save="1", **{key: "many"})
    assert value == Decimal("7.5")
    assert "is not a number" in answer.content.decode()
    assert post(clear="1")[0] is None
    first = FieldChange.objects.filter(customer=customer).order_by("id").first()
    assert "7.5" in staff.get(address).content.decode()
    assert post(restore=str(first.id))[0] == Decimal("7.5")
    assert post(restore="x")[0] == Decimal("7.5")
    assert FieldChange.objects.filter(customer=customer, source="Anna").count() == 3


def test_viewer_sees_the_history_of_a_value_and_cannot_change_it(member, make_customer, make_field):
    city = make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customer/{customer.pk}/field/{city.pk}/"
    client = member("Viewer")
    assert client.get(address).status_code == 200
    assert client.post(address, {"clear": "1"}).status_code == 403
    secret = make_field("iban", is_personal=True)
    hidden = f"/admin/customers/customer/{customer.pk}/field/{secret.pk}/"
    assert client.get(hidden).status_code == 403


def test_values_lead_where_they_should_and_nowhere_else(staff, make_customer, make_field):
    for name, shown_as, value in (
        ("mail", "email", "a@b.ch"),
        ("tel", "phone", "+41 79 1"),
        ("web", "link", "https://b.ch/x"),
        ("evil", "link", "javascript:alert(1)"),
    ):
        make_field(name, display=shown_as)
        make_customer(name, fields={name: value})
    text = "".join(
        staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()
        for customer in Customer.objects.all()
    )
    for href in ("mailto:a%40b.ch", "tel:+41791", "https://b.ch/x"):
        assert f'href="{href}"' in text
    assert 'href="javascript' not in text


def test_profile_sums_purchases_less_refunds_in_our_currency(staff, make_customer, make_event):
    customer = make_customer("C1")
    make_event(customer=customer, amount="1234.50")
    make_event(customer=customer, amount="99", currency="EUR")
    make_event("Order Refunded", customer, amount="-34.50")
    bought = staff.get(f"/admin/customers/customer/{customer.pk}/").context["purchases"]
    assert (bought.revenue, bought.orders) == (1200, 2)


def test_profile_shows_hostile_values_as_text(staff, make_customer, make_event, make_field):
    nasty = "<script>alert(1)</script>"
    make_field("name", label=nasty, description=nasty)
    make_field("agrees", kind="boolean", group=nasty, description=nasty)
    customer = make_customer(nasty, fields={"name": nasty})
    make_event(nasty, customer, properties={nasty: nasty, "name": nasty})
    for path in ("", "change/", "timeline/"):
        text = staff.get(f"/admin/customers/customer/{customer.pk}/{path}").content.decode()
        assert nasty not in text

"""A website's key is public: it does not change what others told of identified customers."""

import pytest

from cdp import identities
from customers import fields
from customers.models import Customer, Merge
from events import quarantine
from events.models import Quarantine
from tests.events.reading import reasons


@pytest.fixture
def ann(make_field, make_customer):
    make_field("plan")
    make_field("city")
    customer = make_customer("u1")
    fields.set_values({customer.pk: {"plan": "gold"}}, source='import "crm.csv"')
    return customer


def identify(**traits):
    return {"type": "identify", "userId": "u1", "traits": traits}


def test_website_fills_what_is_empty_and_leaves_what_the_crm_told(tell, ann):
    tell(identify(plan="free", city="Bern"))
    ann.refresh_from_db()
    assert ann.fields == {"plan": "gold", "city": "Bern"}
    withheld = Quarantine.objects.get()
    assert withheld.code == "withheld"
    assert withheld.message.startswith("plan: a website does not change")


def test_clearing_is_changing(tell, ann):
    tell(identify(plan=None))
    ann.refresh_from_db()
    assert (ann.fields, reasons()) == ({"plan": "gold"}, ["withheld"])


def test_same_value_is_no_change(tell, ann):
    tell(identify(plan="gold"))
    assert reasons() == []


def test_website_may_change_what_it_told_itself(tell, ann):
    tell(identify(city="Bern"), identify(city="Thun"))
    ann.refresh_from_db()
    assert (ann.fields["city"], reasons()) == ("Thun", [])


def test_visitor_without_a_customer_id_is_not_protected(tell, make_field):
    make_field("plan")
    visitor = {"type": "identify", "anonymousId": "a1"}
    tell({**visitor, "traits": {"plan": "free"}})
    customer = Customer.objects.get()
    fields.set_values({customer.pk: {"plan": "gold"}}, source="Anna")
    tell({**visitor, "traits": {"plan": "silver"}})
    customer.refresh_from_db()
    assert customer.fields == {"plan": "silver"}


@pytest.mark.parametrize(
    ("kind", "may_overwrite"), [("website", True), ("server", False), ("store", False)]
)
def test_trusted_sources_change_everything(send, take_in, make_source, ann, kind, may_overwrite):
    trusted = make_source("trusted", kind=kind, may_overwrite=may_overwrite)
    send("/v1/identify", identify(plan="free"), key=trusted.write_key)
    take_in()
    ann.refresh_from_db()
    assert (ann.fields, reasons()) == ({"plan": "free"}, [])


def test_withheld_value_is_taken_once_the_source_allows_it(api, tell, take_in, ann):
    tell(identify(plan="free"))
    assert api.patch("/api/sources/shop/", {"may_overwrite": True})[0] == 200
    quarantine.replay([Quarantine.objects.get().pk])
    take_in()
    ann.refresh_from_db()
    assert ann.fields == {"plan": "free"}


def test_values_of_a_device_do_not_enter_by_a_merge(tell, ann):
    """A stranger tells a device of their own, then says by the public key that it is Ann's."""
    tell({"type": "identify", "anonymousId": "evil", "traits": {"plan": "free", "city": "Bern"}})
    tell({**identify(), "anonymousId": "evil"})
    ann.refresh_from_db()
    assert ann.fields == {"plan": "gold", "city": "Bern"}
    tell(identify(plan="free"), identify(city="Thun"))
    ann.refresh_from_db()
    assert (ann.fields, reasons()) == ({"plan": "gold", "city": "Thun"}, ["withheld"])


def test_what_a_server_told_of_a_device_enters_by_a_merge(tell, send, take_in, make_source, ann):
    key = make_source("till", kind="store").write_key
    send("/v1/identify", {"anonymousId": "a1", "traits": {"plan": "free"}}, key=key)
    take_in()
    tell({**identify(), "anonymousId": "a1"})
    ann.refresh_from_db()
    assert ann.fields == {"plan": "free"}


def test_undoing_another_merge_does_not_let_the_value_of_a_device_in(tell, ann):
    tell({"type": "identify", "anonymousId": "a1", "traits": {"plan": "silver"}})
    fields.set_values({ann.pk: {"plan": "gold+"}}, source="Anna")
    tell({"type": "identify", "anonymousId": "evil", "traits": {"plan": "free"}})
    tell({**identify(), "anonymousId": "a1"}, {**identify(), "anonymousId": "evil"})
    identities.undo(Merge.objects.order_by("id").first(), by="Anna")
    ann.refresh_from_db()
    assert ann.fields == {"plan": "gold+"}

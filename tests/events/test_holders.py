"""An e-mail or phone in a field names its customer: from a file, over the API, by hand."""

import pytest

from cdp import pipeline
from customers import fields, search
from customers.models import Customer, Identifier
from events.models import Event


@pytest.fixture
def ann(make_field, make_customer):
    """Make Ann known as a file of the CRM does; call it to do so."""
    make_field("E-Mail")
    make_field("mobile")

    def load():
        customer = make_customer("CH-1")
        values = {"E-Mail": "Ann@Example.com ", "mobile": "079 123 45 67"}
        fields.set_values({customer.pk: values}, source="a file")
        return customer

    return load


def signed_up(**traits):
    return {"type": "identify", "anonymousId": "a1", "traits": traits}


VIEW = {"type": "page", "anonymousId": "a1", "name": "Home"}


@pytest.mark.parametrize("traits", [{"email": "ann@example.com"}, {"phone": "+41 79 123 45 67"}])
def test_contact_alone_finds_whose_field_has_it(tell, ann, traits):
    customer = ann()
    search.rebuild()
    tell({"type": "identify", "traits": traits})
    assert [*Customer.objects.all()] == [customer]
    assert Identifier.objects.filter(customer=customer).count() == 2


@pytest.mark.parametrize("traits", [{"email": "ann@example.com"}, {"phone": "0041791234567"}])
@pytest.mark.parametrize("file_comes", ["before", "after"])
@pytest.mark.parametrize("trusted", [["email", "phone"], []])
def test_trusted_contact_joins_the_visitor_with_whose_field_has_it(
    tell, ann, settings, traits, file_comes, trusted
):
    settings.TRUSTED_IDENTIFIERS = trusted
    if file_comes == "before":
        ann()
        pipeline.refresh(1_000)
    tell(VIEW, signed_up(**traits))
    if file_comes == "after":
        ann()
    pipeline.refresh(1_000)
    assert Customer.objects.current().count() == (1 if trusted else 2)
    assert (Event.objects.get().customer.external_id == "CH-1") is bool(trusted)


def test_field_of_another_customer_joins_nobody(tell, ann, settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    tell({**signed_up(email="ann@example.com"), "userId": "CH-2"})
    ann()
    pipeline.refresh(1_000)
    assert Customer.objects.current().count() == 2

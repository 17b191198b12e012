"""Leaving by a link: one click for mail programs, a page for people."""

import re

import pytest
from django.test import Client

from customers import consent, erasure, suppression
from customers.consent import Decision, links
from customers.models import Consent, ConsentChange, ConsentPurpose, Identifier
from tests.makers import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(make_customer):
    """Anna, who gets the newsletter and offers by SMS."""
    customer = make_customer("anna", fields={"email": "anna@example.com"})
    ConsentPurpose.objects.create(key="mail", label="Our newsletter", channel="email")
    both = [Decision(customer.pk, key, True, NOON) for key in ("mail", "sms")]
    consent.record(both, source="test")
    return customer


@pytest.fixture
def browser():
    return Client(enforce_csrf_checks=True)


@pytest.fixture(autouse=True)
def public_url(settings):
    settings.PUBLIC_URL = "https://cdp.example"


def path(customer_id, purpose):
    url = links.unsubscribe_url(customer_id, purpose)
    assert url.startswith("https://cdp.example/unsubscribe/")
    return url.removeprefix("https://cdp.example")


def answers():
    return dict(Consent.objects.values_list("purpose", "granted"))


def test_one_click_leaves_the_purpose(anna, browser):
    answer = browser.post(path(anna.pk, "Mail"), {"List-Unsubscribe": "One-Click"})
    assert (answer.status_code, answer.cookies) == (200, {})
    assert answers() == {"mail": False, "sms": True}
    latest = ConsentChange.objects.latest("id")
    assert (latest.source, latest.via) == ("the customer", "one-click unsubscribe")


def test_to_look_changes_nothing_and_shows_the_choices(anna, browser):
    answer = browser.get(path(anna.pk, "mail"))
    page = answer.content.decode()
    assert "Our newsletter" in page
    assert len(re.findall("checked", page)) == 2
    assert answers() == {"mail": True, "sms": True}
    assert answer["Referrer-Policy"] == "no-referrer"
    assert "anna" not in page


def test_choices_are_saved(anna, browser):
    browser.post(path(anna.pk, "mail"), {"do": "choose", "purpose": ["mail", "unheard of"]})
    assert answers() == {"mail": True, "sms": False}


def test_everything_can_be_stopped(anna, browser):
    Identifier.objects.create(kind="phone", value="+41791234567", customer=anna)
    page = browser.post(path(anna.pk, "mail"), {"do": "all"}).content.decode()
    assert "We will send you nothing any more" in page
    assert answers() == {"mail": False, "sms": False}
    assert suppression.suppressed("email", ["anna@example.com"])
    assert suppression.suppressed("phone", ["+41791234567"])


def test_link_without_a_purpose_stops_everything(anna, browser):
    browser.post(path(anna.pk, ""), {"List-Unsubscribe": "One-Click"})
    assert answers() == {"mail": False, "sms": False}


@pytest.mark.parametrize("method", ["get", "post"])
def test_link_that_is_not_ours_is_refused(anna, browser, method):
    whole = path(anna.pk, "mail")
    for wrong in (whole[:-3] + "/", "/unsubscribe/x/", whole.replace("e/", "e/x")):
        answer = getattr(browser, method)(wrong)
        assert answer.status_code == 404
        assert "does not work" in answer.content.decode()
    assert answers() == {"mail": True, "sms": True}


def test_link_of_an_erased_customer_still_answers(anna, browser):
    link = path(anna.pk, "mail")
    erasure.forget([anna.pk])
    assert browser.post(link, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert browser.get(link).status_code == 200

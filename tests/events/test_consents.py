"""What visitors agree to, told by the tag or by a server."""

from customers import consent
from customers.models import Consent, Customer
from events.models import Event
from tests.events.reading import reasons

AGREED = {"type": "consent", "anonymousId": "a1", "consent": {"analytics": True, "ads": False}}


def test_consent_call_is_recorded_with_its_source(tell):
    tell(AGREED | {"textVersion": "2026-01", "via": "banner"})
    customer = Customer.objects.get()
    assert consent.granted([customer.pk], "analytics") == {customer.pk}
    assert consent.granted([customer.pk], "ads") == set()
    assert {row.source for row in Consent.objects.all()} == {'website "Shop"'}
    assert not Event.objects.exists()


def test_consent_of_a_visitor_goes_along_when_they_sign_in(tell):
    tell(AGREED, {"type": "identify", "anonymousId": "a1", "userId": "u1"})
    customer = Customer.objects.current().get(external_id="u1")
    assert consent.granted([customer.pk], "analytics") == {customer.pk}


def test_answer_that_is_neither_yes_nor_no_is_set_aside(tell):
    for wrong in (None, {}, "yes", {"ads": "yes"}, [True]):
        tell(AGREED | {"consent": wrong})
    assert reasons() == ["bad_consent"] * 5

"""Consent over HTTP."""

import pytest

from customers.models import Consent, ConsentChange, Suppression

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(make_customer):
    return make_customer("anna")


def test_decision_is_recorded_with_its_wording(api, anna):
    status, answer = api.post(
        "/api/consents/",
        {
            "customer_id": "anna",
            "purpose": "Mail",
            "granted": True,
            "at": "2026-01-15T12:00:00Z",
            "text_version": "3",
            "via": "checkout",
        },
    )
    assert status == 201
    assert answer.pop("recorded_at")
    assert answer.pop("source").startswith("API key")
    assert answer == {
        "customer": anna.pk,
        "purpose": "mail",
        "granted": True,
        "at": "2026-01-15T12:00:00Z",
        "text_version": "3",
        "via": "checkout",
    }


def test_late_word_of_an_older_decision_changes_nothing(api, anna):
    api.post("/api/consents/", {"customer": anna.pk, "purpose": "mail", "granted": False})
    old = {"customer_id": "anna", "purpose": "mail", "granted": True, "at": "2020-01-01"}
    assert api.post("/api/consents/", old)[1]["granted"] is False
    history = api.get(f"/api/customers/{anna.pk}/consent-history/")[1]["results"]
    assert [change["granted"] for change in history] == [True, False]
    (present,) = api.get(f"/api/customers/{anna.pk}/consents/")[1]["results"]
    assert present["granted"] is False


@pytest.mark.parametrize(
    ("change", "attr", "code"),
    [
        ({"customer_id": "nobody"}, "customer_id", "unknown"),
        ({"customer_id": None}, "customer_id", "required"),
        ({"customer": 1}, "customer_id", "required"),
        ({"customer_id": {}}, "customer_id", "invalid"),
        ({"customer_id": None, "identifier": "anna"}, "identifier", "invalid"),
        ({"customer_id": None, "customer": 2**63}, "customer", "invalid"),
        ({"purpose": ""}, "purpose", "invalid"),
        ({"purpose": None}, "purpose", "required"),
        ({"purpose": "a\nb"}, "purpose", "invalid"),
        ({"granted": "yes"}, "granted", "invalid"),
        ({"at": "yesterday"}, "at", "not_a_datetime"),
        ({"via": 3}, "via", "invalid"),
        ({"text": "x"}, "text", "unknown"),
    ],
)
def test_bad_decision_is_refused_where_the_fault_is(api, anna, change, attr, code):
    good = {"customer_id": "anna", "purpose": "mail", "granted": True}
    status, answer = api.post("/api/consents/", good | change)
    assert status == 400
    assert (answer["errors"][0]["attr"], answer["errors"][0]["code"]) == (attr, code)
    assert not ConsentChange.objects.exists()


def test_many_are_recorded_at_once_and_bad_ones_told(api, anna, django_assert_max_num_queries):
    good = {"customer_id": "anna", "purpose": "mail", "granted": True}
    several = [{**good, "purpose": f"p{n}"} for n in range(30)]
    with django_assert_max_num_queries(20):
        status, answer = api.put("/api/consents/", [*several, "x", good | {"customer_id": "eve"}])
    assert (status, answer["recorded"]) == (200, 30)
    assert [(e["index"], e["problems"][0]["code"]) for e in answer["errors"]] == [
        (30, "invalid"),
        (31, "unknown"),
    ]
    assert Consent.objects.filter(customer=anna).count() == 30


def test_list_is_filtered(api, anna, make_customer):
    make_customer("eve")
    for who, purpose, granted in (("anna", "mail", True), ("eve", "mail", False)):
        api.post("/api/consents/", {"customer_id": who, "purpose": purpose, "granted": granted})
    found = api.get("/api/consents/?purpose=Mail&granted=true")[1]["results"]
    assert [row["customer"] for row in found] == [anna.pk]
    assert len(api.get("/api/consents/?customer_id=eve")[1]["results"]) == 1
    assert api.get("/api/consents/?color=x")[0] == 400


def test_purpose_with_decisions_cannot_be_deleted(api, anna):
    api.post("/api/consent-purposes/", {"key": "Mail", "label": "Newsletter", "channel": "email"})
    assert api.get("/api/consent-purposes/mail/")[1]["label"] == "Newsletter"
    assert api.post("/api/consent-purposes/", {"key": "MAIL"})[0] == 400
    api.post("/api/consents/", {"customer_id": "anna", "purpose": "mail", "granted": True})
    status, answer = api.delete("/api/consent-purposes/mail/")
    assert (status, answer["errors"][0]["code"]) == (409, "has_decisions")


def test_purpose_that_a_segment_uses_cannot_be_deleted(api, make_segment):
    api.post("/api/consent-purposes/", {"key": "mail"})
    make_segment({"field": "@consent.mail", "op": "is", "value": True})
    assert api.delete("/api/consent-purposes/mail/")[1]["errors"][0]["code"] == "in_use"


def test_addresses_are_suppressed_found_and_let_go(api):
    new = {"kind": "email", "values": ["A@example.com", "nonsense"], "reason": "complaint"}
    assert api.post("/api/suppressions/", new)[1] == {"added": 1, "invalid": ["nonsense"]}
    (row,) = api.get("/api/suppressions/?value=a@EXAMPLE.com")[1]["results"]
    assert (row["value"], row["reason"]) == ("a@example.com", "complaint")
    gone = {"kind": "email", "values": ["a@example.com"]}
    assert api.delete("/api/suppressions/", gone)[1] == {"removed": 1}
    (kept,) = api.get("/api/suppressions/removals/?value=A@example.com")[1]["results"]
    assert (kept["value"], kept["removed_by"]) == ("a@example.com", row["source"])
    assert not Suppression.objects.exists()

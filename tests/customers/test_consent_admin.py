"""Consent in the admin: purposes, the suppression list, decisions on a profile."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile

from customers import consent, suppression
from customers.consent import Decision
from customers.models import Consent, ConsentChange, ConsentPurpose, Suppression
from tests.makers import NOON
from tests.people import queries_of

pytestmark = pytest.mark.django_db

PURPOSES = "/admin/customers/consentpurpose/"
LIST = PURPOSES + "suppressions/"


def decide(customer, purpose="mail", granted=True, **more):
    consent.record([Decision(customer.pk, purpose, granted, NOON, **more)], source="shop")


def text(answer):
    return " ".join(answer.content.decode().split())


def test_purpose_is_defined_and_its_key_is_brought_into_shape(staff):
    new = {"key": " Newsletter", "label": "Our letter", "channel": "email", "description": "Weekly"}
    staff.post(PURPOSES + "add/", new)
    assert ConsentPurpose.objects.get().key == "newsletter"
    assert LogEntry.objects.get().object_id == "newsletter"
    assert "already" in text(staff.post(PURPOSES + "add/", new))


def test_list_counts_decisions_and_names_what_uses_a_purpose(staff, make_customer, make_segment):
    for granted in (True, True, False):
        decide(make_customer(), granted=granted)
    make_segment({"field": "@consent.mail", "op": "is", "value": True}, "fans")
    page = text(staff.get(PURPOSES))
    assert "67" in page
    assert "/admin/segments/segment/" in page


def test_number_of_queries_does_not_depend_on_purposes(staff, make_customer):
    decide(make_customer())
    few = queries_of(staff, PURPOSES)
    for n in range(20):
        decide(make_customer(), f"p{n}")
    assert queries_of(staff, PURPOSES) == few


def test_purpose_with_decisions_stays(staff, make_customer):
    decide(make_customer())
    page = text(staff.post(PURPOSES + "mail/delete/", {"post": "yes"}, follow=True))
    assert "must be kept" in page
    assert ConsentPurpose.objects.exists()


def test_unused_purpose_is_deleted(staff):
    ConsentPurpose.objects.create(key="old")
    assert staff.get(PURPOSES + "old/delete/").status_code == 200
    staff.post(PURPOSES + "old/delete/", {"post": "yes"})
    assert not ConsentPurpose.objects.exists()


def test_profile_shows_decisions_with_their_history(staff, make_customer):
    anna = make_customer("anna", fields={"email": "anna@example.com"})
    decide(anna, granted=False)
    decide(anna, text_version="2026-01", via="checkout")
    suppression.add("email", ["anna@example.com"], "manual", "Eve")
    page = text(staff.get(f"/admin/customers/customer/{anna.pk}/"))
    assert "Refused" in page
    assert "wording 2026-01" in page
    assert "2 decisions" in page
    assert "E-mail suppressed" in page


def test_decision_is_noted_by_hand(staff, make_customer):
    anna = make_customer("anna")
    ConsentPurpose.objects.create(key="mail")
    address = f"/admin/customers/customer/{anna.pk}/consent/"
    staff.post(address, {"purpose": "mail", "granted": "yes", "via": "on the phone"})
    row = Consent.objects.get()
    assert (row.granted, row.source, row.via) == (True, "Anna", "on the phone")
    assert "Choose a purpose" in text(staff.post(address, {"purpose": "x"}, follow=True))
    assert ConsentChange.objects.count() == 1


def test_viewer_notes_no_decision_and_suppresses_nobody(member, make_customer):
    client, anna = member("Viewer"), make_customer()
    assert client.post(f"/admin/customers/customer/{anna.pk}/consent/").status_code == 403
    assert client.get(LIST).status_code == 200
    assert client.post(LIST + "add/").status_code == 403
    assert client.post(LIST + "remove/").status_code == 403


def test_addresses_are_added_by_hand_and_by_file(staff):
    file = SimpleUploadedFile(
        "bounces.csv", "name;e-mail\nZoë;ZOE@example.com\nNobody;none\n".encode("cp1252")
    )
    typed = "a@example.com\n\nnonsense"
    answer = staff.post(
        LIST + "add/", {"kind": "email", "values": typed, "file": file}, follow=True
    )
    assert "2 added, 3 left out" in text(answer) or "2 added, 2 left out" in text(answer)
    found = {*Suppression.objects.values_list("value", flat=True)}
    assert found == {"a@example.com", "zoe@example.com"}
    assert Suppression.objects.first().source == "file “bounces.csv”, Anna"


def test_file_of_phone_numbers_passes_over_its_heading(staff):
    file = SimpleUploadedFile("p.csv", b"phone\n+41 79 123 45 67\n+41791234567\n")
    page = text(staff.post(LIST + "add/", {"kind": "phone", "file": file}, follow=True))
    assert "1 added." in page
    assert Suppression.objects.get().value == "+41791234567"


def test_list_is_searched_paged_and_let_go(staff):
    suppression.add("email", [f"p{n}@example.com" for n in range(60)], "manual", "Eve")
    first = staff.get(LIST)
    assert text(first).count("@example.com</td>") == 50
    second = staff.get(LIST, {"after": first.context["after"]})
    assert text(second).count("@example.com</td>") == 10
    assert text(staff.get(LIST, {"q": "P7@example.com"})).count("@example.com</td>") == 1
    assert "is not on the list" in text(staff.get(LIST, {"q": "x\0"}))
    staff.post(LIST + "remove/", {"kind": "email", "value": "p7@example.com"})
    assert Suppression.objects.count() == 59


@pytest.mark.parametrize("after", ["x", "2026-01-01~~", "2026-01-01T00:00:00+00:00~email~a", "~"])
def test_hostile_position_is_no_error(staff, after):
    assert staff.get(LIST, {"after": after}).status_code == 200

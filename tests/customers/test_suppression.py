"""Addresses that nothing may be sent to."""

import pytest

from customers import erasure, suppression
from customers.models import Customer, Identifier, Suppression, SuppressionRemoval

pytestmark = pytest.mark.django_db


def test_address_is_known_however_it_is_written():
    assert suppression.add("email", ["Anna@Example.com ", "anna@example.com"], "manual", "Eve") == 1
    found = suppression.suppressed("email", ["ANNA@example.COM", "bea@example.com", "nonsense"])
    assert found == {"ANNA@example.COM"}


def test_phone_number_is_known_however_it_is_written():
    suppression.add("phone", ["+41 79 123 45 67"], "complaint", "Eve")
    assert suppression.suppressed("phone", ["0041791234567"]) == {"0041791234567"}
    assert suppression.suppressed("email", ["0041791234567"]) == set()


def test_first_reason_stays():
    suppression.add("email", ["anna@example.com"], "hard_bounce", "mail server")
    assert suppression.add("email", ["anna@example.com"], "manual", "Eve") == 0
    assert Suppression.objects.get().reason == "hard_bounce"


def test_removed_address_may_be_written_to():
    suppression.add("email", ["anna@example.com", "bea@example.com"], "manual", "Eve")
    assert suppression.remove("email", ["Anna@example.com"], "Bob") == 1
    both = ["anna@example.com", "bea@example.com"]
    assert suppression.suppressed("email", both) == {"bea@example.com"}
    kept = SuppressionRemoval.objects.get()
    assert (kept.value, kept.removed_by) == ("anna@example.com", "Bob")
    assert (kept.reason, kept.source) == ("manual", "Eve")


def test_many_addresses_take_few_statements(django_assert_max_num_queries):
    everyone = [f"p{n}@example.com" for n in range(500)]
    with django_assert_max_num_queries(4):
        suppression.add("email", everyone, "manual", "Eve")
        assert suppression.suppressed("email", everyone) == {*everyone}


def test_erased_person_stays_suppressed_and_unreadable():
    anna = Customer.objects.create(fields={"email": "anna@example.com", "mobile": "+41791234567"})
    Identifier.objects.create(kind="email", value="anna@work.example", customer=anna)
    addresses = ["anna@example.com", "anna@work.example"]
    suppression.add("email", addresses, "manual", "Eve")
    suppression.remove("email", addresses, "Bob")
    suppression.add("email", addresses, "unsubscribe", "import “anna.csv”")
    suppression.add("phone", ["+41791234567"], "manual", "Eve")
    erasure.forget([anna.pk])
    rows = str([*Suppression.objects.values_list(), *SuppressionRemoval.objects.values_list()])
    assert "anna" not in rows
    assert "41791234567" not in rows
    assert suppression.suppressed("email", addresses) == {*addresses}
    assert suppression.remove("email", addresses, "Bob") == 2

"""Figures and times as Switzerland writes them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from customers import contacts, formats

NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (5000, "5'000"),
        (-1234567, "−1'234'567"),
        (Decimal("1234.50"), "1'234.5"),
        (Decimal("1E+3"), "1'000"),
        (Decimal("NaN"), "NaN"),
        ("abc", "abc"),
    ],
)
def test_number_has_apostrophes_and_no_more_decimals_than_it_needs(value, text):
    assert formats.number(value) == text


def test_money_has_its_currency_and_two_decimals():
    assert formats.money(Decimal("88823.5")) == "CHF 88'823.50"
    assert formats.money(Decimal("-20"), "EUR") == "EUR −20.00"


def test_times_are_those_of_the_workspace():
    assert formats.moment(NOW) == "22.11.2026 14:05"
    assert formats.day(datetime(2026, 12, 31, 23, 30, tzinfo=UTC)) == "01.01.2027"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(seconds=2), "just now"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=20), "2 weeks ago"),
        (timedelta(days=100), "3 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(hours=-3), "in 3 hours"),
    ],
)
def test_distance_in_time_is_said_in_one_unit(delta, text):
    assert formats.ago(NOW - delta, NOW) == text


def test_initials_stand_for_first_and_last_name():
    assert formats.initials("Anna Maria Müller") == "AM"
    assert formats.initials("chloé") == "C"
    assert formats.initials("***") == "?"


def test_email_and_phone_are_found_whatever_the_crm_calls_them():
    assert contacts.email({"name": "A", "E-Mail": "a@b.ch"}) == "a@b.ch"
    assert contacts.phone({"mobilePhone": "+4170"}) == "+4170"
    assert contacts.email({"city": "Bern"}) == ""

"""When something happened: API.md, Time."""

from datetime import UTC, datetime, timedelta

import pytest

from events import timing

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def occurred(timestamp, sent_at=None, is_historical=False, **event):
    return timing.occurred(
        {"timestamp": timestamp} | event,
        sent_at=sent_at,
        received_at=NOW,
        is_historical=is_historical,
    )


def test_wrong_clock_does_not_matter():
    ten_to_nine = "2019-01-01T08:50:00Z"
    assert occurred(ten_to_nine, "2019-01-01T09:00:00Z") == NOW - timedelta(minutes=10)


def test_without_sent_at_the_time_stands():
    assert occurred("2026-03-01T11:00:00Z") == NOW - HOUR
    assert occurred("2026-03-01T11:00:00Z", "no time") == NOW - HOUR


def test_original_timestamp_stands_in():
    assert occurred(None, originalTimestamp="2026-03-01T11:00:00Z") == NOW - HOUR
    assert occurred("", originalTimestamp=None) == NOW


def test_time_far_ahead_becomes_that_of_receipt():
    assert occurred("2026-03-02T11:59:00Z") == NOW + timedelta(hours=23, minutes=59)
    assert occurred("2026-03-02T12:01:00Z") == NOW


def test_historical_times_are_taken_as_they_are():
    at = datetime(2030, 1, 1, tzinfo=UTC)
    assert occurred(at.isoformat(), "2019-01-01", is_historical=True) == at


READABLE = ["2024-05-01T12:00:00.000Z", "2024-05-01T12:00:00+00:00", "2024-05-01 14:00:00+02:00"]
READABLE += ["2024-05-01t12:00:00z", "2024-05-01T12:00:00.000000000Z", "20240501T120000Z"]
READABLE += ["2024-05-01T14:00:00", 1714564800, 1714564800000, 1714564800.0]


@pytest.mark.parametrize("raw", READABLE)
def test_times_are_read_in_the_forms_clients_send(raw):
    assert timing.parse(raw) == datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def test_date_alone_is_midnight_in_the_workspace():
    assert timing.parse("2024-05-01") == datetime(2024, 4, 30, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize("raw", ["soon", "2024-13-01", True, [], {}, 1e300, float("inf"), "1714"])
def test_what_is_no_time_is_refused(raw):
    with pytest.raises(timing.BadTimeError, match="2026-01-31T12:30"):
        timing.parse(raw)

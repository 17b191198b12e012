from datetime import UTC, datetime, timedelta

import pytest

from activation import retries
from activation.carriers import Answer
from activation.models import Destination

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def failed(status=500, **more):
    return Answer(status, 5, f"Answered {status}.", **more)


def worked():
    return Answer(200, 5)


def weigh(destination, *answers, at=NOW):
    for answer in answers:
        retries.weigh(destination, answer, at)
    return destination


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_success_is_delivered(status):
    assert retries.judge(Answer(status, 5), 0).is_delivered


@pytest.mark.parametrize("status", [None, 408, 425, 429, 500, 502, 503, 504, 599])
def test_passing_failures_are_retried_by_the_schedule_and_then_dead(status):
    waits = [retries.judge(failed(status), before).retry_in for before in range(9)]
    for wait, planned in zip(waits, retries.SCHEDULE, strict=True):
        assert 0.8 * planned <= wait <= 1.2 * planned
    assert retries.judge(failed(status), 9).is_dead


def test_schedule_is_the_documented_one():
    assert retries.SCHEDULE == (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000)


def test_waits_differ_so_that_retries_do_not_come_all_at_once():
    assert len({retries.judge(failed(), 3).retry_in for _ in range(20)}) > 10


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 409, 422, 101])
def test_message_that_is_not_wanted_is_tried_three_times(status):
    assert [retries.judge(failed(status), before).is_dead for before in range(3)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("status", [429, 503])
def test_receiver_says_when_to_come_back(status):
    for asked in (1, 90, 7_000):
        wait = retries.judge(failed(status, retry_after=asked), 0).retry_in
        assert asked <= wait <= 1.2 * asked


def test_receiver_cannot_put_us_off_for_years():
    assert retries.judge(failed(429, retry_after=1e9), 0).retry_in <= 1.2 * 36_000


def test_retry_after_zero_is_no_invitation_to_hammer():
    assert retries.judge(failed(429, retry_after=0), 0).retry_in >= 1


def test_breaker_opens_after_five_failures_in_a_row():
    destination = weigh(Destination(), *[failed()] * 4)
    assert destination.held_until is None
    weigh(destination, failed())
    assert destination.held_until == NOW + timedelta(seconds=30)


def test_success_in_between_starts_the_count_anew():
    destination = weigh(Destination(), *[failed()] * 4, worked(), *[failed()] * 4)
    assert (destination.failures_in_a_row, destination.held_until) == (4, None)


def test_breaker_holds_twice_as_long_each_time_up_to_ten_minutes():
    destination, at, holds = weigh(Destination(), *[failed()] * 4), NOW, []
    for _ in range(8):
        weigh(destination, failed(), at=at)
        holds.append((destination.held_until - at).total_seconds())
        at = destination.held_until
    assert holds == [30, 60, 120, 240, 480, 600, 600, 600]


def test_failure_of_what_was_on_its_way_does_not_hold_for_longer():
    destination = weigh(Destination(), *[failed()] * 5)
    weigh(destination, failed(), failed(), at=NOW + timedelta(seconds=1))
    assert destination.held_until == NOW + timedelta(seconds=30)


def test_success_closes_the_breaker():
    destination = weigh(Destination(), *[failed()] * 6, worked())
    assert destination.failures_in_a_row == 0
    assert destination.failing_since is destination.held_until is None


def test_receiver_that_is_overrun_is_left_in_peace_for_as_long_as_it_asks():
    destination = weigh(Destination(), failed(429, retry_after=90.0), worked())
    assert destination.held_until == NOW + timedelta(seconds=90)


def test_destination_that_is_gone_is_disabled():
    destination = weigh(Destination(), failed(410))
    assert not destination.is_enabled
    assert "410" in destination.disabled_because


def test_destination_is_disabled_after_five_days_of_failing():
    destination = weigh(Destination(), *[failed()] * 5)
    weigh(destination, failed(), at=NOW + timedelta(days=4, hours=23))
    assert destination.is_enabled
    weigh(destination, failed(502), at=NOW + timedelta(days=5))
    assert not destination.is_enabled
    assert destination.disabled_because == "It has failed for 5 days: Answered 502."


def test_two_failures_with_a_quiet_week_in_between_do_not_disable():
    destination = weigh(Destination(), failed())
    weigh(destination, failed(), at=NOW + timedelta(days=7))
    assert destination.is_enabled

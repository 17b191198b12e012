"""Limits of sources: 429 with whole seconds, shared by all workers."""

import time

import pytest

from events import throttle
from events.models import Inbox

TRACK = {"userId": "u1", "event": "Clicked"}


MANY = 100


@pytest.fixture
def limited(make_source):
    return make_source("limited", rate_limit=2)


@pytest.fixture
def until_refused(send):
    """Send until it is refused, however slow the machine; return the refusal."""

    def run(**options):
        answers = (send("/v1/track", TRACK, **options) for _ in range(MANY))
        return next(answer for answer in answers if answer.status_code != 200)

    return run


def test_sender_beyond_its_limit_is_told_in_whole_seconds_when_to_come_again(
    send, until_refused, limited
):
    answer = until_refused(key=limited.write_key)
    assert (answer.status_code, answer["Retry-After"]) == (429, "1")
    assert answer.json()["code"] == "rate_limited"
    assert 2 <= Inbox.objects.count() < MANY
    time.sleep(1)
    assert send("/v1/track", TRACK, key=limited.write_key).status_code == 200


def test_batch_of_any_size_passes_and_what_follows_waits_for_it(send, limited):
    assert send("/v1/batch", {"batch": [TRACK] * 20}, key=limited.write_key).status_code == 200
    answer = send("/v1/track", TRACK, key=limited.write_key)
    assert answer.status_code == 429
    assert 5 <= int(answer["Retry-After"]) <= 10


def test_another_worker_knows_what_this_one_has_let_through(send, limited):
    send("/v1/batch", {"batch": [TRACK] * 20}, key=limited.write_key)
    throttle.forget()  # all that a worker keeps to itself
    assert send("/v1/track", TRACK, key=limited.write_key).status_code == 429


def test_high_limit_is_asked_for_in_portions(
    send, make_source, limits_stay, django_assert_num_queries
):
    source = make_source("busy", rate_limit=1_000)
    send("/v1/track", TRACK, key=source.write_key)
    with django_assert_num_queries(2):  # the inbox, and the pipeline is woken
        send("/v1/track", TRACK, key=source.write_key)


def test_source_without_a_limit_costs_no_statement(send, limits_stay, django_assert_num_queries):
    send("/v1/track", TRACK)
    with django_assert_num_queries(2):
        send("/v1/track", TRACK)


def test_limit_is_set_over_the_api_and_holds_at_once(api, send, until_refused):
    send("/v1/track", TRACK)
    status, shown = api.patch("/api/sources/shop/", {"rate_limit": 1})
    assert (status, shown["rate_limit"]) == (200, 1)
    assert until_refused().status_code == 429
    assert api.patch("/api/sources/shop/", {"rate_limit": 0})[0] == 400

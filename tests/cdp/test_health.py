from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from cdp import health
from cdp.models import Heartbeat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def beats():
    """Both parts have just beaten."""
    for name in ("pipeline", "queue", "sending"):
        health.forget(name)
        health.beat(name)


def age(name, seconds):
    Heartbeat.objects.filter(name=name).update(at=datetime.now(UTC) - timedelta(seconds=seconds))


def test_alive_without_asking_the_database(client, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert client.get("/healthz").status_code == 200


def test_ready_when_every_part_has_just_beaten(client, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "parts": dict.fromkeys(("web", "database", "pipeline", "queue", "sending"), "ok"),
    }


@pytest.mark.parametrize("name", ["pipeline", "queue", "sending"])
def test_part_that_fell_silent_is_named(client, name):
    age(name, 45)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"][name] == "silent for 45 s"


def test_part_that_starts_anew_is_not_ready_before_its_first_beat(client):
    health.forget("queue")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["queue"] == "has not started"


def test_no_database_is_said_and_not_an_error(client):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE cdp_heartbeat RENAME TO elsewhere")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {
        "web": "ok",
        "database": "does not answer",
        "pipeline": "unknown",
        "queue": "unknown",
        "sending": "unknown",
    }


def test_many_beats_within_a_second_write_once(django_assert_num_queries):
    with django_assert_num_queries(0):
        health.beat("queue")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_answers_are_not_kept_by_anybody_on_the_way(client, path):
    assert "no-store" in client.get(path)["Cache-Control"]
    assert client.post(path).status_code == 405

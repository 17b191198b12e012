import errno

import pytest
from django.db import IntegrityError, OperationalError, connection

pytestmark = pytest.mark.django_db


def failing(error):
    def wrapper(execute, sql, params, many, context):
        raise error

    return wrapper


def test_database_that_is_away_is_a_503_that_says_when_to_come_back(api):
    with connection.execute_wrapper(failing(OperationalError("gone"))):
        answer = api.client.get("/api/customers/", headers=api.headers)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert answer.json()["errors"][0]["code"] == "unavailable"
    assert "gone" not in answer.content.decode()


def test_full_disk_is_a_503_that_says_so_in_a_line_of_the_log(api, caplog):
    with connection.execute_wrapper(failing(OSError(errno.ENOSPC, "No space left on device"))):
        answer = api.client.get("/api/customers/", headers=api.headers)
    assert answer.status_code == 503
    assert "disk of the server is full" in answer.json()["errors"][0]["detail"]
    assert [record.exc_info for record in caplog.records] == [None]


def test_losing_a_race_is_a_409(api):
    with connection.execute_wrapper(failing(IntegrityError("duplicate key"))):
        answer = api.client.get("/api/customers/", headers=api.headers)
    assert answer.status_code == 409
    assert "duplicate" not in answer.content.decode()


def test_bug_is_a_500_without_a_word_of_what_it_was(api):
    with connection.execute_wrapper(failing(KeyError("secret"))):
        answer = api.client.get("/api/customers/", headers=api.headers)
    assert answer.status_code == 500
    assert answer.json()["type"] == "server_error"
    assert "secret" not in answer.content.decode()

import psycopg
import pytest
from django.db import connection, connections

from cdp import web

BODY = b'{"event": "Visited", "anonymousId": "a"}'


@pytest.fixture
def limited(transactional_db):
    """This thread's connection as a web worker has it, with a short wait for locks."""
    given = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = {**given}
    web.limit_statements(connection.settings_dict)
    yield
    connection.close()
    connection.settings_dict["OPTIONS"] = given


def shown(setting):
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {setting}")
        return cursor.fetchone()[0]


def test_statements_of_the_web_end_by_themselves(limited):
    assert (shown("statement_timeout"), shown("lock_timeout")) == ("10s", "3s")


def test_options_of_the_database_url_are_kept():
    database = {"OPTIONS": {"options": "-c search_path=cdp"}}
    web.limit_statements(database)
    assert database["OPTIONS"]["options"].startswith("-c search_path=cdp -c statement_timeout=")


def test_an_event_is_answered_503_while_the_database_is_stuck(limited, make_source, client):
    key = make_source().write_key
    stuck = psycopg.connect(**connections["default"].get_connection_params() | {"options": ""})
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    with stuck:
        stuck.execute("LOCK TABLE events_inbox IN ACCESS EXCLUSIVE MODE")
        headers = {"X-Write-Key": key}
        answer = client.post("/v1/track", BODY, content_type="application/json", headers=headers)
        assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    answer = client.post("/v1/track", BODY, content_type="application/json", headers=headers)
    assert answer.status_code == 200

"""The collection endpoints: API.md, the status table, keys, bodies, CORS."""

import base64
import gzip
import json
import zlib

import pytest
from django.db import connection
from django.urls import get_resolver

from events import urls
from events.models import Inbox
from tests.events.reading import reasons

TRACK = {"userId": "u1", "event": "Clicked"}
CALLS = ["track", "identify", "page", "screen", "group", "alias", "batch", "import"]
CALLS += ["consent"]
PATHS = [f"/v1/{call}" for call in [*CALLS, *"tipsgab"]]
PATHS += [f"/api/s/{call}" for call in CALLS] + ["/api/s/s2s/track", "/beacon/v1/batch"]


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", PATHS)
def test_every_route_stores_and_never_redirects(send, path, slash):
    answer = send(path + slash, TRACK)
    assert (answer.status_code, answer.content) == (200, b'{"success": true}')
    assert Inbox.objects.get().call in CALLS


def test_short_routes_mean_what_the_long_ones_do(send):
    for letter in "tipsgab":
        send(f"/v1/{letter}", TRACK)
    calls = ["track", "identify", "page", "screen", "group", "alias", "batch"]
    assert [row.call for row in Inbox.objects.order_by("id")] == calls


def test_metrics_are_dropped(send):
    assert send("/v1/m", {"series": []}, key=None).status_code == 200
    assert not Inbox.objects.exists()


@pytest.mark.parametrize(
    ("query", "headers", "body"),
    [
        ("", {"Authorization": basic("wk_shop")}, {}),
        ("", {"Authorization": basic("wk_shop").replace("Basic", "basic")}, {}),
        ("", {"Authorization": basic("wk_shop"), "X-Write-Key": "other"}, {"writeKey": "***"}),
        ("", {"X-Write-Key": "wk_shop"}, {"writeKey": "wk_***"}),
        ("?writeKey=wk_shop", {}, {}),
        ("", {"X-Write-Key": "wk_shop:secret"}, {}),
        ("", {"Authorization": "Bearer abc"}, {"writeKey": "wk_shop"}),
        ("", {"Authorization": "Basic %%%"}, {"writeKey": "wk_shop"}),
    ],
)
def test_key_is_found_wherever_an_sdk_puts_it(send, query, headers, body):
    answer = send(f"/v1/track{query}", TRACK | body, key=None, **headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("key", ["nope", "", "wk_shop\x00", "k" * 1000, "schlüssel", None])
def test_unknown_key_is_401(send, key):
    answer = send("/v1/track", TRACK | {"writeKey": key}, key=None)
    assert answer.status_code == 401
    assert answer.json() == {
        "code": "invalid_write_key",
        "message": "No source has this write key.",
    }


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_content_type_is_ignored(client, source, content_type):
    answer = client.post("/v1/track?writeKey=wk_shop", json.dumps(TRACK), content_type=content_type)
    assert answer.status_code == 200


RAW = json.dumps(TRACK).encode()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(RAW, mtime=0), "gzip"),
        (gzip.compress(RAW, mtime=0), None),
        (gzip.compress(RAW[:9], mtime=0) + gzip.compress(RAW[9:], mtime=0), "gzip"),
        (zlib.compress(RAW), "deflate"),
        (zlib.compress(RAW, wbits=-15), "deflate"),
        (b"\xef\xbb\xbf" + RAW, None),
        (json.dumps(TRACK).encode("utf-16"), None),
    ],
)
def test_body_is_unpacked_and_kept_as_it_was(send, take_in, body, encoding):
    headers = {"Content-Encoding": encoding} if encoding else {}
    assert send("/v1/track", body, **headers).status_code == 200
    take_in()
    assert reasons() == []


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"", None),
        (b"{", None),
        (b"{'a': 1}", None),
        (RAW + b"}", None),
        (b"[]", None),
        (b"5", None),
        (b'"text"', None),
        (b"null", None),
        (RAW, "gzip"),
        (gzip.compress(RAW, mtime=0)[:-9], None),
        (b"\x1f\x8b nonsense", None),
        (RAW, "br"),
    ],
)
def test_malformed_body_is_400(send, body, encoding):
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = send("/v1/track", body, **headers)
    assert answer.status_code == 400
    assert answer.json().keys() == {"code", "message"}
    assert not Inbox.objects.exists()


def test_request_over_the_cap_is_413(send, settings):
    settings.MAX_REQUEST_BYTES = 1_000
    large = json.dumps(TRACK | {"properties": {"x": "y" * 1_000}}).encode()
    assert send("/v1/track", large).status_code == 413
    assert send("/v1/track", gzip.compress(large)).json()["code"] == "too_large"
    assert send("/v1/track", gzip.compress(RAW)).status_code == 200


def test_bomb_is_left_alone_after_the_cap(send):
    bomb = gzip.compress(b" " * 20_000_000, 1)
    assert send("/v1/track", bomb).status_code == 413


def test_disabled_source_gets_200_and_its_events_wait(send, take_in, source):
    source.is_enabled = False
    source.save()
    assert send("/v1/track", TRACK).status_code == 200
    take_in()
    assert reasons() == ["source_disabled"]


@pytest.fixture
def database_is_down(source):
    given = connection.settings_dict
    connection.close()
    connection.settings_dict = given | {"HOST": "/nowhere"}
    yield
    connection.settings_dict = given
    connection.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "/v1/track"), ("get", "/v1/projects/wk_shop/settings"), ("get", "/sourceConfig/")],
)
def test_database_that_is_down_means_try_again(client, database_is_down, method, path):
    """Also while the key is looked up: a 4xx would make clients drop what they hold."""
    headers = {"X-Write-Key": "wk_shop"}
    answer = client.generic(method.upper(), path, RAW, "text/plain", headers=headers)
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert answer.json().keys() == {"code", "message"}
    assert answer["Access-Control-Expose-Headers"] == "Retry-After"


def test_other_methods_are_refused_in_the_same_shape(client):
    answer = client.get("/v1/track")
    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"
    assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/trakc", "/v1/", "/beacon/v2/batch", "/api/s/nothing"])
def test_wrong_address_is_told_in_the_same_shape(client, path):
    answer = client.post(path, RAW, "text/plain", headers={"Origin": "https://shop.example"})
    assert answer.status_code == 404
    assert answer.json().keys() == {"code", "message"}
    assert answer["Access-Control-Allow-Origin"] == "https://shop.example"


@pytest.mark.parametrize("path", [*PATHS, "/v1/m", "/v1/projects/x/settings", "/sourceConfig/"])
def test_preflight_allows_whatever_a_retry_sends(client, path):
    answer = client.options(
        path,
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Headers": "authorization,x-retry-count,rsa-event",
        },
    )
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer["Access-Control-Allow-Headers"] == "authorization,x-retry-count,rsa-event"
    assert answer["Access-Control-Max-Age"] == "86400"


def test_answers_can_be_read_by_any_page(send):
    answer = send("/v1/track", b"{", Origin="https://shop.example")
    assert answer["Access-Control-Allow-Origin"] == "https://shop.example"
    assert answer["Access-Control-Expose-Headers"] == "Retry-After"


def test_browser_configuration_names_one_integration(client, source):
    for slash in ("", "/"):
        answer = client.get(f"/v1/projects/wk_shop/settings{slash}", headers={"Host": "cdp.test"})
        assert answer.json() == {
            "integrations": {
                "Segment.io": {
                    "apiKey": "wk_shop",
                    "apiHost": "cdp.test/v1",
                    "protocol": "http",
                }
            },
            "metrics": {"sampleRate": 0},
        }


def test_rudderstack_configuration(client, source):
    for path in ("/sourceConfig", "/sourceConfig/"):
        answer = client.get(f"{path}?p=web", headers={"Authorization": basic("wk_shop")})
        assert answer.json()["source"]["enabled"] is True
        assert answer.json()["source"]["destinations"] == []


def test_configuration_of_an_unknown_key_is_401(client, db):
    assert client.get("/v1/projects/nope/settings").status_code == 401
    assert client.get("/v1/projects/%00/settings").status_code == 401
    assert client.get("/sourceConfig/").status_code == 401


def test_collection_needs_no_session_and_is_wired_before_the_api():
    assert get_resolver().resolve("/api/s/track").route in {
        str(p.pattern) for p in urls.urlpatterns
    }


def test_request_costs_one_statement_and_a_notification(
    send, limits_stay, django_assert_num_queries
):
    send("/v1/track", TRACK)  # the limit is read once a second
    with django_assert_num_queries(2):
        send("/v1/batch", {"batch": [TRACK] * 50})

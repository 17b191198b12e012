from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from cdp import wire

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"customer_id": NaN}',
        b'{"customer_id": "a", "fields": {"age": Infinity}}',
        b'{"customer_id": "a\\u0000"}',
        b'{"customer_id": "a", "fields": {"\\u0000": 1}}',
        b'{"customer_id": "\\ud800"}',
        b'{"customer_id": "\xff"}',
        b'{"customer_id": "a", "fields": {"age": 1e999999999}}',
        b'{"customer_id": "a", "fields": {"age": ' + b"9" * 5_000 + b"}}",
        b"[" * 100_000,
        b'{"a":' * 101 + b"1" + b"}" * 101,
    ],
)
def test_body_that_cannot_be_stored_is_a_400(api, body):
    status, answer = api.send("post", "/api/customers/", data=body, content_type="application/json")
    assert status == 400
    assert answer["errors"][0]["code"] == "parse_error"


@pytest.mark.parametrize(
    ("accept", "path", "status"),
    [
        ("", "segments/", 200),
        ("text/html, */*;q=0.8", "segments/", 200),
        ("application/*", "segments/", 200),
        ("application/json; charset=utf-8", "segments/", 200),
        ("text/csv, application/xml", "segments/", 406),
        ("nonsense", "segments/", 406),
        ("text/csv", "imports/example.csv/", 200),
        ("text/html", "imports/example.csv/", 406),
        ("text/csv", "imports/1/errors.csv", 404),
        ("text/csv", "exports/1/file/", 404),
    ],
)
def test_who_accepts_nothing_that_there_is_hears_406(api, accept, path, status):
    api.headers["Accept"] = accept
    answered, answer = api.get(f"/api/{path}")
    assert answered == status
    if status == 406:
        assert answer["errors"][0]["code"] == "not_acceptable"
        assert "application/json" in answer["errors"][0]["detail"]


def test_body_that_is_too_large_is_a_413(api, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    status, answer = api.post("/api/customers/", {"customer_id": "a" * 100})
    assert (status, answer["errors"][0]["code"]) == (413, "too_large")


def test_other_media_types_are_a_415(api):
    assert api.send("post", "/api/customers/", data="a=1", content_type="text/plain")[0] == 415


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), b"1.10"),
        (Decimal("1E+3"), b"1000"),
        (2**70, b"1180591620717411303424"),
        (
            {"a": [2**70, Decimal("0.1"), None, True]},
            b'{"a":[1180591620717411303424,0.1,null,true]}',
        ),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), b'"2026-01-02T03:00:00Z"'),
        (
            [2**70, datetime(2026, 1, 2, 3, tzinfo=UTC)],
            b'[1180591620717411303424,"2026-01-02T03:00:00Z"]',
        ),
        (UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        ([2**70, UUID(int=1)], b'[1180591620717411303424,"00000000-0000-0000-0000-000000000001"]'),
    ],
)
def test_numbers_are_written_with_all_their_digits(value, text):
    assert wire.ExactJSONRenderer().render(value) == text

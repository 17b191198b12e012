"""Real clients, and odd ones, against the whole product."""

import http.client
import json
import socket

import psycopg
import pytest
from segment.analytics.client import Client

from cdp import embedded
from tests.live.product import wait_for

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def write_key(live_product):
    return live_product.manage("create_source", "Clients")


@pytest.fixture(scope="module")
def select(live_product):
    with psycopg.connect(embedded.url(live_product.data_dir), autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement, values).fetchall()


@pytest.fixture
def events_named(select):
    def find(prefix):
        return select(
            """
            SELECT name, external_id FROM events_event
            JOIN events_eventname ON events_eventname.id = name_id
            JOIN customers_customer ON customers_customer.id = customer_id
            WHERE starts_with(name, %s) ORDER BY events_event.id
            """,
            prefix,
        )

    return find


@pytest.mark.parametrize("is_packed", [False, True])
def test_segment_analytics_python(live_product, write_key, events_named, is_packed):
    prefix = f"Python {is_packed} "
    problems = []
    client = Client(
        write_key,
        host=live_product.url,
        gzip=is_packed,
        on_error=lambda error, batch: problems.append(error),
        max_retries=1,
    )
    for n in range(250):
        client.track(f"u{n % 10}", f"{prefix}{n}", {"revenue": 0.1})
    client.identify("u1", {"email": "ann@example.com"}, anonymous_id="a1")
    client.flush()
    client.join()
    assert problems == []
    wait_for(lambda: len(events_named(prefix)) >= 250, "250 events")
    assert [name for name, _ in events_named(prefix)] == [f"{prefix}{n}" for n in range(250)]
    assert {who for _, who in events_named(prefix)} == {f"u{n}" for n in range(10)}


def exchange(live_product, request):
    """Send raw bytes; return status and body."""
    with socket.create_connection(("127.0.0.1", live_product.port), timeout=10) as plug:
        plug.sendall(request)
        answer = http.client.HTTPResponse(plug)
        answer.begin()
        return answer.status, json.loads(answer.read())


def test_clients_that_drip_hold_up_nobody(live_product, write_key):
    """Of as many as there are threads, and more, each sends a byte now and then."""
    dripping = [
        socket.create_connection(("127.0.0.1", live_product.port), timeout=60) for _ in range(40)
    ]
    for plug in dripping:
        plug.sendall(head(write_key, Content_Length=100_000) + b"{")
    body = b'{"userId": "u1", "event": "Beside Those Who Drip"}'
    for n in range(20):
        for plug in dripping:
            plug.sendall(b" ")
        request = head(write_key, Content_Length=len(body), Connection="close") + body
        assert exchange(live_product, request) == (200, {"success": True}), n
    for plug in dripping:
        plug.close()


def head(write_key, **headers):
    lines = ["POST /v1/track HTTP/1.1", "Host: cdp.test", f"X-Write-Key: {write_key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def test_body_in_chunks_without_a_length_is_read(live_product, write_key, events_named):
    event = {"type": "track", "userId": "u1", "properties": {"x": "y" * 20_000}}
    batch = [event | {"event": f"Chunked {n}"} for n in range(60)]
    body = json.dumps({"batch": batch}).encode()
    parts = [body[start : start + 9_999] for start in range(0, len(body), 9_999)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    request = head(write_key, Transfer_Encoding="chunked") + chunks + b"0\r\n\r\n"
    assert exchange(live_product, request) == (200, {"success": True})
    wait_for(lambda: len(events_named("Chunked")) == 60, "the events")


def test_request_over_the_cap_gets_its_answer(live_product, write_key):
    body = b'{"x":"' + b"y" * 6_000_000 + b'"}'
    request = head(write_key, Content_Length=len(body)) + body
    status, answer = exchange(live_product, request)
    assert (status, answer["code"]) == (413, "too_large")

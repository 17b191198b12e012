"""What real clients sent, replayed byte for byte over a socket."""

import base64
import http.client
import json
import socket
from decimal import Decimal
from pathlib import Path

import pytest

from customers.models import Customer, Merge
from events.models import Event, Quarantine
from tests.events.reading import events_of, people

WIRE = Path(__file__).parent.parent / "wire"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def replay(live_server, make_source, make_field, take_in):
    """Send what a client had sent to our server; return the answers."""
    for name in ("email", "firstName", "group.name"):
        make_field(name)

    def run(client, key):
        make_source(key.lower(), write_key=key)
        answers = []
        for line in (WIRE / f"{client}.jsonl").read_text().splitlines():
            answers.append(exchange(live_server, json.loads(line)))
            take_in()
        return answers

    return run


def exchange(live_server, recorded):
    lines = [f"{recorded['method']} {recorded['path']} {recorded['http']}"]
    lines += [f"{name}: {value}" for name, value in recorded["headers"]]
    body = base64.b64decode(recorded.get("body_b64") or "")
    with socket.create_connection((live_server.thread.host, live_server.thread.port)) as plug:
        plug.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        answer = http.client.HTTPResponse(plug, method=recorded["method"])
        answer.begin()
        return recorded["method"], answer.status, answer.headers, answer.read()


def assert_all_taken(answers):
    for method, status, _, body in answers:
        if method == "POST":
            assert (status, json.loads(body)) == (200, {"success": True})
    assert not Quarantine.objects.exists()


@pytest.mark.parametrize(
    ("client", "key", "order_total"),
    [
        ("segment-analytics-python", "WRITEKEY_py", "25.0"),
        ("rudder-sdk-node", "WRITEKEY_node", "25"),
    ],
)
def test_server_side_clients(replay, client, key, order_total):
    assert_all_taken(replay(client, key))
    ann = Customer.objects.get(external_id="user-1")
    assert ann.fields == {"email": "Ann@Example.com", "firstName": "Ann", "group.name": "Acme"}
    assert people()[:2] == [
        {"anonymous_id": ["anon-1"], "customer_id": ["user-1"], "email": ["ann@example.com"]},
        {"anonymous_id": ["anon-2"]},
    ]
    assert events_of(customer_id="user-1") == ["Order Completed", "Page Viewed", "Screen Viewed"]
    assert events_of(anonymous_id="anon-2") == ["Anonymous Thing"]
    order = Event.objects.get(name__name="Order Completed")
    assert (order.amount, order.currency) == (Decimal(order_total), "EUR")
    assert order.properties["products"][0]["sku"] == "S1"


def test_numeric_user_id_is_text(replay):
    replay("segment-analytics-python", "WRITEKEY_py")
    assert events_of(customer_id="42") == ["Number id"]


def test_browser_client(replay):
    answers = replay("segment-analytics-next", "WRITEKEY_web")
    assert_all_taken(answers)
    (ann,) = Customer.objects.all()
    assert ann.external_id == "user-1"
    assert not Merge.objects.exists()
    assert ann.fields == {"email": "Ann@Example.com", "firstName": "Ann", "group.name": "Acme"}
    assert events_of(customer_id="user-1") == [
        "Page Viewed",
        "Product Viewed",
        "Order Completed",
        "Screen Viewed",
    ]
    page = Event.objects.get(name__name="Page Viewed")
    assert page.properties["name"] == "Home"
    assert page.properties["path"] == "/pages/segment-npm.html"
    assert page.came_by.startswith("anonymous_id:7371d5b1")
    assert page.context["campaign"] == {"source": "news", "name": "c1"}


def test_browser_may_read_its_settings_and_every_answer(replay):
    answers = replay("segment-analytics-next", "WRITEKEY_web")
    assert all(
        headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:8766"
        for _, _, headers, _ in answers
    )
    preflights = [headers for method, _, headers, _ in answers if method == "OPTIONS"]
    assert {h["Access-Control-Allow-Headers"] for h in preflights} == {"authorization"}
    settings = json.loads(answers[0][3])
    assert settings["integrations"] == {
        "Segment.io": {
            "apiKey": "WRITEKEY_web",
            "apiHost": "127.0.0.1:8765/v1",
            "protocol": "http",
        }
    }


def test_everything_sent_again_changes_nothing(replay):
    replay("segment-analytics-python", "WRITEKEY_py")
    before = [*Event.objects.order_by("id").values_list("id", flat=True)], people()
    assert_all_taken(replay("segment-analytics-python", "WRITEKEY_py"))
    assert before == ([*Event.objects.order_by("id").values_list("id", flat=True)], people())

import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from activation import destinations
from activation.models import Destination
from cdp.demo import email_tool, sending
from cdp.demo.models import Load, Message
from customers.models import Customer, Identifier
from segments.models import Membership

VISITOR = "0d6f1f2e-8f5a-4c6e-9a63-0a4f8d1f9f10"


@pytest.fixture
def demo(make_source):
    """As much of the demo as its pages need."""
    Load.objects.create(customers_before=0)
    return make_source("demo-online", name="Online shop")


@pytest.fixture
def tool(demo):
    destination = Destination(
        key=sending.EMAIL_TOOL, name="E-mail tool", config={"url": sending.email_tool_url()}
    )
    return Webhook(destinations.save(destination))


@pytest.fixture
def visitor(make_customer):
    def make(customer_id=None, anonymous_id=VISITOR):
        customer = make_customer(customer_id)
        Identifier.objects.create(kind="anonymous_id", value=anonymous_id, customer=customer)
        return customer

    return make


def see(client, anonymous_id=VISITOR):
    return client.get("/demo/shop/me/", {"anonymous_id": anonymous_id})


def message(**customer):
    fields = {"firstName": "Anna", "lastName": "Keller", "email": "anna@example.com"}
    data = {
        "trigger": "forward-big-spenders",
        "segment": {"key": "big-spenders", "name": "Big spenders (90 days)"},
        "customer": {"id": 7, "customer_id": "WEB-1", "fields": fields} | customer,
        "membership": {"entered_at": datetime.now(UTC).isoformat(), "entry_no": 1},
    }
    return json.dumps({"type": "segment.entered", "data": data})


def deliver(client, tool, body, message_id="m1", *, at=None, signature=None):
    at = at or datetime.now(UTC)
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature or tool.sign(message_id, at, body),
    }
    return client.post("/demo/email-tool/", body, "application/json", headers=headers)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/demo/shop/", "/demo/shop/BOX-01/", "/demo/email-tool/"])
def test_pages_are_closed_without_the_demo(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert b"manage.py demo" in response.content


@pytest.mark.django_db
def test_nothing_is_told_without_the_demo(client, visitor):
    visitor()
    assert see(client).status_code == 404
    assert client.get("/demo/email-tool/messages/").status_code == 404
    assert client.post("/demo/email-tool/", "{}", "application/json").status_code == 404


def test_shop_carries_the_tag_with_the_key_of_its_source(client, demo):
    html = client.get("/demo/shop/").content.decode()
    assert f'src="/cdp.js" data-write-key="{demo.write_key}"' in html


def test_shop_opens_at_a_record(client, demo):
    assert client.get("/demo/shop/BOX-01/").status_code == 200
    assert client.get("/demo/shop/NO-SUCH/").status_code == 404


@pytest.mark.parametrize("path", ["/demo/shop/", "/demo/email-tool/"])
def test_pages_keep_to_the_strict_policy(client, demo, path):
    response = client.get(path)
    assert "unsafe" not in response["Content-Security-Policy"]
    assert b"style=" not in response.content
    assert b"onclick" not in response.content


def test_visitor_sees_what_is_known_of_them(client, demo, visitor, make_event, make_segment):
    customer = visitor("WEB-1")
    segment = make_segment({"field": "@identified", "op": "is", "value": True}, "known")
    make_event("Product Viewed", customer, source=demo)
    make_event("Order Completed", customer, amount="219.00", source=demo)
    seen = see(client).json()
    assert seen["customer_id"] == "WEB-1"
    assert seen["did"] == ["Order Completed", "Product Viewed"]
    assert seen["events_count"] == 2
    assert seen["events"][0]["amount"] == "CHF 219.00"
    assert Membership.objects.filter(segment=segment).count() == 1
    assert [each["key"] for each in seen["segments"]] == ["known"]


@pytest.mark.parametrize(
    "anonymous_id", ["", "x", "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "' OR 1=1 --"]
)
def test_nothing_is_known_of_strangers(client, demo, visitor, anonymous_id):
    visitor()
    assert see(client, anonymous_id).json() == {"is_known": False, "is_loading": True}


def test_who_claims_to_be_a_customer_that_is_not_the_demos_learns_nothing(client, demo, visitor):
    visitor("4711")
    assert see(client).json() == {"is_known": False, "is_loading": True}


def test_visitor_is_told_while_the_demo_is_being_loaded(client, demo, visitor):
    visitor("WEB-1")
    assert see(client).json()["is_loading"]
    Load.objects.update(ready_at=datetime.now(UTC))
    assert not see(client).json()["is_loading"]


def test_visitor_sees_nothing_that_came_from_other_sources(
    client, demo, visitor, make_event, make_source
):
    make_event("Loan Refused", visitor("WEB-1"), source=make_source("bank"))
    seen = see(client).json()
    assert (seen["events"], seen["events_count"], seen["did"]) == ([], 0, [])


def test_message_with_the_right_signature_is_shown(client, tool):
    assert deliver(client, tool, message()).status_code == 200
    html = client.get("/demo/email-tool/messages/").content.decode()
    assert "Signature verified" in html
    assert "Big spenders (90 days)" in html


def test_message_that_comes_twice_is_kept_once(client, tool):
    deliver(client, tool, message())
    deliver(client, tool, message())
    [kept] = Message.objects.all()
    assert kept.copies == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"signature": "v1,AAAA"},
        {"signature": "v1,é"},
        {"signature": "nonsense"},
        {"at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"message_id": ""},
    ],
)
def test_message_with_a_wrong_signature_is_refused(client, tool, wrong):
    assert deliver(client, tool, message(), **wrong).status_code == 401
    assert not Message.objects.exists()


def test_message_that_was_changed_on_the_way_is_refused(client, tool):
    signature = tool.sign("m1", datetime.now(UTC), message())
    response = deliver(client, tool, message(id=8), signature=signature)
    assert response.status_code == 401


def test_strangers_see_no_address_and_no_family_name(client, tool):
    deliver(client, tool, message())
    html = client.get("/demo/email-tool/").content.decode()
    assert "Anna K." in html
    assert "Keller" not in html
    assert "anna@example.com" not in html


def test_staff_see_the_whole_address(admin_client, tool):
    deliver(admin_client, tool, message())
    html = admin_client.get("/demo/email-tool/").content.decode()
    assert "Anna Keller" in html
    assert "anna@example.com" in html


def test_hostile_names_are_only_text(client, tool):
    deliver(client, tool, message(fields={"firstName": "<script>alert(1)</script>"}))
    html = client.get("/demo/email-tool/").content.decode()
    assert "<script>alert" not in html


def test_tool_keeps_only_the_latest_messages(client, tool, monkeypatch):
    monkeypatch.setattr(email_tool, "_KEPT", 2)
    for number in range(4):
        deliver(client, tool, message(), f"m{number}")
    assert sorted(Message.objects.values_list("pk", flat=True)) == ["m2", "m3"]


def test_email_tool_follows_the_product_to_another_port(tool, settings):
    settings.PORT = 9123
    sending.follow_port()
    config = Destination.objects.get(key=sending.EMAIL_TOOL).config
    assert config == {"url": "http://127.0.0.1:9123/demo/email-tool/"}


def test_looking_costs_few_queries(client, demo, visitor, django_assert_max_num_queries):
    visitor("WEB-1")
    with django_assert_max_num_queries(10):
        see(client)
    assert Customer.objects.count() == 1

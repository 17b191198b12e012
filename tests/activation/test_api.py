import pytest

from activation.models import Delivery, Destination, Trigger
from cdp import apikeys
from tests.activation import receivers
from tests.activation.conftest import run_tasks
from tests.makers import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def new_destination(api, receiver):
    body = {"key": "crm", "name": "CRM", "kind": "webhook", "config": {"url": receiver.url}}
    status, destination = api.post("/api/destinations/", body)
    assert status == 201
    return destination


@pytest.fixture
def new_trigger(api, new_destination, by_hand):
    body = {
        "key": "thanks",
        "name": "Thank you",
        "segment": by_hand.key,
        "on": "enter",
        "destination": "crm",
        "enabled": True,
    }
    status, trigger = api.post("/api/triggers/", body)
    assert status == 201
    return trigger


def errors(body):
    return {error["attr"]: error["detail"] for error in body["errors"]}


# Destinations


def test_secret_is_shown_once_on_creation(api, new_destination):
    assert new_destination["secret"] == Destination.objects.get().secret
    for path in ("crm/", f"{new_destination['id']}/"):
        status, shown = api.get(f"/api/destinations/{path}")
        assert status == 200
        assert "secret" not in shown
        assert {**shown, "secret": new_destination["secret"]} == new_destination
    assert "secret" not in api.get("/api/destinations/")[1]["results"][0]
    assert "secret" not in api.patch("/api/destinations/crm/", {"name": "New"})[1]


def test_destination_is_as_documented(new_destination, receiver):
    assert new_destination["key"] == "crm"
    assert new_destination["kind"] == "webhook"
    assert new_destination["config"] == {"url": receiver.url}
    assert new_destination["enabled"] is True


def test_destination_is_changed_and_deleted(api, new_destination):
    change = {"name": "New", "config": {"url": "https://b.example/"}, "enabled": False}
    status, changed = api.patch("/api/destinations/crm/", change)
    assert (status, {key: changed[key] for key in change}) == (200, change)
    assert api.delete("/api/destinations/crm/")[0] == 204
    assert api.get("/api/destinations/crm/")[0] == 404


@pytest.mark.parametrize(
    ("config", "attr", "detail"),
    [
        ({"url": "nonsense"}, "config.url", "begins with https://"),
        ({"url": "http://10.0.0.1/"}, "config.url", "CDP_WEBHOOK_ALLOW_PRIVATE"),
        ({"url": "https://u:p@a.example/"}, "config.url", "user and password"),
        ({}, "config.url", "needs"),
        ("text", "config.url", "needs"),
        (None, "config", "null"),
    ],
)
def test_bad_address_is_refused_with_a_reason(api, config, attr, detail):
    status, body = api.post("/api/destinations/", {"key": "a", "name": "A", "config": config})
    assert status == 400
    assert detail in errors(body)[attr]


def test_members_that_we_do_not_know_are_refused(api):
    body = {"key": "a", "name": "A", "config": {"url": "https://a.example"}, "secret_": "x"}
    assert "secret_" in errors(api.post("/api/destinations/", body)[1])


def test_key_is_unique_and_stays(api, new_destination):
    same = {"key": "crm", "name": "B", "config": {"url": "https://b.example"}}
    assert "key" in errors(api.post("/api/destinations/", same)[1])
    assert "key" in errors(api.patch("/api/destinations/crm/", {"key": "other"})[1])


def test_destination_in_use_is_not_deleted(api, new_trigger):
    status, body = api.delete("/api/destinations/crm/")
    assert (status, body["errors"][0]["code"]) == (409, "in_use")
    assert "Thank you" in body["errors"][0]["detail"]


def test_destination_is_tested(api, new_destination, receiver):
    status, tried = api.post("/api/destinations/crm/test/")
    assert (status, tried["status"], tried["response"], tried["error"]) == (200, 200, "ok", "")
    assert b"destination.test" in receiver.received[0].body


# Triggers


def test_trigger_is_as_documented(new_trigger, by_hand):
    del new_trigger["id"], new_trigger["created_at"]
    assert new_trigger.pop("switched_on_at")
    assert new_trigger == {
        "key": "thanks",
        "name": "Thank you",
        "segment": by_hand.key,
        "on": "enter",
        "stay": None,
        "destination": "crm",
        "at_most": "every_entry",
        "at_most_days": None,
        "consent": "",
        "quiet_hours": None,
        "enabled": True,
        "include_existing": False,
        "sentence": f"When a customer enters “{by_hand}”, send to “CRM”.",
    }


def test_trigger_is_off_unless_it_says_otherwise(api, new_destination, by_hand):
    body = {"key": "a", "name": "A", "segment": by_hand.key, "destination": "crm"}
    status, trigger = api.post("/api/triggers/", body)
    assert (status, trigger["enabled"], trigger["on"]) == (201, False, "enter")


@pytest.mark.parametrize("member", ["segment", "destination"])
def test_unknown_segment_or_destination_is_refused(api, new_destination, by_hand, member):
    body = {"key": "a", "name": "A", "segment": by_hand.key, "destination": "crm"}
    status, answer = api.post("/api/triggers/", body | {member: "nowhere"})
    assert status == 400
    assert "nowhere" in errors(answer)[member]


def test_switching_off_by_the_api_cancels_what_waits(api, new_trigger, enter):
    (delivery,) = enter(Trigger.objects.get())
    assert api.patch("/api/triggers/thanks/", {"enabled": False})[0] == 200
    assert api.get(f"/api/deliveries/{delivery.pk}/")[1]["state"] == "cancelled"


def test_switching_on_by_the_api_includes_existing_members(api, new_trigger, join, by_hand):
    member = join(by_hand)
    change = {"enabled": True, "include_existing": True}
    assert api.patch("/api/triggers/thanks/", change)[0] == 200
    run_tasks()
    (delivery,) = api.get("/api/deliveries/")[1]["results"]
    assert (delivery["customer"], delivery["state"]) == (member.pk, "delivered")


def test_trigger_is_tested_with_its_newest_member(api, new_trigger, join, by_hand, receiver):
    join(by_hand)
    member = join(by_hand)
    status, tried = api.post("/api/triggers/thanks/test/")
    assert (status, tried["status"], tried["customer"]) == (200, 200, member.pk)
    assert tried["request"]["url"] == receiver.url
    assert tried["request"]["body"].encode() == receiver.received[0].body
    assert tried["request"]["headers"]["webhook-signature"] == "(hidden)"
    (logged,) = api.get("/api/deliveries/?test=true")[1]["results"]
    assert (logged["id"], logged["test"]) == (tried["delivery"], True)


def test_trigger_is_tested_with_a_customer_of_choice(api, new_trigger, make_customer, receiver):
    customer = make_customer()
    assert api.post("/api/triggers/thanks/test/", {"customer": customer.pk})[0] == 200
    assert f'"id":{customer.pk}'.encode() in receiver.received[0].body


@pytest.mark.parametrize("body", [None, {"customer": 987_654_321}, {"customer": "x"}])
def test_test_needs_a_customer(api, new_trigger, body):
    status, answer = api.post("/api/triggers/thanks/test/", body)
    assert (status, [*errors(answer)]) == (400, ["customer"])


def test_trigger_is_deleted_with_its_log(api, new_trigger, enter):
    enter(Trigger.objects.get())
    assert api.delete("/api/triggers/thanks/")[0] == 204
    assert not Delivery.objects.exists()


# Deliveries


@pytest.fixture
def delivery(new_trigger, enter):
    (delivery,) = enter(Trigger.objects.get())
    return delivery


def test_delivery_is_as_documented(api, delivery, receiver):
    run_tasks()
    status, shown = api.get(f"/api/deliveries/{delivery.pk}/")
    assert status == 200
    assert (shown["id"], shown["trigger"], shown["state"]) == (
        str(delivery.pk),
        "thanks",
        "delivered",
    )
    assert shown["customer"] == delivery.customer_id
    assert shown["body"]["type"] == "segment.entered"
    (attempt,) = shown["attempts"]
    assert (attempt["status"], attempt["error"]) == (200, "")
    assert attempt["ms"] >= 0
    assert attempt["at"].endswith("Z")


def test_body_keeps_all_digits(api, delivery):
    Delivery.objects.update(body='{"amount": 200.10000000000000000001}')
    body = api.get(f"/api/deliveries/{delivery.pk}/")[1]["body"]
    assert str(body["amount"]) == "200.10000000000000000001"


def test_deliveries_are_filtered(api, delivery, make_receiver, enter):
    run_tasks()
    assert listed(api, "state=delivered") == listed(api, "trigger=thanks") == [str(delivery.pk)]
    assert listed(api, f"customer={delivery.customer_id}&destination=crm") == [str(delivery.pk)]
    for nothing in ("state=dead", "state=pending", "trigger=other", "customer=1", "test=true"):
        assert listed(api, nothing) == []
    assert api.get("/api/deliveries/?state=lost")[0] == 400
    assert api.get("/api/deliveries/?stat=dead")[0] == 400


def listed(api, query):
    status, page = api.get(f"/api/deliveries/?{query}")
    assert status == 200
    return [row["id"] for row in page["results"]]


def test_deliveries_are_paged_newest_first(api, new_trigger, enter):
    enter(Trigger.objects.get(), 5)
    newest_first = [str(pk) for pk in Delivery.objects.order_by("-id").values_list("pk", flat=True)]
    found, path = [], "/api/deliveries/?page_size=2"
    while path:
        page = api.get(path)[1]
        found += [row["id"] for row in page["results"]]
        path = page["next"]
    assert found == newest_first


def test_list_needs_few_queries(api, new_trigger, enter, django_assert_max_num_queries):
    enter(Trigger.objects.get(), 30)
    run_tasks()
    with django_assert_max_num_queries(6):
        assert len(listed(api, "page_size=30")) == 30


def test_failed_delivery_is_replayed(api, delivery, receiver):
    receiver.behaves = receivers.answer(500)
    run_tasks()
    assert api.get(f"/api/deliveries/{delivery.pk}/")[1]["state"] == "retry"
    receiver.behaves = receivers.answer(200)
    status, shown = api.post(f"/api/deliveries/{delivery.pk}/replay/")
    assert (status, shown["id"]) == (200, str(delivery.pk))
    run_tasks()
    assert api.get(f"/api/deliveries/{delivery.pk}/")[1]["state"] == "delivered"
    assert receiver.ids == [str(delivery.pk)] * 2


def test_all_dead_are_replayed(api, delivery):
    run_tasks()
    Delivery.objects.update(dead_at=delivery.created_at, delivered_at=None)
    assert api.post("/api/deliveries/replay/", {"trigger": "other"})[0] == 400
    assert api.post("/api/deliveries/replay/", {"trigger": "thanks"}) == (200, {"replayed": 1})
    assert api.post("/api/deliveries/replay/", {}) == (200, {"replayed": 0})


def test_test_is_not_replayed(api, new_trigger, make_customer):
    tried = api.post("/api/triggers/thanks/test/", {"customer": make_customer().pk})[1]
    status, body = api.post(f"/api/deliveries/{tried['delivery']}/replay/")
    assert (status, body["errors"][0]["code"]) == (409, "not_replayable")


@pytest.mark.parametrize("pk", ["1b4e28ba-2fa1-41d2-883f-0016d3cca427", "-" * 36, "x"])
def test_unknown_delivery_is_not_found(api, db, pk):
    assert api.get(f"/api/deliveries/{pk}/")[0] == 404


def test_log_is_for_those_who_may_see_customers(db):
    blind = Api(apikeys.create("blind", ["activation:read", "activation:write"])[1])
    assert blind.get("/api/triggers/")[0] == 200
    assert blind.get("/api/deliveries/")[0] == 403
    seeing = Api(apikeys.create("seeing", ["activation:read", "customers:read"])[1])
    assert seeing.get("/api/deliveries/")[0] == 200
    assert seeing.post("/api/deliveries/replay/", {})[0] == 403


@pytest.mark.parametrize("query", ["trigger=%00", "customer=x", "customer=1e400", "since=soon"])
def test_hostile_filter_is_refused_or_finds_nothing(api, query):
    status, body = api.get(f"/api/deliveries/?{query}")
    assert status == 400 or body["results"] == []


@pytest.mark.parametrize("key", ["99999999999999999999999", "%00", "²", "a.b"])
def test_hostile_key_is_not_found(api, key):
    assert api.get(f"/api/triggers/{key}/")[0] == 404

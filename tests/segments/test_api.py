from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from customers import changes
from segments import filling, memberships
from segments.models import Membership, MembershipChange, Segment
from tests.makers import NOON

pytestmark = pytest.mark.django_db

SPENT_200 = {
    "event": "Order Completed",
    "measure": "sum",
    "property": "amount",
    "op": "at_least",
    "value": Decimal("200.00"),
    "within": {"last": 90, "unit": "days"},
}
BOUGHT = {"event": "Order Completed"}


def attrs(answer):
    return {error["attr"]: error["code"] for error in answer["errors"]}


def fill():
    while filling.fill_next():
        pass


def refresh():
    memberships.refresh(changes.claim(1_000))


def test_segment_has_the_promised_shape(api, make_customer, make_event):
    ann = make_customer("a")
    make_event(customer=ann, amount=250, at=datetime.now(UTC))
    body = {"key": "big-spenders", "name": "Big spenders", "rule": SPENT_200}
    status, answer = api.post("/api/segments/", body)
    assert status == 201, answer
    assert (answer["state"], answer["size"]) == ("filling", 0)
    fill()
    status, answer = api.get("/api/segments/big-spenders/")
    assert (answer["state"], answer["size"], answer["progress"]) == ("live", 1, 1)
    assert answer["rule"] == SPENT_200
    assert str(answer["rule"]["value"]) == "200.00"
    assert (answer["kind"], answer["audience"]) == ("dynamic", "everyone")
    assert "in the last 90 days" in answer["sentence"]
    assert api.get("/api/segments/")[1]["results"] == [answer]


@pytest.mark.parametrize(
    ("changed", "attr"),
    [
        ({"rule": {"evnt": "x"}}, "rule"),
        ({"rule": {"all": [{"field": "nope", "op": "is", "value": 1}]}}, "rule.all.0.field"),
        ({"rule": None}, "rule"),
        ({"rule": "x"}, "rule"),
        ({"rule": []}, "rule"),
        ({"key": "with space"}, "key"),
        ({"key": "preview"}, "key"),
        ({"key": "taken"}, "key"),
        ({"key": ""}, "key"),
        ({"name": ""}, "name"),
        ({"audience": "all"}, "audience"),
        ({"kind": "static"}, "rule"),
        ({"kind": "other"}, "kind"),
        ({"rul": {}}, "rul"),
    ],
)
def test_wrong_segment_is_refused_where_it_is_wrong(api, make_segment, changed, attr):
    make_segment(BOUGHT, "taken")
    status, answer = api.post("/api/segments/", {"key": "k", "name": "K", "rule": BOUGHT} | changed)
    assert status == 400
    assert [a.partition(".field")[0] for a in attrs(answer)] == [attr.partition(".field")[0]]
    assert Segment.objects.count() == 1


def test_edited_rule_fills_anew_and_a_new_name_does_not(api, make_segment):
    make_segment(BOUGHT, "buyers")
    assert api.patch("/api/segments/buyers/", {"name": "Buyers"})[1]["state"] == "live"
    answer = api.patch("/api/segments/buyers/", {"rule": SPENT_200})[1]
    assert (answer["state"], answer["name"]) == ("filling", "Buyers")
    status, answer = api.patch("/api/segments/buyers/", {"rule": {"segment": "buyers"}})
    assert (status, list(attrs(answer))) == (400, ["rule.segment"])
    assert attrs(api.patch("/api/segments/buyers/", {"key": "other"})[1]).keys() == {"key"}


def test_what_was_read_may_be_sent_back(api, make_segment):
    make_segment(BOUGHT, "buyers")
    _, answer = api.get("/api/segments/buyers/")
    status, again = api.put("/api/segments/buyers/", answer)
    assert status == 200
    assert again | {"updated_at": ""} == answer | {"updated_at": ""}


def test_segment_that_another_uses_is_not_deleted(api, make_segment):
    make_segment(BOUGHT, "buyers")
    make_segment({"not": {"segment": "buyers"}}, "others")
    status, answer = api.delete("/api/segments/buyers/")
    assert (status, answer["errors"][0]["code"]) == (409, "in_use")
    assert "Others" in answer["errors"][0]["detail"]
    assert api.delete("/api/segments/others/")[0] == 204
    assert api.delete("/api/segments/buyers/")[0] == 204


def test_field_that_a_segment_uses_is_not_deleted(api, make_field, make_segment):
    make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"}, "bern")
    status, answer = api.delete("/api/customer-fields/city/")
    assert (status, answer["errors"][0]["code"]) == (409, "in_use")
    assert "“Bern”" in answer["errors"][0]["detail"]
    api.delete("/api/segments/bern/")
    assert api.delete("/api/customer-fields/city/")[0] == 204


def test_preview_counts_without_saving(api, make_customer, make_event):
    ann, bob = make_customer("a"), make_customer("b")
    make_event(customer=ann, amount=250, at=NOON - timedelta(days=89))
    make_event(customer=bob, amount=100, at=NOON)
    question = {"rule": SPENT_200, "as_of": NOON.isoformat(), "members": True}
    status, answer = api.post("/api/segments/preview/", question)
    assert status == 200, answer
    assert (answer["count"], answer["total"], answer["members"]) == (1, 2, [ann.pk])
    assert [c["customer_id"] for c in answer["sample"]] == ["a"]
    assert answer["conditions"][0]["path"] == ""
    assert "in the last 90 days" in answer["sentence"]
    assert not Segment.objects.exists()
    _, answer = api.post("/api/segments/preview/", {"rule": SPENT_200, "as_of": "2020-01-01"})
    assert (answer["count"], "members" in answer) == (0, False)


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "rule"),
        ({"rule": {"all": []}}, "rule.all"),
        ({"rule": BOUGHT, "as_of": "soon"}, "as_of"),
        ({"rule": BOUGHT, "as_of": "0001-01-01T00:00:00+14:00"}, "as_of"),
        ({"rule": BOUGHT, "asof": "2020-01-01"}, "asof"),
        ({"rule": BOUGHT, "audience": "nobody"}, "audience"),
        ({"rule": BOUGHT | {"within": {"last": 11 * 366, "unit": "days"}}}, "rule.within"),
    ],
)
def test_wrong_preview_is_refused_where_it_is_wrong(api, body, attr):
    status, answer = api.post("/api/segments/preview/", body)
    assert status == 400
    assert next(iter(attrs(answer))).startswith(attr)


def test_members_come_the_latest_first_and_pages_miss_nobody(api, make_segment, make_event):
    for _ in range(5):
        make_event()
    make_segment(BOUGHT, "buyers")  # all enter at one instant
    seen, path = [], "/api/segments/buyers/members/?page_size=2"
    while path:
        status, answer = api.get(path)
        assert status == 200
        seen += [member["id"] for member in answer["results"]]
        path = answer["next"]
    assert seen == sorted(Membership.objects.values_list("customer_id", flat=True), reverse=True)


def test_members_and_history_tell_who_when_and_why(api, make_customer, make_segment, make_event):
    ann = make_customer("a")
    make_segment(BOUGHT, "buyers")
    event = make_event(customer=ann)
    changes.record([changes.Fact(ann.pk, changes.event("Order Completed"), event.id)])
    refresh()
    (member,) = api.get("/api/segments/buyers/members/")[1]["results"]
    entered_at = member.pop("entered_at")
    assert member == {"id": ann.pk, "customer_id": "a", "entry_no": 1, "cause": "event"}
    (entry,) = api.get("/api/segments/buyers/history/")[1]["results"]
    assert entry.pop("at") == entered_at
    told = {"change": "entered", "cause": "event", "event_id": event.id}
    assert entry == {"id": ann.pk, "customer_id": "a", "entry_no": 1} | told


def test_history_is_filtered_by_time_and_customer(api, make_customer, make_segment):
    segment = make_segment(None, "hand", kind="static")
    ann, bob = make_customer("a"), make_customer("b")
    for customer, day in ((ann, 1), (bob, 2)):
        MembershipChange.objects.create(
            customer=customer, segment=segment, entered=True, at=NOON.replace(day=day), entry_no=1
        )

    def found(query):
        answer = api.get(f"/api/segments/hand/history/?{query}")[1]
        return [entry["customer_id"] for entry in answer["results"]]

    assert found("since=2026-01-02T12:00:00Z") == ["b"]
    assert found("until=2026-01-02T12:00:00Z") == ["a"]
    assert found(f"customer={ann.pk}") == ["a"]
    assert api.get("/api/segments/hand/history/?from=2026-01-01")[0] == 400


def test_members_by_hand_are_added_and_removed(api, make_customer):
    ann, bob = make_customer("a"), make_customer("b")
    visitor = make_customer(merged_into=ann)
    api.post("/api/segments/", {"key": "vip", "name": "VIP", "kind": "static"})
    status, answer = api.post(
        "/api/segments/vip/members/", {"ids": [visitor.pk, 10**12], "customer_ids": ["b", "x"]}
    )
    assert status == 200
    expected = {"changed": 2, "unknown_ids": [10**12], "unknown_customer_ids": ["x"]}
    assert answer == expected
    members = api.get("/api/segments/vip/members/")[1]["results"]
    assert {m["id"] for m in members} == {ann.pk, bob.pk}
    assert api.delete("/api/segments/vip/members/", {"ids": [ann.pk]})[1]["changed"] == 1
    assert api.get("/api/segments/vip/")[1]["size"] == 1


def test_members_of_a_rule_are_not_moved_by_hand(api, make_segment, make_customer):
    make_segment(BOUGHT, "buyers")
    ann = make_customer("a")
    status, answer = api.post("/api/segments/buyers/members/", {"ids": [ann.pk]})
    assert (status, answer["errors"][0]["code"]) == (409, "not_by_hand")


def test_customer_tells_memberships_and_why(api, make_customer, make_event, make_segment):
    ann = make_customer("a")
    make_event(customer=ann, amount="250.50", at=datetime.now(UTC) - timedelta(days=1))
    make_segment(SPENT_200, "big")
    (membership,) = api.get(f"/api/customers/{ann.pk}/memberships/")[1]["results"]
    assert (membership["segment"], membership["entry_no"]) == ("big", 1)
    status, answer = api.get(f"/api/customers/{ann.pk}/explain/?segment=big")
    assert status == 200
    assert answer["member"] is True
    assert answer["since"] == membership["entered_at"]
    assert answer["next_change_at"].endswith("Z")
    (condition,) = answer["conditions"]
    assert condition["value"] == Decimal("250.50")
    assert condition["threshold"] == Decimal("200.00")
    assert condition["holds"] is True
    status, answer = api.get(f"/api/customers/{ann.pk}/explain/?segment=bgi")
    assert (status, attrs(answer)) == (400, {"segment": "unknown"})


def test_customers_are_filtered_by_segment(api, make_customer, make_event, make_segment):
    ann = make_event().customer
    make_customer("b")
    make_segment(BOUGHT, "buyers")
    _, answer = api.get("/api/customers/?segment=buyers")
    assert [c["id"] for c in answer["results"]] == [ann.pk]
    assert api.get("/api/customers/?segment=nope")[0] == 400


def test_erased_customer_is_gone_from_every_floor(api, make_customer, make_event, make_segment):
    ann = make_event().customer
    visitor = make_customer(merged_into=ann)
    make_segment(BOUGHT, "buyers")
    assert api.delete(f"/api/customers/{visitor.pk}/")[0] == 204
    assert api.get(f"/api/customers/{ann.pk}/")[0] == 404
    assert api.get("/api/segments/buyers/")[1]["size"] == 0
    assert api.get("/api/segments/buyers/history/")[1]["results"] == []


@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("/api/segments/", 2),
        ("/api/segments/buyers/members/", 3),
        ("/api/segments/buyers/history/", 3),
    ],
)
def test_lists_cost_the_same_for_1_and_30(
    api, make_event, make_segment, django_assert_num_queries, path, queries
):
    make_event()
    make_segment(BOUGHT, "buyers")
    api.get(path)  # notes that the key was used, once a minute
    with django_assert_num_queries(queries):
        api.get(path)
    for _ in range(30):
        customer = make_event().customer
        changes.record([changes.Fact(customer.pk, changes.event("Order Completed"))])
        make_segment(BOUGHT)
    refresh()
    with django_assert_num_queries(queries):
        assert len(api.get(path)[1]["results"]) == 31


def test_versions_say_who_changed_the_rule(api, make_segment):
    body = {"key": "buyers", "name": "Buyers", "rule": BOUGHT}
    assert api.post("/api/segments/", body)[0] == 201
    api.patch("/api/segments/buyers/", {"rule": BOUGHT | {"op": "at_least", "value": 2}})
    api.patch("/api/segments/buyers/", {"name": "Good buyers"})
    status, answer = api.get("/api/segments/buyers/versions/")
    assert status == 200, answer
    rows = answer["results"]
    assert [(row["change"], row["name"]) for row in rows] == [
        ("changed", "Good buyers"),
        ("changed", "Buyers"),
        ("created", "Buyers"),
    ]
    assert [row["version"] for row in rows] == [3, 3, 2]
    assert rows[2]["rule"] == BOUGHT
    assert {row["changed_by"] for row in rows} == {'API key "tests"'}
    assert "2 times" in rows[1]["sentence"]


def test_the_type_of_a_field_stays_while_rules_rely_on_it(api, make_field, make_segment):
    make_field("points", "number")
    make_segment({"field": "points", "op": "at_least", "value": 5}, name="Rich")
    make_segment({"field": "points", "op": "exists"}, key="any", name="Any")
    status, answer = api.patch("/api/customer-fields/points/", {"type": "string"})
    assert (status, attrs(answer)) == (409, {None: "in_use"})
    assert "“Rich”." in answer["errors"][0]["detail"]
    api.delete("/api/segments/" + Segment.objects.get(name="Rich").key + "/")
    assert api.patch("/api/customer-fields/points/", {"type": "string"})[0] == 200
    fill()
    assert Segment.objects.get(key="any").error == ""


@pytest.mark.parametrize("as_of", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_as_of_the_end_of_the_calendar_is_refused(api, as_of):
    status, answer = api.post("/api/segments/preview/", {"rule": BOUGHT, "as_of": as_of})
    assert (status, [*attrs(answer)]) == (400, ["as_of"])

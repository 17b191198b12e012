from decimal import Decimal

import pytest

from customers import changes
from customers import search as words
from customers.models import Change, Customer, CustomerField, FieldChange, Identifier

pytestmark = pytest.mark.django_db


def attrs(answer):
    return {error["attr"]: error["code"] for error in answer["errors"]}


def test_customer_has_the_promised_shape(api, make_customer):
    ann = make_customer("A-1", fields={"age": Decimal("41.50"), "city": "Bern"})
    status, answer = api.get(f"/api/customers/{ann.pk}/")
    assert status == 200
    created_at = answer.pop("created_at")
    assert created_at.endswith("Z")
    assert answer == {
        "id": ann.pk,
        "customer_id": "A-1",
        "fields": {"age": Decimal("41.50"), "city": "Bern"},
        "identifiers": [{"kind": "customer_id", "value": "A-1"}],
        "first_seen": None,
        "last_seen": None,
    }


def test_customer_is_created_with_typed_values_and_their_source(api, make_field):
    make_field("age", "number")
    status, answer = api.post("/api/customers/", {"customer_id": 7, "fields": {"age": "41.5"}})
    assert status == 201
    assert answer["customer_id"] == "7"
    assert answer["fields"] == {"age": Decimal("41.5")}
    assert FieldChange.objects.get().source == 'API key "tests"'
    assert Change.objects.filter(fact=changes.field("age"), customer_id=answer["id"]).exists()


def test_customer_id_that_somebody_has_is_refused(api, make_customer):
    ann = make_customer("A-1")
    status, answer = api.post("/api/customers/", {"customer_id": "A-1"})
    assert status == 400
    assert attrs(answer) == {"customer_id": "exists"}
    assert str(ann.pk) in answer["errors"][0]["detail"]


@pytest.mark.parametrize("nobody", ["", None, "null", "undefined", "0000", "x" * 201, ["a"], True])
def test_customer_id_that_names_nobody_is_refused(api, nobody):
    status, answer = api.post("/api/customers/", {"customer_id": nobody})
    assert status == 400
    assert list(attrs(answer)) == ["customer_id"]
    assert not Customer.objects.exists()


def test_number_keeps_every_digit(api, make_field):
    make_field("balance", "number")
    exact = Decimal("12345678901234567890.123456789012345678901")
    _, answer = api.post("/api/customers/", {"customer_id": "a", "fields": {"balance": exact}})
    assert answer["fields"]["balance"] == exact
    huge = 2**80
    _, answer = api.patch(f"/api/customers/{answer['id']}/", {"fields": {"balance": huge}})
    assert answer["fields"]["balance"] == huge


def test_patch_sets_some_fields_and_null_clears(api, make_field, make_customer):
    make_field("city"), make_field("age", "number")
    ann = make_customer("a", fields={"city": "Bern", "age": 40})
    status, answer = api.patch(f"/api/customers/{ann.pk}/", {"fields": {"city": None, "age": 41}})
    assert status == 200
    assert answer["fields"] == {"age": 41}


def test_every_wrong_value_is_named_and_nothing_is_stored(api, make_field, make_customer):
    make_field("firstName"), make_field("age", "number")
    ann = make_customer("a")
    body = {"fields": {"firstName": "Ann", "firstname": "Ann", "age": "old"}}
    status, answer = api.patch(f"/api/customers/{ann.pk}/", body)
    assert status == 400
    assert attrs(answer) == {"fields.firstname": "unknown_field", "fields.age": "not_a_number"}
    assert 'Did you mean "firstName"?' in answer["errors"][0]["detail"]
    ann.refresh_from_db()
    assert ann.fields == {}


def test_misspelt_member_is_refused(api, make_customer):
    ann = make_customer("a")
    status, answer = api.patch(f"/api/customers/{ann.pk}/", {"feilds": {}})
    assert status == 400
    assert attrs(answer) == {"feilds": "unknown"}
    assert 'Did you mean "fields"?' in answer["errors"][0]["detail"]


def test_what_was_read_may_be_sent_back(api, make_field, make_customer):
    make_field("city")
    ann = make_customer("a", fields={"city": "Bern"})
    _, answer = api.get(f"/api/customers/{ann.pk}/")
    assert api.patch(f"/api/customers/{ann.pk}/", answer) == (200, answer)


def test_merged_customer_answers_as_the_survivor(api, make_customer):
    ann = make_customer("a")
    visitor = make_customer(merged_into=ann)
    earlier = make_customer(merged_into=visitor)
    assert api.get(f"/api/customers/{earlier.pk}/")[1]["id"] == ann.pk
    assert [c["id"] for c in api.get("/api/customers/")[1]["results"]] == [ann.pk]


@pytest.mark.parametrize("pk", ["0", "999999999999999999", "1" * 30, "-1", "abc"])
def test_unknown_customer_is_404(api, pk):
    assert api.get(f"/api/customers/{pk}/")[0] == 404


def ids(answer):
    status, body = answer
    assert status == 200, body
    return [customer["id"] for customer in body["results"]]


def test_customers_are_filtered_by_what_they_are_known_by(api, make_customer):
    ann, bob = make_customer("a"), make_customer("b")
    Identifier.objects.create(kind="email", value="ann@example.org", customer=ann)
    assert ids(api.get("/api/customers/?customer_id=b")) == [bob.pk]
    assert ids(api.get("/api/customers/?email=ANN@example.org")) == [ann.pk]
    assert ids(api.get("/api/customers/?identifier=email:ann@example.org")) == [ann.pk]
    assert ids(api.get("/api/customers/?identifier=email:nobody@example.org")) == []
    assert api.get("/api/customers/?identifier=nonsense")[0] == 400


def test_customers_are_found_by_an_email_or_phone_that_stands_in_a_field(api, make_customer):
    ann = make_customer("a", fields={"E-Mail": "Ann@Example.org", "mobile": "079 123 45 67"})
    bob = make_customer("b", fields={"workEmail": "ann@example.org"})
    words.rebuild()
    assert {*ids(api.get("/api/customers/?email=ann@example.ORG"))} == {ann.pk, bob.pk}
    assert ids(api.get("/api/customers/?identifier=phone:%2B41791234567")) == [ann.pk]


def test_customers_are_filtered_by_values(api, make_field, make_customer):
    make_field("age", "number"), make_field("Home town")
    ann = make_customer("a", fields={"age": Decimal("40.0"), "Home town": "Bern"})
    bob = make_customer("b", fields={"age": 41})
    assert ids(api.get("/api/customers/?field.age=40")) == [ann.pk]
    assert ids(api.get("/api/customers/?field.Home%20town=Bern&field.age=40")) == [ann.pk]
    assert ids(api.get("/api/customers/?field.Home%20town=")) == [bob.pk]
    status, answer = api.get("/api/customers/?field.age=old")
    assert (status, attrs(answer)) == (400, {"field.age": "not_a_number"})
    status, answer = api.get("/api/customers/?field.aeg=40")
    assert 'Did you mean "age"?' in answer["errors"][0]["detail"]


def test_field_that_a_rule_compares_keeps_its_type(api, make_field, make_segment):
    make_field("age", "number")
    make_segment({"field": "age", "op": "at_least", "value": 18})
    status, answer = api.patch("/api/customer-fields/age/", {"type": "string"})
    assert (status, answer["errors"][0]["code"]) == (409, "in_use")
    assert api.patch("/api/customer-fields/age/", {"type": "number", "group": "Who"})[0] == 200


def test_customers_are_found_by_comparing_fields_and_by_words(api, make_customer, make_field):
    make_field("age", "number")
    make_field("city")
    ann = make_customer("ann", fields={"age": 40, "city": "Zürich"})
    bob = make_customer("bob", fields={"age": 30, "city": "Bern"})
    words.rebuild()
    for query, found in (
        ("field.age[at_least]=35", [ann.pk]),
        ("field.city[contains]=ER&field.age[at_most]=30", [bob.pk]),
        ("field.city[one_of]=bern,zürich", [bob.pk, ann.pk]),
        ("field.@last_seen[missing]=true", [bob.pk, ann.pk]),
        ("q=zurich", [ann.pk]),
        ("q=xyz&field.city[starts_with]=z", []),
    ):
        assert ids(api.get(f"/api/customers/?{query}")) == found, query
    status, answer = api.get("/api/customers/?field.age[contains]=4")
    assert (status, attrs(answer)) == (400, {"field.age[contains]": "unknown_op"})


def test_customers_are_filtered_by_time(api, make_customer):
    ann = make_customer("a", last_seen_at="2026-03-02T00:00:00Z")
    make_customer("b", last_seen_at="2026-02-27T00:00:00Z")
    assert ids(api.get("/api/customers/?seen_since=2026-03-01T00:00:00Z")) == [ann.pk]
    assert ids(api.get("/api/customers/?created_since=2999-01-01T00:00:00Z")) == []
    assert api.get("/api/customers/?seen_since=yesterday")[0] == 400


def test_misspelt_filter_is_refused(api):
    status, answer = api.get("/api/customers/?emial=a@example.org")
    assert (status, attrs(answer)) == (400, {"emial": "unknown"})


def test_bulk_upsert_applies_the_good_and_tells_the_bad(api, make_field, make_customer):
    make_field("age", "number")
    make_customer("known", fields={"age": 1}), make_customer("same", fields={"age": 1})
    status, answer = api.put(
        "/api/customers/",
        [
            {"customer_id": "known", "fields": {"age": 2}},
            {"customer_id": "same", "fields": {"age": Decimal("1.0")}},
            {"customer_id": "new", "fields": {"age": 3}},
            {"customer_id": "bad", "fields": {"age": "x", "aeg": 4}},
            {"customer_id": None},
            "nonsense",
            {"customer_id": "odd", "field": {}},
        ],
    )
    assert status == 200
    assert {k: answer[k] for k in ("created", "updated", "unchanged")} == {
        "created": 1,
        "updated": 1,
        "unchanged": 1,
    }
    assert [e["index"] for e in answer["errors"]] == [3, 4, 5, 6]
    assert [p["attr"] for p in answer["errors"][0]["problems"]] == ["fields.age", "fields.aeg"]
    stored = dict(Customer.objects.values_list("external_id", "fields"))
    assert stored == {"known": {"age": 2}, "same": {"age": 1}, "new": {"age": 3}}


def test_later_of_two_items_for_one_customer_wins(api, make_field):
    make_field("city"), make_field("age", "number")
    items = [{"customer_id": "a", "fields": {"city": "Bern", "age": 1}}] * 2
    items.append({"customer_id": "a", "fields": {"city": "Basel"}})
    assert api.put("/api/customers/", items)[1]["created"] == 1
    assert Customer.objects.get().fields == {"city": "Basel", "age": 1}


def test_bulk_upsert_runs_as_many_queries_for_1_as_for_500(
    api, make_field, django_assert_max_num_queries
):
    make_field("age", "number")
    api.put("/api/customers/", [{"customer_id": "warm", "fields": {"age": 0}}])
    for size in (1, 500):
        items = [{"customer_id": f"{size}-{n}", "fields": {"age": n}} for n in range(size)]
        with django_assert_max_num_queries(25):
            assert api.put("/api/customers/", items)[1]["created"] == size


@pytest.mark.parametrize("body", [{}, "x", 1, None, [{"customer_id": "a"}] * 10_001])
def test_bulk_upsert_takes_a_list_of_ten_thousand(api, body):
    status, answer = api.put("/api/customers/", body)
    assert status == 400, answer
    assert not Customer.objects.exists()


def test_list_of_customers_costs_the_same_for_1_and_100(
    api, make_customer, django_assert_num_queries
):
    api.get("/api/customers/")  # notes that the key was used, once a minute
    for count in (1, 99):
        for n in range(count):
            make_customer(f"{count}-{n}")
        with django_assert_num_queries(3):  # the key, the customers, their identifiers
            answer = api.get("/api/customers/")
        assert len(ids(answer)) == (1 if count == 1 else 100)


def test_identifiers_merges_and_changes_are_listed(api, make_field, make_customer):
    make_field("city")
    ann = make_customer("a")
    visitor = make_customer()
    ann.merges.create(absorbed_id=visitor.pk, cause="website", identifiers=[["anonymous_id", "x"]])
    api.patch(f"/api/customers/{ann.pk}/", {"fields": {"city": "Bern"}})
    path = f"/api/customers/{ann.pk}"
    (identifier,) = api.get(f"{path}/identifiers/")[1]["results"]
    assert (identifier["kind"], identifier["value"]) == ("customer_id", "a")
    (merge,) = api.get(f"{path}/merges/")[1]["results"]
    assert merge["absorbed_id"] == visitor.pk
    assert merge["identifiers"] == [{"kind": "anonymous_id", "value": "x"}]
    (change,) = api.get(f"{path}/changes/")[1]["results"]
    assert change["changes"] == {"city": [None, "Bern"]}


def test_customer_field_is_created_read_and_described(api):
    status, answer = api.post("/api/customer-fields/", {"name": "Größe/cm.x y", "type": "number"})
    assert status == 201
    path = "/api/customer-fields/Gr%C3%B6%C3%9Fe%2Fcm.x%20y/"
    assert api.get(path) == (200, answer)
    assert api.patch(path, {"label": "Height"})[1]["label"] == "Height"
    assert [f["name"] for f in api.get("/api/customer-fields/")[1]["results"]] == ["Größe/cm.x y"]


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"name": "a"}, "type"),
        ({"name": "a", "type": "text"}, "type"),
        ({"name": "@a", "type": "string"}, "name"),
        ({"name": "", "type": "string"}, "name"),
        ({"name": "a\nb", "type": "string"}, "name"),
        ({"name": "a" * 101, "type": "string"}, "name"),
        ({"name": "a", "type": "string", "lable": "A"}, "lable"),
        ([], None),
        ("x", None),
    ],
)
def test_wrong_definition_of_a_field_is_refused_by_name(api, body, attr):
    status, answer = api.post("/api/customer-fields/", body)
    assert status == 400
    assert [e["attr"] for e in answer["errors"]] == [attr] or attr is None
    assert not CustomerField.objects.exists()


def test_name_that_is_taken_is_refused(api, make_field):
    make_field("age")
    status, answer = api.post("/api/customer-fields/", {"name": "age", "type": "string"})
    assert (status, attrs(answer)) == (400, {"name": "unique"})


def test_type_changes_only_while_nobody_has_a_value(api, make_field, make_customer):
    make_field("age"), make_field("size")
    make_customer("a", fields={"age": "40"})
    assert api.patch("/api/customer-fields/size/", {"type": "number"})[1]["type"] == "number"
    status, answer = api.patch("/api/customer-fields/age/", {"type": "number"})
    assert status == 409
    assert answer["errors"][0]["code"] == "has_values"
    assert CustomerField.objects.get(name="age").type == "string"


def test_name_of_a_field_cannot_change(api, make_field):
    make_field("age")
    status, answer = api.patch("/api/customer-fields/age/", {"name": "years"})
    assert (status, list(attrs(answer))) == (400, ["name"])


def test_deleted_field_takes_its_values_along_and_says_so(api, make_field, make_customer):
    make_field("age"), make_field("city")
    ann = make_customer("a", fields={"age": "40", "city": "Bern"})
    assert api.delete("/api/customer-fields/age/")[0] == 204
    ann.refresh_from_db()
    assert ann.fields == {"city": "Bern"}
    assert FieldChange.objects.get().changes == {"age": ["40", None]}

"""Joining and separating customers over HTTP."""

import pytest

from cdp import apikeys, pipeline
from customers.masking import MASK
from customers.models import Customer
from tests.cdp.test_identities import picture
from tests.cdp.test_identities import send as send
from tests.makers import Api

pytestmark = pytest.mark.django_db


@pytest.fixture
def merged(send):
    """A visitor who turned out to be u1."""
    send("track a1 A", "track u1 B", "track a1 u1 C", "track a1 D")
    return Customer.objects.current().get()


def test_merge_is_listed_previewed_and_undone(api, merged):
    path = f"/api/customers/{merged.pk}/merges/"
    status, page = api.get(path)
    (merge,) = page["results"]
    assert (status, merge["undone_at"]) == (200, None)
    status, preview = api.get(f"{path}{merge['id']}/undo/")
    assert status == 200
    assert preview["events"] == {"A": 1, "D": 1}
    assert preview["identifiers"] == [{"kind": "anonymous_id", "value": "a1"}]
    status, both = api.post(f"{path}{merge['id']}/undo/")
    assert status == 200
    assert both["customer"]["customer_id"] == "u1"
    assert both["separated"]["id"] == preview["separated"] == merge["absorbed_id"]
    assert picture() == {"a1": "A D", "u1": "B C"}
    status, answer = api.post(f"{path}{merge['id']}/undo/")
    assert (status, answer["errors"][0]["code"]) == (409, "cannot_separate")
    _, page = api.get(path)
    assert page["results"][0]["undone_by"] == 'API key "tests"'
    assert api.get(f"/api/customers/{both['separated']['id']}/")[1]["customer_id"] is None


def test_undo_moves_memberships(api, merged, make_segment):
    rule = {"event": "D"}
    segment = make_segment(rule, "did-d")
    assert [m["id"] for m in api.get(f"/api/segments/{segment.key}/members/")[1]["results"]] == [
        merged.pk
    ]
    _, page = api.get(f"/api/customers/{merged.pk}/merges/")
    _, both = api.post(f"/api/customers/{merged.pk}/merges/{page['results'][0]['id']}/undo/")
    while pipeline.refresh(1000):
        pass
    members = api.get(f"/api/segments/{segment.key}/members/")[1]["results"]
    assert [m["id"] for m in members] == [both["separated"]["id"]]


def test_identifier_is_detached(api, merged):
    path = f"/api/customers/{merged.pk}/identifiers/detach/"
    status, preview = api.get(f"{path}?kind=anonymous_id&value=a1")
    assert (status, preview["separated"], preview["events"]) == (200, None, {"A": 1, "D": 1})
    status, both = api.post(path, {"kind": "anonymous_id", "value": "a1"})
    assert status == 200
    assert both["separated"]["identifiers"] == [{"kind": "anonymous_id", "value": "a1"}]
    assert picture() == {"a1": "A D", "u1": "B C"}
    for kind, value in (("customer_id", "u1"), ("anonymous_id", "a1"), ("email", "x@example.com")):
        status, answer = api.post(path, {"kind": kind, "value": value})
        assert (status, answer["errors"][0]["code"]) == (409, "cannot_separate")


def test_customers_are_joined_by_hand(api, send):
    send("track u1 A", "track u2 B", "track a9 C")
    one, two, visitor = Customer.objects.order_by("id")
    path = f"/api/customers/{visitor.pk}/merges/"
    status, merge = api.post(path, {"customer": two.pk})
    assert (status, merge["survivor_id"], merge["absorbed_id"]) == (201, two.pk, visitor.pk)
    status, merge = api.post(path, {"customer": one.pk})
    assert (status, merge["survivor_id"], merge["cause"]) == (
        201,
        one.pk,
        'by hand: API key "tests"',
    )
    assert picture() == {"a9 u1 u2": "A B C"}
    status, customer = api.put("/api/customers/", [{"customer_id": "u2", "fields": {}}])
    assert (customer["created"], customer["unchanged"]) == (0, 1)
    for other in (one.pk, 10**9, "x", None):
        assert api.post(path, {"customer": other})[0] == 400


def test_preview_masks_personal_values_for_a_key_that_may_not_see_them(send, make_field):
    make_field("city", is_personal=True)
    send("identify a1 city=Basel", "track u1 B", "track a1 u1 C")
    customer = Customer.objects.current().get()
    path = f"/api/customers/{customer.pk}/merges/{customer.merges.get().id}/undo/"
    for scopes, city in (({"customers:read"}, MASK), (set(apikeys.ALL_SCOPES), "Basel")):
        reader = Api(apikeys.create(city, scopes)[1])
        assert reader.get(path)[1]["values"] == [
            {"field": "city", "now": city, "stays": None, "goes": city}
        ]

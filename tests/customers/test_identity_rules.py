"""The rules of identity: from the environment, changed by staff and programs, in force at once."""

from types import SimpleNamespace

import pytest
from django.db import transaction
from django.urls import reverse

from cdp import roles
from customers import identity, identity_rules
from customers.identity import Person
from customers.models import IdentityRules, Merge

pytestmark = pytest.mark.django_db
ADDRESS = "/api/identity-rules/"


def see(*people):
    """Resolve people given as (kind, value) pairs; return their customers' ids."""
    with transaction.atomic():
        return identity.resolve([Person(keys) for keys in people]).customer_ids


def test_rules_are_those_of_the_environment_until_somebody_changes_them(api, settings):
    settings.TRUSTED_IDENTIFIERS = ["phone"]
    assert api.get(ADDRESS)[1]["trusted"] == ["phone"]
    status, answer = api.patch(ADDRESS, {"trusted": ["email"], "never": [" Kiosk-7 "]})
    assert status == 200
    assert answer["trusted"] == ["email"]
    assert answer["default"]["trusted"] == ["phone"]
    assert answer["never"] == ["kiosk-7"]
    assert "API key" in answer["changed_by"]
    assert api.patch(ADDRESS, {"trusted": None})[1]["trusted"] == ["phone"]


def test_what_equals_the_environment_goes_on_following_it(api, settings):
    api.patch(ADDRESS, {"waiting_days": 90, "limits": {"email": 100}, "never": []})
    settings.WAITING_DAYS = 30
    assert api.get(ADDRESS)[1]["waiting_days"] == 30
    assert not IdentityRules.objects.exists()


def test_each_change_tells_who_made_it_and_what_it_was(api):
    for days in (10, 10, 20):
        api.patch(ADDRESS, {"waiting_days": days})
    rows = api.get(f"{ADDRESS}history/")[1]["results"]
    assert [row["waiting_days"] for row in rows] == [20, 10]
    assert all("API key" in row["by"] for row in rows)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"trusted": ["loyalty"]}, "trusted"),
        ({"shared": ["customer_id"]}, "shared"),
        ({"shared": ["email"]}, "shared"),
        ({"limits": {"customer_id": 2}}, "limits"),
        ({"limits": {"Not A Kind": 2}}, "limits"),
        ({"limits": {"email": 0}}, "limits"),
        ({"waiting_days": -1}, "waiting_days"),
        ({"wating_days": 1}, "wating_days"),
    ],
)
def test_what_cannot_be_a_rule_is_refused_by_name(given, fault, api):
    status, answer = api.patch(ADDRESS, given)
    assert status == 400
    assert answer["errors"][0]["attr"].startswith(fault)
    assert not IdentityRules.objects.exists()


def test_changed_rules_decide_who_comes_next_and_leave_the_past(api):
    people = [(("anonymous_id", f"a{n}"), ("email", "x@example.ch")) for n in range(2)]
    first = see(*people)
    assert len({*first}) == 2
    api.patch(ADDRESS, {"trusted": ["email"]})
    assert not Merge.objects.exists()
    assert len({*see(*people)}) == 1
    api.patch(ADDRESS, {"never": ["X@example.ch"], "limits": {"loyalty": 1}})
    assert identity.normalise("email", "x@example.ch") is None
    cards = [(("anonymous_id", "a0"), ("loyalty", number)) for number in "12"]
    assert len({*see(*cards)}) == 1
    usual = {"anonymous_id": 1000, "email": 100, "phone": 100}
    assert identity_rules.limits() == {**usual, "loyalty": 1}
    assert not Merge.objects.first().survivor.identifiers.filter(value="2").exists()


def test_another_process_notices_within_seconds_and_asks_seldom(
    monkeypatch, django_assert_num_queries
):
    times = iter([0.0, 1.0, 1.9, 2.1])
    memo = identity_rules.Memo()
    monkeypatch.setattr(identity_rules, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with django_assert_num_queries(1):
        assert memo.read().waiting_days is None
        assert memo.read().waiting_days is None
    IdentityRules.objects.create(waiting_days=7, by="another")
    assert memo.read().waiting_days is None
    assert memo.read().waiting_days == 7


@pytest.fixture
def administrator(client, django_user_model):
    user = django_user_model.objects.create_user("anna", password="x", is_staff=True)
    user.groups.add(*user.groups.model.objects.filter(name="Administrator"))
    client.force_login(user)
    return client


PAGE = "admin:customers_identityrules_changelist"
TYPED = {
    "trusted": ["email"],
    "shared": "household, company_card",
    "anonymous_id": "50",
    "email": "100",
    "phone": "100",
    "own_limits": "loyalty = 1\n",
    "never": "kiosk-7\ninfo@shop.example",
    "waiting_days": "30",
}


def test_administrator_changes_the_rules_on_their_page_and_takes_them_back(administrator):
    assert administrator.get(reverse(PAGE)).status_code == 200
    assert administrator.post(reverse(PAGE), {**TYPED, "save": ""}).status_code == 302
    assert identity_rules.current() == {
        "trusted": ["email"],
        "shared": ["company_card", "household"],
        "limits": {"anonymous_id": 50, "email": 100, "phone": 100, "loyalty": 1},
        "never": ["info@shop.example", "kiosk-7"],
        "waiting_days": 30,
    }
    page = administrator.get(reverse(PAGE)).content.decode()
    assert "anna" in page
    assert "as installed → 30" in page
    administrator.post(reverse(PAGE), {"reset": ""})
    assert identity_rules.current() == identity_rules.defaults()
    assert IdentityRules.objects.count() == 2


def test_page_shows_what_is_wrong_beside_what_was_typed(administrator):
    page = administrator.post(reverse(PAGE), {**TYPED, "own_limits": "loyalty = many"})
    assert "“many” is no whole number." in page.content.decode()
    assert "loyalty = many" in page.content.decode()
    assert not IdentityRules.objects.exists()


def test_only_administrators_change_the_rules(client, django_user_model):
    user = django_user_model.objects.create_user("ben", password="x", is_staff=True)
    user.groups.add(*user.groups.model.objects.filter(name="Marketer"))
    client.force_login(user)
    assert client.post(reverse(PAGE), TYPED).status_code == 403
    assert "customers.identityrules" not in roles.ROLES["Marketer"]

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from cdp import apikeys
from cdp.models import ApiKey
from tests.makers import Api

pytestmark = pytest.mark.django_db


def test_key_is_kept_as_a_digest_only():
    row, key = apikeys.create("shop")
    assert key.startswith("cdp_")
    assert key not in str(ApiKey.objects.values().get())
    assert key.startswith(row.prefix)


def test_revoked_key_is_unknown():
    row, key = apikeys.create("shop")
    assert Api(key).get("/api/customers/")[0] == 200
    row.revoked_at = now()
    row.save()
    assert Api(key).get("/api/customers/")[0] == 401


def test_use_is_noted_once_a_minute(django_assert_num_queries):
    _, key = apikeys.create("shop")
    Api(key).get("/api/segments/")
    assert ApiKey.objects.get().last_used_at is not None
    with django_assert_num_queries(2):
        Api(key).get("/api/segments/")


def test_command_prints_the_key_and_nothing_else(capsys):
    call_command("create_api_key", "shop", "--scopes", "customers:read, segments:write")
    key = capsys.readouterr().out
    assert key.endswith("\n")
    assert Api(key.strip()).get("/api/customers/")[0] == 200
    assert Api(key.strip()).get("/api/segments/")[0] == 403


def test_command_gives_every_scope_by_default(capsys):
    call_command("create_api_key", "shop")
    assert ApiKey.objects.get().scopes == sorted(apikeys.ALL_SCOPES)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["taken"], "choose another name"),
        (["x", "--scopes", "customer:read"], "customers:read"),
        (["x", "--scopes", ""], "leave it out"),
        ([" "], "1 to 100 characters"),
    ],
)
def test_command_says_what_would_be_right(arguments, advice):
    apikeys.create("taken")
    with pytest.raises(CommandError, match=advice):
        call_command("create_api_key", *arguments)
    assert ApiKey.objects.count() == 1


def test_too_many_requests_are_told_when_to_come_back(api, monkeypatch):
    monkeypatch.setattr(apikeys, "REQUESTS_A_MINUTE", 3)
    answers = [api.client.get("/api/customers/", headers=api.headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60

"""Every address of the API against every kind of credential, walked from the URLconf."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import URLPattern, get_resolver
from rest_framework.test import APIClient

from cdp import apikeys
from tests.makers import Api

pytestmark = pytest.mark.django_db

UUID = "0198c0de-0000-7000-8000-000000000000"
# Address: {method: the scopes it takes}. What is new must be entered here.
READ_WRITE = {"get": "read", "post": "write"}
ONE = {"get": "read", "put": "write", "patch": "write", "delete": "write"}
SCOPES = {
    "customer-fields/": {m: f"customer-fields:{r}" for m, r in READ_WRITE.items()},
    "customer-fields/x/": {m: f"customer-fields:{r}" for m, r in ONE.items()},
    "customers/": {
        "get": "customers:read",
        "post": "customers:write",
        "put": "customers:write",
    },
    "customers/1/": {
        "get": "customers:read",
        "patch": "customers:write",
        "delete": "customers:write",
    },
    "customers/1/changes/": {"get": "customers:read"},
    "customers/1/consents/": {"get": "consents:read"},
    "customers/1/consent-history/": {"get": "consents:read"},
    "consent-purposes/": {m: f"consents:{r}" for m, r in READ_WRITE.items()},
    "consent-purposes/x/": {m: f"consents:{r}" for m, r in ONE.items()},
    "consents/": {m: f"consents:{r}" for m, r in (READ_WRITE | {"put": "write"}).items()},
    "suppressions/": {m: f"consents:{r}" for m, r in (READ_WRITE | {"delete": "write"}).items()},
    "suppressions/removals/": {"get": "consents:read"},
    "customers/1/events/": {"get": "events:read"},
    "customers/1/export/": {
        "get": "customers:read events:read segments:read activation:read personal-data:read"
    },
    "customers/1/identifiers/": {"get": "customers:read"},
    "customers/1/identifiers/detach/": {"get": "customers:read", "post": "customers:write"},
    "customers/1/merges/": {"get": "customers:read", "post": "customers:write"},
    "customers/1/merges/1/undo/": {"get": "customers:read", "post": "customers:write"},
    "customers/1/memberships/": {"get": "segments:read"},
    "customers/1/explain/": {"get": "segments:read"},
    "possible-duplicates/": {"get": "customers:read"},
    "possible-duplicates/1/": {"get": "customers:read"},
    "possible-duplicates/1/dismiss/": {"post": "customers:write"},
    "possible-duplicates/1/merge/": {"post": "customers:write"},
    "possible-duplicates/find/": {"post": "customers:write"},
    "erasures/": {"get": "customers:read"},
    f"erasures/{UUID}/": {"get": "customers:read"},
    "identity-rules/": {"get": "identity-rules:read", "patch": "identity-rules:write"},
    "identity-rules/history/": {"get": "identity-rules:read"},
    "events/": {"get": "events:read"},
    "event-names/": {"get": "events:read"},
    "event-names/1/": {"get": "events:read", "patch": "events:write"},
    "quarantine/": {"get": "events:read"},
    "quarantine/replay/": {"post": "events:write"},
    "quarantine/1/": {"get": "events:read"},
    "quarantine/1/replay/": {"post": "events:write"},
    "waiting-events/": {"get": "events:read"},
    "waiting-events/1/": {"get": "events:read", "delete": "events:write"},
    "sources/": {m: f"sources:{r}" for m, r in READ_WRITE.items()},
    "sources/x/": {"get": "sources:read", "put": "sources:write", "patch": "sources:write"},
    "sources/x/rotate/": {"post": "sources:write"},
    "sources/x/try/": {"post": "sources:read"},
    "imports/": {m: f"imports:{r}" for m, r in READ_WRITE.items()},
    "imports/1/": {"get": "imports:read", "delete": "imports:write"},
    "imports/1/apply/": {"post": "imports:write"},
    "imports/1/resume/": {"post": "imports:write"},
    "imports/1/stop/": {"post": "imports:write"},
    "imports/1/undo/": {"post": "imports:write"},
    "imports/1/kept.csv/": {"get": "imports:read personal-data:read"},
    "imports/1/errors.csv": {"get": "imports:read personal-data:read"},
    "imports/1/errors.csv/": {"get": "imports:read personal-data:read"},
    "imports/example.csv/": {"get": "imports:read"},
    "exports/": {m: f"exports:{r}" for m, r in READ_WRITE.items()},
    "exports/1/": {"get": "exports:read", "delete": "exports:write"},
    "exports/1/file/": {"get": "exports:read"},
    "segments/": {m: f"segments:{r}" for m, r in READ_WRITE.items()},
    "segments/preview/": {"post": "segments:read"},
    "segments/x/": {m: f"segments:{r}" for m, r in ONE.items()},
    "segments/x/members/": {
        "get": "segments:read",
        "post": "segments:write",
        "delete": "segments:write",
    },
    "segments/x/history/": {"get": "segments:read"},
    "segments/x/members/file/": {"post": "segments:write"},
    "segments/x/sizes/": {"get": "segments:read"},
    "segments/x/versions/": {"get": "segments:read"},
    "destinations/": {m: f"activation:{r}" for m, r in READ_WRITE.items()},
    "destinations/x/": {m: f"activation:{r}" for m, r in ONE.items()},
    "destinations/x/test/": {"post": "activation:write"},
    "destinations/presets/": {"get": "activation:read"},
    "destinations/preview/": {"post": "activation:write customers:read"},
    "destinations/x/rotate/": {"post": "activation:write"},
    "triggers/": {m: f"activation:{r}" for m, r in READ_WRITE.items()},
    "triggers/x/": {m: f"activation:{r}" for m, r in ONE.items()},
    "triggers/x/test/": {"post": "activation:write customers:read"},
    "triggers/x/forecast/": {"get": "activation:read"},
    "triggers/x/why/": {"get": "activation:read customers:read"},
    "deliveries/": {"get": "activation:read customers:read"},
    "deliveries/replay/": {"post": "activation:write customers:read"},
    f"deliveries/{UUID}/": {"get": "activation:read customers:read"},
    f"deliveries/{UUID}/replay/": {"post": "activation:write customers:read"},
}
NOWHERE = ""  # every other address
PUBLIC = {"schema/", "docs/", NOWHERE}
SAMPLES = {"pk": "1", "merge_id": "1", "name": "x", "key": "x"}


def addresses(patterns, prefix=""):
    """(sample address, view) of every pattern."""
    for pattern in patterns:
        address = prefix + str(pattern.pattern).lstrip("^").removesuffix("$").replace("\\Z", "")
        if isinstance(pattern, URLPattern):
            yield sample(address), pattern.callback
        else:
            yield from addresses(pattern.url_patterns, address)


def sample(address):
    """Fill each named part of a pattern with an example."""
    address = re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", filled, address)
    return re.sub(r"<(?:\w+:)?(\w+)>", filled, address)


def filled(found):
    return UUID if "32,36" in found[0] else SAMPLES.get(found[1], found[0])


def served():
    found = {}
    for address, view in addresses(get_resolver().url_patterns):
        if address.startswith("api/") and not address.startswith("api/s/"):
            methods = set(getattr(view, "actions", None) or ()) & set(view.cls.http_method_names)
            found.setdefault(address.removeprefix("api/"), set()).update(methods - {"head"})
    return found


CASES = [(path, method) for path, scopes in SCOPES.items() for method in scopes]


def test_every_address_and_method_is_entered_here():
    expected = {path: set(scopes) for path, scopes in SCOPES.items()}
    assert served() == expected | {path: set() for path in PUBLIC}


@pytest.mark.parametrize("key", [None, "cdp_wrong", ""])
def test_without_a_key_the_answer_is_401(db, key):
    for path, method in CASES:
        status, answer = getattr(Api(key), method)(f"/api/{path}")
        assert (status, answer["type"]) == (401, "client_error"), (method, path)


@pytest.mark.parametrize("path", SCOPES)
def test_a_key_needs_exactly_these_scopes(db, path):
    for method, needed in SCOPES[path].items():
        for scope in needed.split():
            without = Api(apikeys.create(f"{method} {scope}", {*apikeys.ALL_SCOPES} - {scope})[1])
            status, answer = getattr(without, method)(f"/api/{path}", {})
            assert (status, answer["errors"][0]["code"]) == (403, "permission_denied"), method
        holder = Api(apikeys.create(method, needed.split())[1])
        assert getattr(holder, method)(f"/api/{path}", {})[0] in (200, 400, 404, 415), method


METHODS = ("get", "post", "put", "patch", "delete", "options", "trace")


@pytest.mark.parametrize("path", [*SCOPES, "nowhere", "no/where/", "schema/"])
def test_whatever_is_asked_the_answer_is_json_and_no_500(api, path):
    for method in METHODS:
        status, answer = getattr(api, method)(f"/api/{path}", {})
        assert status in (200, 400, 404, 405, 415), method
        assert isinstance(answer, dict) or path.endswith(".csv/"), method


@pytest.mark.parametrize("path", sorted(PUBLIC - {NOWHERE}))
def test_description_is_open_to_all(db, path):
    assert APIClient().get(f"/api/{path}").status_code == 200


def staff(*permissions):
    user = User.objects.create_user("anna", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_staff_read_what_they_may_view(db):
    client = staff("view_segment")
    assert client.get("/api/segments/").status_code == 200
    assert client.get("/api/customers/").status_code == 403


def test_staff_cannot_write_without_a_csrf_token(db):
    client = staff("add_segment")
    answer = client.post("/api/segments/", {}, format="json")
    assert (answer.status_code, "CSRF" in answer.json()["errors"][0]["detail"]) == (403, True)


def test_users_outside_the_staff_may_nothing(db):
    client = APIClient()
    client.force_login(User.objects.create_user("bob"))
    assert client.get("/api/customers/").status_code == 403

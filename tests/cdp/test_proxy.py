"""Behind a proxy that speaks HTTPS: who asks, what browsers are told, what machines may do."""

import os
import subprocess
import sys

import pytest
from django.conf import settings as project
from django.contrib.auth.models import User
from django.test import Client

from cdp import proxy

MACHINES = ["/healthz", "/v1/track", "/api/customers/", "/cdp.js", "/sourceConfig/"]
PEOPLE = ["/", "/admin/", "/admin/login/", "/unsubscribe/x/"]


@pytest.fixture
def https(settings, db):
    """As CDP_HTTPS=1 sets it."""
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 1000
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True


def test_nothing_is_left_to_say_about_production():
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    environment = os.environ | {"CDP_HTTPS": "1", "CDP_ALLOWED_HOSTS": "cdp.example.com"}
    environment |= {"CDP_SECRET_KEY": "a-key-of-more-than-fifty-letters-0123456789-abcdefgh"}
    environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # of the tests that drive a browser
    done = subprocess.run(
        command, env=environment, cwd=project.BASE_DIR, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_people_are_led_to_https_and_machines_never(https):
    client = Client()
    for path in PEOPLE:
        assert client.get(path)["Location"] == f"https://testserver{path}"
    assert {client.post(path).status_code for path in MACHINES}.isdisjoint({301, 302})


def test_cookies_stay_within_https_and_forms_are_taken(https):
    User.objects.create_superuser("boss", password="pass-word-12")
    through_proxy = {"x-forwarded-proto": "https", "host": "testserver"}
    client = Client(enforce_csrf_checks=True, headers=through_proxy)
    page = client.get("/admin/login/")
    assert page["Strict-Transport-Security"] == "max-age=1000"
    token = page.cookies["csrftoken"]
    form = {"username": "boss", "password": "pass-word-12", "csrfmiddlewaretoken": token.value}
    answer = client.post("/admin/login/", form, headers={"origin": "https://testserver"})
    assert answer.status_code == 302
    assert token["secure"]
    assert answer.cookies["sessionid"]["secure"]
    assert answer.cookies["sessionid"]["httponly"]


def test_address_is_what_the_proxy_saw(rf, settings):
    request = rf.get("/", headers={"x-forwarded-for": "6.6.6.6, 203.0.113.7"})
    settings.HTTPS = False
    assert proxy.client_address(request) == "127.0.0.1"
    settings.HTTPS = True
    assert proxy.client_address(request) == "203.0.113.7"
    assert proxy.client_address(rf.get("/")) == "127.0.0.1"


def test_stranger_who_guesses_locks_out_nobody_but_themselves(https, settings):
    settings.AXES_FAILURE_LIMIT = 2
    User.objects.create_superuser("boss", password="pass-word-12")

    def sign_in(password, address):
        client = Client(headers={"x-forwarded-proto": "https", "x-forwarded-for": address})
        form = {"username": "boss", "password": password}
        return client.post("/admin/login/", form).status_code

    assert {sign_in("guess", f"10.9.8.{n}, 203.0.113.7") for n in range(2)} == {200, 429}
    assert sign_in("pass-word-12", "203.0.113.7") == 429
    assert sign_in("pass-word-12", "198.51.100.1") == 302


def test_probes_are_answered_by_whatever_name_they_ask(settings, db, client):
    """As `up` itself and load balancers do: by 127.0.0.1, whatever the hosts served are."""
    settings.ALLOWED_HOSTS = ["cdp.example.com"]
    assert client.get("/readyz", headers={"host": "127.0.0.1:8000"}).json()["parts"]["web"] == "ok"
    assert client.get("/healthz", headers={"host": "10.0.0.5"}).status_code == 200
    assert client.get("/admin/", headers={"host": "127.0.0.1:8000"}).status_code == 400

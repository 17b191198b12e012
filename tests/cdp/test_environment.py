"""What the environment says: each value that cannot be is refused in a line of its own."""

import os
import runpy
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from cdp import environment
from cdp.environment import Environment

WRONG = {
    "DATABASE_URL": [
        "hello",
        "mysql://u:secret@h/d",
        "postgresql://u:secret@h:x/d",
        "postgres://h",
    ],
    "CDP_PORT": ["abc", "-1", "65536", "8000.5"],
    "CDP_PUBLIC_URL": ["cdp.example.com", "ftp://x", "https://", "https://x/?a=b"],
    "CDP_CURRENCY": ["Franken", "CH", "12F", "€UR"],
    "CDP_COUNTRY": ["Switzerland", "XX"],
    "CDP_TIME_ZONE": ["Zurich", "../etc/passwd", "Europe"],
    "CDP_DEMO": ["maybe"],
    "CDP_DEBUG": ["2"],
    "CDP_HTTPS": ["https"],
    "CDP_ALLOWED_HOSTS": ["https://cdp.example.com", "a.com,b c"],
    "CDP_TRUSTED_ORIGINS": ["cdp.example.com", "https://a/b"],
    "CDP_EMAIL_URL": ["mail.example.com", "imap://u:secret@h", "smtp://:secret@", "smtp://h:x"],
    "CDP_EMAIL_BACKEND": ["brevo", "anymail.backends.nowhere.EmailBackend"],
    "CDP_ANYMAIL": ["{", "[]", "secret"],
    "CDP_DELIVERY_LOG_DAYS": ["-1", "ninety"],
    "CDP_WAITING_DAYS": ["3651"],
    "CDP_TOMBSTONE_DAYS": ["1.5"],
    "CDP_WEBHOOK_ALLOW_PRIVATE": ["10.0.0.0/33", "localhost"],
    "CDP_TRUSTED_IDENTIFIERS": ["email,loyalty"],
    "CDP_SHARED_IDENTIFIERS": ["email", "House hold"],
    "CDP_IDENTIFIER_LIMITS": ["email", "email=", "email=0", "email=-1", "customer_id=2"],
    "CDP_ERASURE_LOG": ["/", "/nowhere/at/all/erasures.jsonl"],
}


CASES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES)
def test_wrong_value_is_refused_in_a_line_that_keeps_secrets(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refusal:
        runpy.run_module("cdp.settings")
    [line] = str(refusal.value).splitlines()
    assert line.startswith(f"{name} ")
    assert line.endswith(".")
    assert "secret" not in line


def start(**given):
    """Start the product with these variables; return what it says."""
    env = {k: v for k, v in os.environ.items() if "CDP_" not in k and k != "DATABASE_URL"} | given
    argv = [sys.executable, settings.BASE_DIR / "manage.py", "up"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    return done.stderr.splitlines()


def test_all_mistakes_are_told_at_once_and_nothing_starts(tmp_path):
    lines = start(CDP_DATA_DIR=str(tmp_path / "var"), CDP_PORT="abc", CDP_CURRENCY="Franken")
    assert lines == [
        "CDP_PORT is 'abc': it must be a whole number from 0 to 65535.",
        "CDP_CURRENCY is 'Franken': it must be the three letters of a currency, such as CHF.",
    ]
    assert not (tmp_path / "var").exists()


def test_provider_without_its_key_is_refused(tmp_path):
    backend = {"CDP_EMAIL_BACKEND": "anymail.backends.brevo.EmailBackend"}
    [line] = start(CDP_DATA_DIR=str(tmp_path), CDP_SECRET_KEY="x" * 50, **backend)
    assert line.startswith("CDP_EMAIL_BACKEND with CDP_ANYMAIL: ")
    assert "BREVO_API_KEY" in line


@pytest.mark.parametrize("with_key", [{}, {"CDP_SECRET_KEY": "x" * 50}])
def test_data_directory_that_cannot_be_is_refused(tmp_path, with_key):
    (tmp_path / "file").touch()
    [line] = start(CDP_DATA_DIR=str(tmp_path / "file" / "var"), CDP_PORT="0", **with_key)
    assert "CDP_DATA_DIR cannot be used" in line


def read(reader, text):
    env = Environment({"X": text})
    found = env.read("X", None, reader)
    env.check()
    return found


@pytest.mark.parametrize(
    ("reader", "text", "found"),
    [
        (environment.switch, " Off ", False),
        (environment.number(0, 9), "9", 9),
        (environment.currency, "eur", "EUR"),
        (environment.country, "at", "AT"),
        (environment.time_zone, "America/New_York", "America/New_York"),
        (environment.words, " a, ,b,", ["a", "b"]),
        (environment.each(environment.is_host, "x"), "*,.a.com,[::1]", ["*", ".a.com", "[::1]"]),
        (environment.each(environment.is_origin, "x"), "https://*.a.com", ["https://*.a.com"]),
        (environment.each(environment.is_network, "x"), "10.0.0.1/8,::1", ["10.0.0.1/8", "::1"]),
        (environment.web_address, "https://a.com/cdp/", "https://a.com/cdp"),
        (environment.limits({"a": 1, "b": 2}), " a = 3,c=4", {"a": 3, "b": 2, "c": 4}),
        (environment.provider, '{"A": 1}', {"A": 1}),
        (environment.number(0, 9), "", None),
    ],
)
def test_right_value_is_read(reader, text, found):
    assert read(reader, text) == found


def test_mail_server_with_its_password_is_read():
    found = read(environment.mail_server, "smtp+tls://me:p%40ss@mail.example.com:587")
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert (found["EMAIL_HOST_PASSWORD"], found["EMAIL_USE_TLS"]) == ("p@ss", True)

"""Reading the environment: each value that cannot be is told in one line, all of them at once."""

import importlib.util
import ipaddress
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
import phonenumbers
from django.core.exceptions import ImproperlyConfigured

from events import amounts

T = TypeVar("T")
_KIND: Final = re.compile(r"[a-z][a-z0-9_.-]{0,49}")
_HOST: Final = re.compile(r"\*|\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\]", re.IGNORECASE)
_SWITCH: Final = {
    **dict.fromkeys(("1", "true", "yes", "on", "y", "ok"), True),
    **dict.fromkeys(("0", "false", "no", "off", "n"), False),
}


class Environment:
    """The variables, read one by one; an empty one is as good as none."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Return it as it is."""
        return self._values.get(name) or default

    def read(
        self, name: str, default: T, reader: Callable[[str], T], *, is_secret: bool = False
    ) -> T:
        """Return what `reader` makes of it.

        Its ValueError says what a value must be: it is kept for `check`, which does not repeat a
        secret.
        """
        given = self.text(name).strip()
        if not given:
            return default
        try:
            return reader(given)
        except ValueError as error:
            self._problems.append(f"{name} {'' if is_secret else f'is {given!r}: it '}{error}.")
            return default

    def check(self) -> None:
        """Raise ImproperlyConfigured, with a line for each value that could not be read."""
        if self._problems:
            raise ImproperlyConfigured("\n".join(self._problems))


def switch(text: str) -> bool:
    if text.lower() not in _SWITCH:
        raise ValueError("must be 1 or 0")
    return _SWITCH[text.lower()]


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def words(text: str) -> list[str]:
    """Split a list at its commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def each(test: Callable[[str], object], wanted: str) -> Callable[[str], list[str]]:
    """Return a reader of lists whose words all pass a test: say no, or raise ValueError."""

    def read(text: str) -> list[str]:
        for word in words(text):
            if not _passes(test, word):
                raise ValueError(f"must be {wanted}, and {word!r} is not")
        return words(text)

    return read


def _passes(test: Callable[[str], object], word: str) -> bool:
    try:
        return bool(test(word))
    except ValueError:
        return False


def currency(text: str) -> str:
    if not amounts.is_currency(text):
        raise ValueError("must be the three letters of a currency, such as CHF")
    return text.upper()


def country(text: str) -> str:
    if text.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError("must be the two letters of a country (ISO 3166), such as CH")
    return text.upper()


def time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (OSError, ValueError, LookupError):
        raise ValueError("must be the name of a time zone, such as Europe/Zurich") from None
    return text


def file(text: str) -> Path:
    path = Path(text).resolve()
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError("must be a file in a directory that is there")
    return path


def database(text: str) -> str:
    """Check the URL of a PostgreSQL."""
    if not _is_url(text, ("postgresql", "postgres", "pgsql")) or not urlsplit(text).path.strip("/"):
        raise ValueError("must be like postgresql://user:password@host/name")
    return text


def web_address(text: str) -> str:
    """Check where the product is reached from outside."""
    url = text.rstrip("/")
    if not _is_url(url, ("http", "https")) or not urlsplit(url).hostname or {*"?#"} & {*url}:
        raise ValueError("must be like https://cdp.example.com")
    return url


def is_host(word: str) -> bool:
    return bool(_HOST.fullmatch(word))


def is_origin(word: str) -> bool:
    return _is_url(word, ("http", "https")) and bool(re.fullmatch(r"https?://[^/?#]+", word))


def is_network(word: str) -> bool:
    return bool(ipaddress.ip_network(word, strict=False))


def is_kind_of_ours(word: str) -> bool:
    """Say whether it may be a kind of identifier that the product does not know by itself."""
    return bool(_KIND.fullmatch(word)) and word not in ("customer_id", "email", "phone")


def limits(usual: Mapping[str, int]) -> Callable[[str], dict[str, int]]:
    """Return a reader of how many identifiers of a kind one profile takes, beside the usual."""

    def read(text: str) -> dict[str, int]:
        found = dict(usual)
        for pair in words(text):
            kind, _, limit = (part.strip() for part in pair.partition("="))
            if not (_KIND.fullmatch(kind) and re.fullmatch("[1-9][0-9]{0,8}", limit)):
                raise ValueError(
                    "must be kinds and numbers from 1 on, as in anonymous_id=50,loyalty=1, "
                    f"and {pair!r} is not"
                )
            if kind == "customer_id":
                raise ValueError("names customer_id, of which a profile has one: leave it out")
            found[kind] = int(limit)
        return found

    return read


def provider(text: str) -> dict[str, Any]:
    """Read the settings of an e-mail provider."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError('must be JSON like {"BREVO_API_KEY": "…"}')
    return found


def backend(text: str) -> str:
    """Check that the module of a backend is installed."""
    module, _, name = text.rpartition(".")
    try:
        is_there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        is_there = False
    if not (is_there and name.isidentifier()):
        raise ValueError("must be an installed backend, as anymail.backends.brevo.EmailBackend")
    return text


def mail_server(text: str) -> dict[str, Any]:
    """Read the URL of a mail server into Django's settings."""
    schemes: Collection[str] = environ.Env.EMAIL_SCHEMES
    if not _is_url(text, schemes) or (text.startswith("smtp") and not urlsplit(text).hostname):
        raise ValueError("must be like smtp+tls://user:password@host:587")
    found: dict[str, Any] = environ.Env.email_url_config(text)
    return found


def _is_url(text: str, schemes: Collection[str]) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in schemes and "://" in text and (url.port is None or url.port > 0)
    except ValueError:
        return False

"""SMS, push and chat by apprise: an optional extra (`chat`), for administrators only.

Only services whose addresses are fixed on the public internet, so that nobody makes this server
call into the private network: what names a host of its own is a case for a webhook.
"""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import quote

import apprise

from activation import templating
from activation.carriers import Answer, Carrier, ConfigError, Kind, Message, Request
from activation.templating import TemplateError

# Services at fixed addresses, that take neither files nor addresses from their URL.
SERVICES = frozenset(
    {
        *("bulksms", "burstsms", "clickatell", "clicksend", "d7sms", "discord", "flock", "gchat"),
        *("guilded", "join", "kavenegar", "line", "msg91", "msgbird", "nexmo", "onesignal"),
        *("pbul", "plivo", "pover", "prowl", "seven", "simplepush", "sinch", "slack", "telnyx"),
        *("tgram", "threema", "twilio", "twist", "viber", "vonage", "webex", "whatsapp"),
        *("wxteams", "zulip"),
    }
)
_MEMBERS = {"url", "title", "body"}


class ChatKind(Kind):
    label = "SMS, push or chat"
    admin_only = True
    channel = "phone"
    is_signed = False

    def check(self, config: Any) -> None:
        if not isinstance(config, dict) or not isinstance(config.get("url"), str):
            raise ConfigError("url", 'Needs {"url": "twilio://…", "body": "…"}.')
        if unknown := sorted(map(str, config.keys() - _MEMBERS)):
            raise ConfigError(unknown[0][:50], "Unknown; there are url, title and body.")
        for member in ("title", "body"):
            text = config.get(member, "" if member == "title" else None)
            if not isinstance(text, str) or (member == "body" and not text.strip()):
                raise ConfigError(member, "A text, in Liquid.")
        try:
            for text in config.values():
                templating.check(text)
            _service(templating.fill(config["url"], {"phone": "41791234567", "email": "a%40b.ch"}))
        except TemplateError as error:
            raise ConfigError("url", str(error)) from error

    def secret_paths(self, config: dict[str, Any]) -> list[tuple[str, ...]]:
        return [("url",)]

    def receiver(self, config: dict[str, Any]) -> str:
        return self.label

    def words(self, message: Message) -> str:
        return json.dumps(_texts(message))

    def describe(self, message: Message) -> Request:
        try:
            title, body = _texts(message)
        except TemplateError as error:
            raise ConfigError("body", str(error)) from error
        return Request("NOTIFY", "(hidden)", {"Title": title} if title else {}, body)

    def carrier(self) -> AbstractContextManager[Carrier]:
        return _carrier()


def _service(url: str) -> apprise.NotifyBase:
    """Return what sends to this address. Raises ConfigError unless it is one that we allow."""
    schema = url.partition("://")[0].lower()
    if schema not in SERVICES or "?" in url:
        known = ", ".join(sorted(SERVICES))
        raise ConfigError("url", f"An address of apprise without options (?…), of one of: {known}.")
    found = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    if not isinstance(found, apprise.NotifyBase):
        raise ConfigError("url", f"Not a complete address of {schema}://; see apprise's wiki.")
    return found


def _texts(message: Message) -> tuple[str, str]:
    """Return the title and the text of a message: those kept for it, if there are."""
    part = message.parts[0]
    if part.sent:
        title, text = json.loads(part.sent)
        return title, text
    context = templating.context_of(part.body, part.id)
    title = templating.fill(message.config.get("title", ""), context)
    return title, templating.fill(message.config["body"], context)


class _Chat:
    def send(self, message: Message) -> Answer:
        began = time.monotonic()
        try:
            answer = _attempt(message)
        except (TemplateError, ConfigError) as error:
            answer = Answer(None, 0, f"Not sent: {error}", is_ours=True)
        return answer._replace(ms=round((time.monotonic() - began) * 1_000))


def _attempt(message: Message) -> Answer:
    title, body = _texts(message)
    context = templating.context_of(message.parts[0].body, "")
    names = {
        name: quote(templating.receiver(context, name), safe="") for name in ("phone", "email")
    }
    url = message.config["url"]
    if "phone" in url and "{{" in url and not names["phone"]:
        return Answer(None, 0, "Not sent: the customer has no phone number.", is_ours=True)
    if _service(templating.fill(url, names)).notify(body=body, title=title):
        return Answer(200, 0, text="Accepted")
    return Answer(None, 0, "The service did not take it; the server's log says more.")


@contextmanager
def _carrier() -> Iterator[_Chat]:
    yield _Chat()

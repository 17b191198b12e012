"""E-mails: written with Liquid, sent by SMTP or any provider that the operator has set up.

Each has a link by which the customer says that they want no more, also for the button of
one click that mail programs show.
"""

import html
import json
import re
import smtplib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from anymail.exceptions import AnymailAPIError, AnymailError, AnymailRecipientsRefused
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email

from activation import templating
from activation.carriers import Answer, Carrier, ConfigError, Kind, Message, Part, Request
from activation.templating import TemplateError
from customers import exact
from customers.consent import links

MAX_SUBJECT = 500
NOT_SET_UP = (
    "This product has no way to send e-mail yet: whoever runs it sets CDP_EMAIL_URL "
    "(SMTP) or CDP_EMAIL_BACKEND (a provider)."
)
_MEMBERS = {"from", "reply_to", "subject", "html", "text"}
_NAMED = re.compile(r"\s*(?P<name>[^<>\r\n]*?)\s*<(?P<address>[^<>\s]+)>\s*")


class NoAddressError(ValueError):
    """The customer has no e-mail address that could be right."""


class EmailKind(Kind):
    label = "E-mail"
    channel = "email"
    needs_address = True
    is_signed = False

    def check(self, config: Any) -> None:
        if not isinstance(config, dict):
            raise ConfigError("from", 'An e-mail needs {"from", "subject", "html"}.')
        if unknown := sorted(map(str, config.keys() - _MEMBERS)):
            raise ConfigError(unknown[0][:50], f"Unknown; there are {', '.join(sorted(_MEMBERS))}.")
        if not is_set_up():
            raise ConfigError("from", NOT_SET_UP)
        _check_address(config, "from")
        if "reply_to" in config:
            _check_address(config, "reply_to")
        if not config.get("html") and not config.get("text"):
            raise ConfigError("html", "Write the message: as HTML, as text, or both.")
        for member in ("subject", "html", "text"):
            if member in config or member == "subject":
                _check_template(config, member)

    def where(self, config: dict[str, Any]) -> str:
        return f"E-mail from {config.get('from', '')}"

    def words(self, message: Message) -> str:
        return _kept(write(message))

    def describe(self, message: Message) -> Request:
        try:
            email = write(message)
        except (TemplateError, NoAddressError) as error:
            raise ConfigError("text", str(error)) from error
        headers = {"Subject": email.subject, "From": email.from_email, **email.extra_headers}
        markup = "".join(str(part[0]) for part in email.alternatives)
        body = "\n\n".join(filter(None, [str(email.body), markup]))
        return Request("E-MAIL", ", ".join(email.to), headers, body, markup)

    def carrier(self) -> AbstractContextManager[Carrier]:
        return _carrier()


def is_set_up() -> bool:
    """Whether the operator has said how e-mail leaves this machine."""
    return bool(settings.EMAIL_BACKEND)


def _check_address(config: dict[str, Any], member: str) -> None:
    value = config.get(member)
    named = _NAMED.fullmatch(value) if isinstance(value, str) else None
    try:
        validate_email(named["address"] if named else value)
    except ValidationError as error:
        text = "An e-mail address: shop@example.com, or Shop <shop@example.com>."
        raise ConfigError(member, text) from error


def _check_template(config: dict[str, Any], member: str) -> None:
    text = config.get(member)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(member, "A text, in Liquid.")
    try:
        templating.check(text)
    except TemplateError as error:
        raise ConfigError(member, str(error)) from error


def write(message: Message) -> EmailMultiAlternatives:
    """Write the e-mail of a message, with a way out; in the words kept for it, if there are.

    Raises TemplateError, NoAddressError.
    """
    config, part = message.config, message.parts[0]
    context = templating.context_of(part.body, part.id)
    address = templating.receiver(context, "email")
    try:
        validate_email(address)
    except ValidationError:
        raise NoAddressError("The customer has no e-mail address, or none that works.") from None
    subject, words, markup, out = _words_of(part, config, context)
    email = EmailMultiAlternatives(
        subject,
        words,
        config["from"],
        [address],
        reply_to=[config["reply_to"]] if config.get("reply_to") else None,
        headers={
            "Message-ID": f"<{part.id}@{config['from'].rstrip('> ').rpartition('@')[2]}>",
            "List-Unsubscribe": f"<{out}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
    )
    if markup:
        email.attach_alternative(markup, "text/html")
    return email


def _words_of(
    part: Part, config: dict[str, Any], context: dict[str, Any]
) -> tuple[str, str, str, str]:
    if not part.sent:
        return _words(config, context)
    subject, words, markup, *out = json.loads(part.sent)
    return subject, words, markup, out[0] if out else _way_out(context)  # older ones have none


def _kept(email: EmailMultiAlternatives) -> str:
    """What of an e-mail is to be the same at every attempt: subject, text, HTML, the way out."""
    markup = "".join(str(part[0]) for part in email.alternatives)
    out = email.extra_headers["List-Unsubscribe"].strip("<>")
    return json.dumps([email.subject, email.body, markup, out])


def _words(config: dict[str, Any], context: dict[str, Any]) -> tuple[str, str, str, str]:
    """Fill the templates: subject, text, and HTML if there is any; and the way out."""
    context["unsubscribe_url"] = out = _way_out(context)
    subject = " ".join(templating.fill(config["subject"], context).split())[:MAX_SUBJECT]
    text, markup = config.get("text", ""), config.get("html", "")
    words = _with_way_out(text, out, context, is_html=False) if text else f"{subject}\n\n{out}\n"
    written = _with_way_out(markup, out, context, is_html=True) if markup else ""
    return subject, words, written, out


def _way_out(context: dict[str, Any]) -> str:
    customer_id = context["customer"].get("id")
    if customer_id is None:  # a message that only tries the destination
        return f"{settings.PUBLIC_URL}/"
    return links.unsubscribe_url(int(customer_id), str(context.get("consent") or ""))


def _with_way_out(template: str, out: str, context: dict[str, Any], *, is_html: bool) -> str:
    """Fill a template; one that forgot the link gets it at its end."""
    text = templating.fill(template, context, is_html=is_html)
    if "unsubscribe_url" in template:
        return text
    if is_html:
        return f'{text}\n<p><a href="{html.escape(out)}">Unsubscribe</a></p>'
    return f"{text}\n\nUnsubscribe: {out}\n"


class _Post:
    def send(self, message: Message) -> Answer:
        began = time.monotonic()
        answer = _attempt(message)
        return answer._replace(ms=round((time.monotonic() - began) * 1_000))


@contextmanager
def _carrier() -> Iterator[_Post]:
    yield _Post()


def _attempt(message: Message) -> Answer:
    if not is_set_up():
        return Answer(None, 0, f"Not sent: {NOT_SET_UP}")
    if exact.loads(message.parts[0].body).get("type") == "destination.test":
        return _knock()
    try:
        email = write(message)
    except (TemplateError, NoAddressError) as error:
        return Answer(None, 0, f"Not sent: {error}", is_ours=True)
    return _post(email)


def _post(email: EmailMultiAlternatives) -> Answer:
    try:
        email.send()
    except (smtplib.SMTPRecipientsRefused, AnymailRecipientsRefused) as error:
        return _refused(error)
    except smtplib.SMTPDataError as error:
        return _unwanted(error)
    except AnymailAPIError as error:
        return Answer(error.status_code, 0, f"The provider refused: {error}"[:300])
    except (smtplib.SMTPException, AnymailError, OSError, ValueError) as error:
        return Answer(None, 0, f"Not sent: {type(error).__name__}: {error}"[:300])
    return Answer(250, 0, text="Accepted")


def _knock() -> Answer:
    """Try whether somebody is there, without sending anything."""
    try:
        connection = get_connection()
        connection.open()
        connection.close()
    except (smtplib.SMTPException, AnymailError, OSError) as error:
        return Answer(None, 0, f"{type(error).__name__}: {error}"[:300])
    return Answer(250, 0, text="It answers; nothing was sent.")


def _refused(error: Exception) -> Answer:
    """The address was refused: for good if the code begins with 5."""
    codes = [code for code, _ in getattr(error, "recipients", {"": (550, b"")}).values()]
    is_for_good = all(500 <= code < 600 for code in codes)
    text = f"The address was refused: {error}"[:300]
    status = codes[0] if codes else None
    return Answer(status, 0, text, is_ours=is_for_good, is_personal=not is_for_good)


def _unwanted(error: smtplib.SMTPDataError) -> Answer:
    """The text was refused: for good if the code begins with 5, as spam say."""
    reason = error.smtp_error
    words = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
    if error.smtp_code >= 500:
        return Answer(error.smtp_code, 0, f"The e-mail was refused: {words}"[:300], is_ours=True)
    return Answer(None, 0, f"Not now, said the server: {error.smtp_code} {words}"[:300])

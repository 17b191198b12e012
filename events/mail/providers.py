"""The services that report what became of e-mails, as django-anymail knows them."""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from anymail.exceptions import AnymailWebhookValidationFailure
from anymail.webhooks import (
    amazon_ses,
    base,
    brevo,
    mailersend,
    mailgun,
    mailjet,
    mailtrap,
    mandrill,
    postal,
    postmark,
    resend,
    sendgrid,
    sparkpost,
    unisender_go,
)
from django.http import HttpRequest

from events.mail import amazon

_TOLERANCE: Final = 300  # seconds that a signature is valid
_OPEN: Final = "address:secret"  # anymail warns of hooks without a password; ours are secret


class UnverifiedError(Exception):
    """A report that is not signed by the service. The message is for people."""


class _Ses(amazon_ses.AmazonSESTrackingWebhookView):
    """Reads reports of SES without Amazon's library, which only confirms subscriptions."""

    def __init__(self, **kwargs: Any) -> None:
        self.auto_confirm_enabled = False
        base.AnymailBaseWebhookView.__init__(self, **kwargs)


class Provider(NamedTuple):
    """A service: how it is called, who reads its reports, and what its signing key is called.

    `sample` is a key that the reader takes when none is needed.
    """

    label: str
    view: type[base.AnymailBaseWebhookView]
    key_name: str = ""
    sample: str = ""


PROVIDERS: Final = {
    "ses": Provider("Amazon SES", _Ses, "topic_arn"),
    "brevo": Provider("Brevo", brevo.BrevoTrackingWebhookView),
    "mailersend": Provider(
        "MailerSend", mailersend.MailerSendTrackingWebhookView, "signing_secret", "none"
    ),
    "mailgun": Provider(
        "Mailgun", mailgun.MailgunTrackingWebhookView, "webhook_signing_key", "none"
    ),
    "mailjet": Provider("Mailjet", mailjet.MailjetTrackingWebhookView),
    "mailtrap": Provider("Mailtrap", mailtrap.MailtrapTrackingWebhookView, "tracking_secret"),
    "mandrill": Provider(
        "Mandrill (Mailchimp)", mandrill.MandrillCombinedWebhookView, "webhook_key", "none"
    ),
    "postal": Provider("Postal", postal.PostalTrackingWebhookView, "webhook_key", "none"),
    "postmark": Provider("Postmark", postmark.PostmarkTrackingWebhookView),
    "resend": Provider("Resend", resend.ResendTrackingWebhookView, "signing_secret"),
    "sendgrid": Provider(
        "SendGrid", sendgrid.SendGridTrackingWebhookView, "tracking_webhook_verification_key"
    ),
    "sparkpost": Provider("SparkPost", sparkpost.SparkPostTrackingWebhookView),
    "unisender_go": Provider(
        "Unisender Go", unisender_go.UnisenderGoTrackingWebhookView, "api_key", "none"
    ),
}
CHOICES: Final = [(key, provider.label) for key, provider in PROVIDERS.items()]
SIGNING: Final = {key for key, provider in PROVIDERS.items() if provider.key_name}


def verify(key: str, secret: str, request: HttpRequest) -> None:
    """Check that the service itself signed the report, if its signing key is known.

    Raises `UnverifiedError`, `amazon.UnreachableError`. Without a key the secret address is what
    shows that they know us.
    """
    if not secret or key not in SIGNING:
        return
    own: dict[str, Callable[[str, HttpRequest], None]] = {
        "resend": _verify_resend,
        "ses": _verify_ses,
    }
    check = own.get(key) or _verify_by_anymail(key)
    try:
        check(secret, request)
    except amazon.UnreachableError:
        raise
    except (AnymailWebhookValidationFailure, UnverifiedError) as error:
        raise UnverifiedError(str(error)) from error
    except Exception as error:  # what a stranger sends, or a key that is none
        raise UnverifiedError(f"The signature cannot be checked: {error}") from error


def _verify_by_anymail(key: str) -> Callable[[str, HttpRequest], None]:
    def check(secret: str, request: HttpRequest) -> None:
        provider = PROVIDERS[key]
        view = provider.view(**{provider.key_name: secret, "webhook_secret": _OPEN})
        view.basic_auth = []
        view.run_validators(request)

    return check


def _verify_ses(arn: str, request: HttpRequest) -> None:
    try:
        amazon.verify(arn, request.body)
    except amazon.ForgedError as error:
        raise UnverifiedError(str(error)) from error


def _verify_resend(secret: str, request: HttpRequest) -> None:
    """Check a signature as Standard Webhooks has it; anymail needs another library for that."""
    sent_id, sent_at = request.headers.get("svix-id", ""), request.headers.get("svix-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > _TOLERANCE:
        raise UnverifiedError("The report is not signed, or was signed too long ago.")
    try:
        raw = base64.b64decode(secret.removeprefix("whsec_"))
    except binascii.Error as error:
        raise UnverifiedError("The signing key of the source is none of Resend.") from error
    signed = f"{sent_id}.{sent_at}.".encode() + request.body
    wanted = base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()
    given = request.headers.get("svix-signature", "").split()
    if not any(hmac.compare_digest(one.encode(), f"v1,{wanted}".encode()) for one in given):
        raise UnverifiedError("The signature is not by the signing key of the source.")


def parse(key: str, request: HttpRequest) -> list[Any]:
    """Return the anymail events of a report. Raises whatever a report that is none makes it."""
    provider = PROVIDERS[key]
    options = {provider.key_name: provider.sample} if provider.sample else {}
    view = provider.view(**options, webhook_secret=_OPEN)
    return list(view.parse_events(request))

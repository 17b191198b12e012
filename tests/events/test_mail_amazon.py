"""Amazon SES reports by SNS: signed by Amazon, of the topic that the source names, or refused."""

import base64
import functools
import json
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from customers import clock
from events import sources
from events.mail import amazon
from events.models import Inbox, Quarantine

HOST = "sns.eu-central-1.amazonaws.com"
ARN = "arn:aws:sns:eu-central-1:123456789012:reports"
CERTIFICATE = f"https://{HOST}/SimpleNotificationService-0123abc.pem"
CLICK = {
    "eventType": "Click",
    "mail": {"messageId": "m1", "destination": ["ann@example.com"]},
    "click": {"timestamp": "2026-01-31T12:30:00Z", "link": "https://shop.example/sale"},
}
NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "n1",
    "TopicArn": ARN,
    "Message": json.dumps(CLICK),
    "Timestamp": "2026-01-31T12:30:00.000Z",
}
QUESTION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "n2",
    "TopicArn": ARN,
    "Token": "t&1",
    "Message": "You have chosen to subscribe",
    "SubscribeURL": "https://evil.example/",
    "Timestamp": "2026-01-31T12:30:00.000Z",
}
KEY = rsa.generate_private_key(65537, 2048)


def pem(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(clock.now()).not_valid_after(clock.now() + timedelta(days=1))
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def signed(message, key=KEY, version="2", **changed):
    names = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"]
    if message["Type"] != "Notification":
        names = sorted([*names, "SubscribeURL", "Token"])
    text = "".join(f"{name}\n{message[name]}\n" for name in names).encode()
    digest = hashes.SHA256() if version == "2" else hashes.SHA1()
    signature = base64.b64encode(key.sign(text, padding.PKCS1v15(), digest)).decode()
    extra = {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE}
    return {**message, **extra, **changed}


@pytest.fixture
def asked(monkeypatch):
    """What is fetched from Amazon, which answers with its certificate."""
    addresses = []

    def answer(request):
        addresses.append(str(request.url))
        return httpx2.Response(200, content=pem(KEY))

    replace_network(monkeypatch, answer)
    return addresses


def replace_network(monkeypatch, answer):
    transport = httpx2.MockTransport(answer)
    monkeypatch.setattr(httpx2, "Client", functools.partial(httpx2.Client, transport=transport))
    monkeypatch.setattr(amazon, "_keys", {})


@pytest.fixture
def tool(db):
    return sources.create("Ses", "email", provider="ses", hook_secret=ARN)


@pytest.fixture
def report(client, tool):
    def run(message):
        path = f"/hooks/email/{tool.hook_token}/"
        kind = message.get("Type", "") if isinstance(message, dict) else ""
        headers = {"X-Amz-Sns-Message-Type": kind}
        return client.post(path, json.dumps(message), content_type="text/plain", headers=headers)

    return run


@pytest.mark.parametrize("version", ["1", "2"])
def test_message_that_amazon_signed_is_taken(report, asked, version):
    assert report(signed(NOTIFICATION, version=version)).status_code == 200
    assert report(signed(NOTIFICATION, version=version)).status_code == 200
    assert Inbox.objects.count() == 2
    assert asked == [CERTIFICATE]


OTHER = rsa.generate_private_key(65537, 2048)
FORGED = {
    "not signed": NOTIFICATION,
    "signed by somebody else": signed(NOTIFICATION, OTHER),
    "changed since": signed(NOTIFICATION, Message="{}"),
    "of another topic": signed({**NOTIFICATION, "TopicArn": ARN + "x"}),
    "no base64": signed(NOTIFICATION, Signature="%"),
    "unknown version": signed(NOTIFICATION, SignatureVersion="3"),
    "list": [NOTIFICATION],
    "nested": {"Type": {"a": 1}, "TopicArn": ARN, "Signature": [], "SigningCertURL": {}},
}
ELSEWHERE = [
    "https://evil.example/SimpleNotificationService-1.pem",
    f"http://{HOST}/SimpleNotificationService-1.pem",
    f"https://{HOST}@evil.example/SimpleNotificationService-1.pem",
    f"https://{HOST}.evil.example/SimpleNotificationService-1.pem",
    f"https://{HOST}:8443/SimpleNotificationService-1.pem",
    "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
    f"https://{HOST}/?Action=ConfirmSubscription",
    f"https://{HOST}/SimpleNotificationService-1.pem?x=1",
    f"https://{HOST}/../SimpleNotificationService-1.pem",
    "https://[",
    "",
]


@pytest.mark.parametrize("case", FORGED)
def test_forged_message_is_refused(report, asked, case):
    answer = report(FORGED[case])
    assert (answer.status_code, answer.json()["code"]) == (401, "unverified")
    assert not Inbox.objects.exists()


@pytest.mark.parametrize("address", ELSEWHERE)
def test_certificate_from_elsewhere_is_not_even_fetched(report, asked, address):
    assert report(signed(NOTIFICATION, SigningCertURL=address)).status_code == 401
    assert asked == []


def test_subscription_is_confirmed_at_amazon_and_nowhere_else(report, asked):
    assert report(signed(QUESTION)).status_code == 200
    _, confirmed = map(urlsplit, asked)
    assert (confirmed.scheme, confirmed.netloc, confirmed.path) == ("https", HOST, "/")
    wanted = {"Action": ["ConfirmSubscription"], "TopicArn": [ARN], "Token": ["t&1"]}
    assert parse_qs(confirmed.query) == wanted
    assert not Inbox.objects.exists()


def test_while_amazon_cannot_be_asked_it_is_told_to_come_again(report, monkeypatch):
    def unreachable(request):
        raise httpx2.ConnectError("no network")

    replace_network(monkeypatch, unreachable)
    answer = report(signed(NOTIFICATION))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert not Quarantine.objects.exists()

"""Reports of e-mail tools: taken as they come, read later, of customers or of those to come."""

import base64
import hashlib
import hmac
import json
import time
from datetime import timedelta

import pytest

from customers import changes, clock, consent, fields, identity, search, suppression
from customers.models import Customer
from events import sources
from events.mail import providers, recipients, waiting
from events.models import Event, Inbox, Quarantine, Waiting
from tests.events.reading import events_of, reasons

AT = "2026-01-31T12:30:00Z"
SECONDS = 1769862600
ANN = "ann@example.com"
SES_CLICK = {
    "eventType": "Click",
    "mail": {"messageId": "m1", "destination": [ANN], "tags": {"campaign": ["spring"]}},
    "click": {"timestamp": AT, "link": "https://shop.example/sale", "userAgent": "x"},
}
REPORTS = {
    "postmark": (
        {
            "RecordType": "Click",
            "MessageID": "m1",
            "Recipient": ANN,
            "Tag": "spring",
            "ReceivedAt": AT,
            "OriginalLink": "https://shop.example/sale",
        },
        "Email Link Clicked",
    ),
    "mailgun": (
        {
            "event-data": {
                "event": "clicked",
                "id": "e1",
                "timestamp": SECONDS,
                "recipient": ANN,
                "url": "https://shop.example/sale",
                "tags": ["spring"],
                "message": {"headers": {"message-id": "m1"}},
            }
        },
        "Email Link Clicked",
    ),
    "brevo": (
        {
            "event": "click",
            "email": ANN,
            "ts_event": SECONDS,
            "ts_epoch": SECONDS * 1000,
            "message-id": "m1",
            "tags": ["spring"],
            "link": "https://shop.example/sale",
        },
        "Email Link Clicked",
    ),
    "mailjet": (
        [
            {
                "event": "click",
                "time": SECONDS,
                "MessageID": 5,
                "email": ANN,
                "url": "https://shop.example/sale",
                "customcampaign": "spring",
            }
        ],
        "Email Link Clicked",
    ),
    "sendgrid": (
        [
            {
                "event": "click",
                "email": ANN,
                "timestamp": SECONDS,
                "sg_event_id": "e1",
                "url": "https://shop.example/sale",
                "category": ["spring"],
                "smtp-id": "m1",
            }
        ],
        "Email Link Clicked",
    ),
    "resend": (
        {
            "type": "email.clicked",
            "created_at": AT,
            "data": {
                "email_id": "m1",
                "to": [ANN],
                "tags": {"campaign": "spring"},
                "click": {"link": "https://shop.example/sale", "timestamp": AT},
            },
        },
        "Email Link Clicked",
    ),
}


@pytest.fixture
def report(client, take_in):
    """Let a service report something to a source; return the answer."""

    def run(source, body, token=None, taken=True, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/hooks/email/{token or source.hook_token}/"
        answer = client.post(path, raw, content_type="application/json", headers=headers)
        if taken:
            take_in()
        return answer

    return run


@pytest.fixture
def make_tool(db):
    def make(provider="postmark", **options):
        return sources.create(provider.title(), "email", provider=provider, **options)

    return make


def opened(email=ANN, **more):
    return {"RecordType": "Open", "MessageID": "m1", "Recipient": email, "ReceivedAt": AT} | more


def bounced(kind):
    return {"RecordType": "Bounce", "ID": 5, "Type": kind, "Email": ANN, "BouncedAt": AT}


@pytest.fixture
def ann(tell):
    tell({"type": "identify", "userId": "u1", "traits": {"email": "Ann@Example.com"}})
    return Customer.objects.get()


@pytest.mark.parametrize("provider", REPORTS)
def test_click_becomes_an_event_of_the_recipient_with_campaign_and_link(
    make_tool, report, ann, provider
):
    body, name = REPORTS[provider]
    assert report(make_tool(provider), body).json() == {"success": True}
    assert reasons() == []
    assert events_of(customer_id="u1") == [name]
    event = Event.objects.get()
    assert event.properties["link"] == "https://shop.example/sale"
    assert event.properties.get("campaign", "spring") == "spring"
    assert event.occurred_at.isoformat() == "2026-01-31T12:30:00+00:00"


def test_amazon_reports_without_its_library_and_asks_to_be_confirmed(make_tool, report, ann):
    tool = make_tool("ses")

    def sns(kind, **more):
        body = {"Type": kind, "MessageId": "n1", **more}
        headers = {"x-amz-sns-message-type": kind, "x-amz-sns-message-id": "n1"}
        return report(tool, body, **headers)

    sns("SubscriptionConfirmation", SubscribeURL="https://sns.example/confirm", Token="t")
    assert reasons() == ["confirm"]
    assert "https://sns.example/confirm" in Quarantine.objects.get().message
    sns("Notification", Message=json.dumps(SES_CLICK))
    assert events_of(customer_id="u1") == ["Email Link Clicked"]


def test_report_is_stored_as_it_came_before_anybody_reads_it(make_tool, report):
    assert report(make_tool(), b"no JSON at all", taken=False).status_code == 200
    assert base64.b64decode(json.loads(Inbox.objects.get().body)["body"]) == b"no JSON at all"


def test_what_is_no_report_is_set_aside_with_the_reason(make_tool, report):
    report(make_tool(), b"no JSON at all")
    assert reasons() == ["unreadable"]
    assert "no report of Postmark" in Quarantine.objects.get().message


def test_same_report_twice_is_one_event(make_tool, report, ann):
    tool = make_tool()
    report(tool, opened())
    report(tool, opened())
    assert events_of(customer_id="u1") == ["Email Opened"]


def test_address_is_secret_and_changes_with_the_key(make_tool, report, client):
    tool = make_tool()
    assert report(tool, opened(), token="guess").status_code == 404
    assert report(tool, opened(), token="%00").status_code == 404
    old = tool.hook_token
    assert client.head(f"/hooks/email/{old}").status_code == 200
    sources.rotate(tool)
    assert report(tool, opened(), token=old).status_code == 404
    assert report(tool, opened()).status_code == 200


def test_signature_of_mailgun_is_checked_if_its_key_is_known(make_tool, report, ann):
    tool = make_tool("mailgun", hook_secret="secret")
    stamp, token = str(int(time.time())), "t" * 50
    signature = hmac.new(b"secret", f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    signed = {"timestamp": stamp, "token": token, "signature": signature}
    body = REPORTS["mailgun"][0]
    assert report(tool, body).status_code == 401
    assert report(tool, body | {"signature": signed | {"token": "other"}}).status_code == 401
    assert report(tool, body | {"signature": signed}).status_code == 200
    assert events_of(customer_id="u1") == ["Email Link Clicked"]


def test_signature_of_resend_is_checked_without_another_library(make_tool, report, ann):
    key = base64.b64encode(b"k" * 24).decode()
    tool = make_tool("resend", hook_secret=f"whsec_{key}")
    raw = json.dumps(REPORTS["resend"][0]).encode()
    stamp = str(int(time.time()))
    digest = hmac.new(b"k" * 24, f"m1.{stamp}.".encode() + raw, hashlib.sha256).digest()
    headers = {"svix-id": "m1", "svix-timestamp": stamp}
    good = f"v1,{base64.b64encode(digest).decode()}"
    assert report(tool, raw).status_code == 401
    assert report(tool, raw, **headers, **{"svix-signature": "v1,AAAA"}).status_code == 401
    assert report(tool, raw, **headers, **{"svix-signature": f"v1,x {good}"}).status_code == 200


@pytest.mark.parametrize("provider", providers.PROVIDERS)
def test_strangers_bytes_are_refused_or_set_aside_by_every_service(make_tool, report, provider):
    for secret in (None, "none of theirs"):
        tool = make_tool(provider, hook_secret=secret)
        for body in (b"", b"[]", b"{}", b"5", b'{"a":"\xff"}', b"[" * 2_000, b'[{"event":{}}]'):
            assert report(tool, body).status_code in (200, 401)
    assert not Event.objects.exists()


def test_unknown_recipient_waits_until_a_customer_has_the_address(make_tool, report, tell):
    report(make_tool(), opened())
    assert not Customer.objects.exists()
    assert Waiting.objects.get().email == ANN
    tell({"type": "identify", "userId": "u1", "traits": {"email": ANN}})
    recipients.follow(changes.claim(100))
    tell()
    tell({"type": "track", "userId": "u9", "event": "Another"})
    assert events_of(customer_id="u1") == ["Email Opened"]
    assert not Waiting.objects.exists()


@pytest.mark.parametrize("days", [0, 90])
def test_event_of_nobody_is_given_up_after_a_time(make_tool, report, settings, days):
    settings.WAITING_DAYS = days
    report(make_tool(), opened())
    waiting.tidy(clock.now() + timedelta(days=89))
    assert Waiting.objects.count() == 1
    waiting.tidy(clock.now() + timedelta(days=91))
    assert Waiting.objects.count() == (0 if days else 1)


def test_of_too_many_waiting_events_the_oldest_give_way(make_tool, report, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_WAITING", 2)
    report(make_tool(), opened(), taken=False)
    for number in range(3):
        report(make_tool(), opened(email=f"{number}@x.com"))
    waiting.tidy(clock.now())
    assert sorted(waiting.listed().values_list("email", flat=True)) == ["1@x.com", "2@x.com"]


@pytest.mark.parametrize("way", ["they were overlooked", "the source may create them by now"])
def test_waiting_event_is_looked_for_again(make_tool, report, take_in, way):
    tool = make_tool()
    report(tool, opened())
    if way == "they were overlooked":
        resolve_quietly("u1", ANN)
    else:
        tool.creates_recipients = True
        sources.save(tool)
    waiting.tidy(clock.now())
    take_in()
    assert events_of(email=ANN) == ["Email Opened"]
    assert not Waiting.objects.exists()


def resolve_quietly(user_id, email):
    """Make a customer as if the pipeline had not told of them."""
    identity.resolve([identity.Person((("customer_id", user_id), ("email", email)))])


def test_waiting_events_are_listed_and_given_up_over_the_api(make_tool, report, api):
    report(make_tool(), opened())
    (row,) = api.get(f"/api/waiting-events/?email={ANN.upper()}")[1]["results"]
    assert (row["email"], row["source"]) == (ANN, "postmark")
    assert api.get("/api/waiting-events/?email=b@x.com")[1]["results"] == []
    assert api.delete(f"/api/waiting-events/{row['id']}/")[0] == 204
    assert not Waiting.objects.exists()


def test_unknown_recipient_becomes_a_customer_if_the_source_says_so(make_tool, report):
    report(make_tool(creates_recipients=True), opened())
    assert events_of(email=ANN) == ["Email Opened"]


def test_customer_of_a_file_is_found_by_the_field_that_holds_the_address(
    make_tool, report, make_field, make_customer
):
    make_field("E-Mail")
    customer = make_customer("CH-1")
    fields.set_values({customer.pk: {"E-Mail": "Ann@Example.com"}}, source="a file")
    search.rebuild()
    report(make_tool(creates_recipients=True), opened())
    assert events_of(customer_id="CH-1") == ["Email Opened"]
    assert Customer.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "is_suppressed"),
    [
        (bounced("HardBounce"), True),
        (bounced("SoftBounce"), False),
        ({"RecordType": "SpamComplaint", "ID": 6, "Email": ANN, "BouncedAt": AT}, True),
        (opened(), False),
    ],
)
def test_bounce_for_good_and_complaint_refuse_further_mail(
    make_tool, report, ann, body, is_suppressed
):
    consent.record(
        [consent.Decision(ann.pk, "email", True, ann.created_at.replace(year=2020))], source="form"
    )
    report(make_tool(), body)
    assert suppression.suppressed("email", [ANN]) == ({ANN} if is_suppressed else set())
    assert consent.granted([ann.pk], "email") == (set() if is_suppressed else {ann.pk})


def test_write_key_cannot_silence_anybody(tell, ann):
    tell({"type": "track", "userId": "u1", "event": "Unsubscribed", "traits": {"email": ANN}})
    assert suppression.suppressed("email", [ANN]) == set()

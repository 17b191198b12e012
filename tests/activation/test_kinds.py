"""Kinds of destinations besides plain webhooks: bodies, e-mail, chat, and those of packages."""

import sys

import pytest
from django.core import mail

from activation import bodies, chat, destinations, kinds, outbox, previews
from activation.carriers import ConfigError, Message, Part
from activation.models import Attempt, Delivery, Destination, new_id
from activation.presets import PRESETS
from customers import consent, exact
from customers.consent import links
from customers.masking import MASK, Mask
from customers.models import ConsentPurpose, Identifier
from tests.activation.conftest import enqueue, entry, run_tasks, state_of

pytestmark = pytest.mark.django_db

BODY = exact.dumps(
    {
        "type": "segment.entered",
        "timestamp": "2026-01-15T12:00:00Z",
        "data": {
            "trigger": "thanks",
            "segment": {"key": "s", "name": "Big"},
            "customer": {
                "id": 7,
                "customer_id": "C-7",
                "identifiers": [{"kind": "email", "value": "anna@example.org"}],
                "fields": {"firstName": 'Än"na', "points": 1.5},
            },
        },
    }
)


def body_of(config, *parts):
    parts = parts or (Part(new_id(), BODY),)
    return bodies.write(Message(parts[0].id, tuple(parts), config))


def test_mapping_takes_values_by_path():
    mapping = {"mail": "customer.email", "n": "customer.fields.points", "x": "customer.nix.y"}
    assert exact.loads(body_of({"mapping": mapping})) == {
        "mail": "anna@example.org",
        "n": 1.5,
        "x": None,
    }
    both = Part(new_id(), BODY), Part(new_id(), BODY)
    assert len(exact.loads(body_of({"mapping": mapping, "batch": 2}, *both))) == 2


def test_template_writes_values_as_json():
    template = '{"name": {{ customer.fields.firstName | json }}}'
    assert exact.loads(body_of({"template": template})) == {"name": 'Än"na'}


def test_template_that_is_no_json_is_no_fault_if_it_says_so():
    config = {"headers": {"Content-Type": "text/plain"}, "template": "Hi {{ customer.email }}"}
    assert body_of(config) == "Hi anna@example.org"


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.key)
def test_presets_make_json_for_one_and_for_many(preset):
    destinations.KINDS["webhook"].check(preset.config)
    parts = [Part(new_id(), BODY) for _ in range(3 if "batch" in preset.config else 1)]
    text = body_of(preset.config, *parts)
    assert "anna@example.org" in text or "C-7" in text
    exact.loads(text)


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"method": "GET"}, "method"),
        ({"headers": {"webhook-signature": "x"}}, "headers"),
        ({"headers": {"Host": "x"}}, "headers"),
        ({"headers": {"X-A": "a\r\nB: c"}}, "headers"),
        ({"headers": {"X A": "b"}}, "headers"),
        ({"template": "{% if %}"}, "template"),
        ({"template": "{% include 'x' %}"}, "template"),
        ({"template": "a", "mapping": {"a": "b"}}, "mapping"),
        ({"mapping": {}}, "mapping"),
        ({"batch": 1_001}, "batch"),
        ({"batch": True}, "batch"),
        ({"nix": 1}, "nix"),
    ],
)
def test_wrong_webhook_is_refused(more, member):
    with pytest.raises(ConfigError) as refused:
        destinations.KINDS["webhook"].check({"url": "https://a.example/"} | more)
    assert refused.value.member == member


def test_secret_headers_are_sent_encrypted_at_rest_and_never_shown(
    api, receiver, make_trigger, enter
):
    config = {"url": receiver.url, "headers": {"Authorization": "Bearer s3cret"}}
    body = {"key": "crm", "name": "CRM", "config": config}
    status, made = api.post("/api/destinations/", body)
    assert (status, made["config"]["headers"]) == (201, {"Authorization": "(hidden)"})
    del made["secret"]
    row = Destination.objects.extra(select={"raw": "secrets::text"}).get()
    assert "s3cret" not in str(row.raw) + str(row.config)
    assert api.put("/api/destinations/crm/", made)[0] == 200
    enter(make_trigger(Destination.objects.get()))
    run_tasks()
    assert receiver.received[0].headers["authorization"] == "Bearer s3cret"
    moved = {"config": made["config"] | {"url": "http://127.0.0.2:9/"}}
    status, problem = api.patch("/api/destinations/crm/", moved)
    assert (status, problem["errors"][0]["attr"]) == (400, "config.headers")


def test_both_secrets_sign_while_one_is_exchanged(api, receiver, make_destination):
    destination = make_destination(receiver, key="crm")
    status, said = api.post("/api/destinations/crm/rotate/", {"keep_hours": 1})
    assert (status, said["secret"][:6]) == (200, "whsec_")
    outbox.send_ping(Destination.objects.get(pk=destination.pk))
    assert len(receiver.received[0].headers["webhook-signature"].split()) == 2
    api.post("/api/destinations/crm/rotate/", {"keep_hours": 0})
    outbox.send_ping(Destination.objects.get(pk=destination.pk))
    assert len(receiver.received[1].headers["webhook-signature"].split()) == 1


def test_preview_shows_a_request_and_sends_none(api, make_customer, receiver):
    customer = make_customer("C-1")
    config = {"url": receiver.url, "template": '{"id": {{ customer.customer_id | json }}}'}
    status, shown = api.post("/api/destinations/preview/", {"config": config})
    assert (status, shown["body"]) == (200, '{"id": "C-1"}')
    assert receiver.received == []
    body = {"config": config, "customer": customer.pk + 1}
    assert api.post("/api/destinations/preview/", body)[0] == 400
    assert previews.preview(Destination(config=config), Mask()).method == "POST"
    assert api.get("/api/destinations/presets/")[1]["results"][0]["key"] == "mailchimp"


class Stranger:
    def has_perm(self, name):
        return False


def test_template_shows_nobody_what_they_may_not_see(make_customer, make_field):
    make_field("firstName", is_personal=True)
    make_customer("C-1", fields={"firstName": "Zebulon"})
    config = {"url": "https://a.example/", "template": "{{ customer.fields.firstName | json }}"}
    draft = Destination(config=config)
    assert previews.preview(draft, Mask()).body == '"Zebulon"'
    assert previews.preview(draft, Mask(Stranger())).body == f'"{MASK}"'


EMAIL = {
    "from": "Shop <shop@example.com>",
    "subject": "Hello {{ customer.fields.firstName }}",
    "html": "<p>Hi {{ customer.fields.firstName }}</p>",
}


@pytest.fixture
def anna(make_customer):
    customer = make_customer("anna", fields={"firstName": "A<b>\r\nBcc: x@y.example"})
    Identifier.objects.create(kind="email", value="anna@example.org", customer=customer)
    return customer


def test_email_is_sent_with_a_way_out(make_trigger, make_destination, anna):
    ConsentPurpose.objects.create(key="newsletter", channel="email")
    destination = make_destination(kind="email", config=EMAIL)
    trigger = make_trigger(destination)
    enqueue(entry(trigger, anna))
    run_tasks()
    (email,) = mail.outbox
    delivery = Delivery.objects.get()
    assert state_of(delivery) == "delivered"
    assert (email.to, email.subject) == (["anna@example.org"], "Hello A<b> Bcc: x@y.example")
    assert email.extra_headers["Message-ID"] == f"<{delivery.pk}@example.com>"
    assert email.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = email.extra_headers["List-Unsubscribe"].strip("<>")
    markup = email.alternatives[0][0]
    assert "A&lt;b&gt;" in markup
    assert link in markup
    assert links.read(link.rstrip("/").rpartition("/")[2]).customer_id == anna.pk


def test_link_of_an_email_leaves_its_purpose(client, make_trigger, make_destination, anna):
    ConsentPurpose.objects.create(key="newsletter", channel="email")
    trigger = make_trigger(make_destination(kind="email", config=EMAIL), purpose="newsletter")
    with_consent(anna)
    enqueue(entry(trigger, anna))
    run_tasks()
    link = mail.outbox[0].extra_headers["List-Unsubscribe"].strip("<>")
    path = "/" + link.split("/", 3)[3]
    assert client.post(path, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert consent.granted([anna.pk], "newsletter") == set()


def with_consent(customer):
    decision = consent.Decision(customer.pk, "newsletter", True, consent.clock.now())
    consent.record([decision], source="test")


def test_customer_without_an_address_is_no_failure_of_the_destination(
    make_trigger, make_destination, make_customer
):
    trigger = make_trigger(make_destination(kind="email", config=EMAIL))
    nobody, wrong = make_customer(), make_customer(fields={"email": "no address"})
    enqueue(entry(trigger, nobody), entry(trigger, wrong))
    run_tasks()
    left_out = Delivery.objects.get(customer_id=nobody.pk)
    assert (state_of(left_out), left_out.reason, left_out.body) == ("cancelled", "no_address", "")
    assert "none that works" in Attempt.objects.get(delivery__customer_id=wrong.pk).error
    assert Destination.objects.get().failures_in_a_row == 0


def test_test_goes_where_it_is_sent_and_never_to_who_wants_nothing(
    api, make_trigger, make_destination, anna
):
    ConsentPurpose.objects.create(key="newsletter", channel="email")
    trigger = make_trigger(make_destination(kind="email", config=EMAIL), purpose="newsletter")
    url = f"/api/triggers/{trigger.key}/test/"
    status, refused = api.post(url, {"customer": anna.pk})
    assert (status, refused["errors"][0]["attr"]) == (400, "customer")
    status, told = api.post(url, {"customer": anna.pk, "to": "Eve@shop.example"})
    assert (status, told["error"], told["request"]["url"]) == (200, "", "eve@shop.example")
    assert api.post(url, {"to": "nobody", "customer": anna.pk})[0] == 400
    with_consent(anna)
    assert api.post(url, {"customer": anna.pk})[0] == 200
    assert [email.to[0] for email in mail.outbox] == ["eve@shop.example", "anna@example.org"]


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"from": "nobody"}, "from"),
        ({"from": "a@b.ch\nBcc: c@d.ch"}, "from"),
        ({"subject": ""}, "subject"),
        ({"html": ""}, "html"),
        ({"html": "{% if %}"}, "html"),
        ({"to": "x@y.example"}, "to"),
    ],
)
def test_wrong_email_is_refused(more, member):
    with pytest.raises(ConfigError) as refused:
        destinations.KINDS["email"].check(EMAIL | more)
    assert refused.value.member == member


CHAT = {
    "url": f"twilio://AC{'a' * 32}:{'b' * 32}@12345678901/{{{{ phone }}}}",
    "body": "Hi {{ customer.customer_id }}",
}


def test_sms_goes_to_the_customers_phone(
    make_trigger, make_destination, make_customer, monkeypatch
):
    sent = []

    def notify(self, body, title, **more):
        sent.append((self.url(), body))
        return True

    monkeypatch.setattr(
        type(chat._service(CHAT["url"].replace("{{ phone }}", "1" * 11))), "notify", notify
    )
    trigger = make_trigger(make_destination(kind="chat", config=CHAT))
    assert "bbbb" not in str(Destination.objects.get().config)
    enqueue(entry(trigger, make_customer("C-9", fields={"mobile": "+41791234567"})))
    run_tasks()
    ((url, body),) = sent
    assert body == "Hi C-9"
    assert "41791234567" in url


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/",
        "mailto://user:pass@internal.example",
        "syslog://",
        "fcm://project@key/device?keyfile=/etc/passwd",
        "twilio://x:y@1/2?cto=1",
        "{{ customer.fields.url }}",
    ],
)
def test_chat_reaches_no_host_of_the_users_choice(url):
    with pytest.raises(ConfigError):
        destinations.KINDS["chat"].check(CHAT | {"url": url})


def test_package_brings_a_kind_of_its_own(tmp_path, monkeypatch):
    """The example of docs/destinations.md, installed as packages are."""
    (tmp_path / "letters.py").write_text(
        "from contextlib import contextmanager\n"
        "from activation.carriers import Answer, ConfigError, Kind\n"
        "class Printer:\n"
        "    def send(self, message):\n"
        "        return Answer(200, 0, text=message.config['tray'])\n"
        "class LetterKind(Kind):\n"
        "    label = 'Letter'\n"
        "    def check(self, config):\n"
        "        if 'tray' not in config:\n"
        "            raise ConfigError('tray', 'Which tray?')\n"
        "    @contextmanager\n"
        "    def carrier(self):\n"
        "        yield Printer()\n"
    )
    info = tmp_path / "letters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cdp.destinations]\nletter = letters:LetterKind\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = kinds.load()
    assert found["letter"].label == "Letter"
    message = Message(new_id(), (Part(new_id(), "{}"),), {"tray": "A4"})
    with found["letter"].carrier() as carrier:
        assert carrier.send(message).text == "A4"
    (info / "entry_points.txt").write_text("[cdp.destinations]\nletter = sys:version\n")
    sys.modules.pop("letters")
    with pytest.raises(kinds.BadKindError, match="letter"):
        kinds.load()

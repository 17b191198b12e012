import datetime
import gzip
import json
import ssl
import time
from uuid import uuid4

import httpcore2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook, WebhookVerificationError

from activation import carriers, network, webhook
from activation.carriers import ConfigError, Message, Part
from tests.activation import receivers


@pytest.fixture
def post():
    """Send to a receiver (or URL), each time over new connections; return the answer."""

    def run(to, body='{"a":1}', **more):
        url = to if isinstance(to, str) else to.url
        options = {"secret": webhook.new_secret(), "id": uuid4()} | more
        secret, number = options.pop("secret"), options.pop("id")
        with webhook.carrier() as carrier:
            parts = (Part(number, body),)
            return carrier.send(Message(number, parts, {"url": url} | options, (secret,)))

    return run


def message_to(receiver, body="{}", **config):
    config = {"url": receiver.url} | config
    return Message(number := uuid4(), (Part(number, body),), config, (webhook.new_secret(),))


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(carriers, "SECONDS", 0.5)
    monkeypatch.setattr(webhook, "READ_SECONDS", 0.25)


def test_signature_is_what_standard_webhooks_verifies(post, receiver):
    secret, body = webhook.new_secret(), '{"name":"Zoë 🎉","n":0.10}'
    assert post(receiver, body, secret=secret).error == ""
    (request,) = receiver.received
    assert request.body == body.encode()
    Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.new_secret()).verify(request.body, request.headers)


def test_signature_is_the_one_of_the_specification():
    body = b'{"test": 2432232314}'
    signature = webhook.sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_headers_say_who_sends_what(post, receiver):
    sent = uuid4()
    post(receiver.url + "/ü?a=b c", id=sent)
    (request,) = receiver.received
    assert request.path == "/hook/%C3%BC?a=b%20c"
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("CDP-Webhooks")
    assert request.headers["webhook-id"] == str(sent)
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 5


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_any_status_of_2xx(post, make_receiver, status):
    answer = post(make_receiver(receivers.answer(status, b"")))
    assert (answer.status, answer.error) == (status, "")


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_other_status_is_a_failure_with_its_answer_kept(post, make_receiver, status):
    answer = post(make_receiver(receivers.answer(status, b"go away \xff")))
    assert (answer.status, answer.error) == (status, f"Answered {status}.")
    assert answer.text == "go away \ufffd"


def test_redirect_is_not_followed(post, make_receiver, receiver):
    redirecting = make_receiver(receivers.answer(302, b"", Location=receiver.url))
    answer = post(redirecting)
    assert (answer.status, receiver.received) == (302, [])
    assert "redirects are not followed" in answer.error


def test_cookies_are_not_kept(make_receiver):
    receiver = make_receiver(receivers.answer(200, Set_Cookie="a=b"))
    with webhook.carrier() as carrier:
        for _ in range(2):
            carrier.send(message_to(receiver))
    assert ["cookie" in request.headers for request in receiver.received] == [False, False]


def test_connection_is_used_again(receiver):
    with webhook.carrier() as carrier:
        message = message_to(receiver)
        assert [carrier.send(message).status for _ in range(20)] == [200] * 20
        assert len(carrier._pool("http").connections) == 1


def test_proxies_of_the_environment_are_ignored(post, receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert post(receiver).status == 200


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), ("0", 0), ("soon", None), ("-1", None)])
def test_retry_after_is_read_in_seconds(post, make_receiver, header, seconds):
    receiver = make_receiver(receivers.answer(429, Retry_After=header))
    assert post(receiver).retry_after == seconds


def test_retry_after_is_read_as_a_date(post, make_receiver):
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=2)
    text = at.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 110 < post(make_receiver(receivers.answer(503, retry_after=text))).retry_after <= 120


def test_hanging_receiver_is_given_up(post, make_receiver, hurry):
    answer = post(make_receiver(receivers.hang))
    assert (answer.status, answer.error) == (None, "No answer within 0.25 seconds.")
    assert 250 <= answer.ms < 10_000


def test_dripping_receiver_is_given_up_though_each_drop_is_in_time(post, make_receiver, hurry):
    answer = post(make_receiver(receivers.drip))
    assert (answer.status, answer.error) == (None, "No complete answer within 0.5 seconds.")
    assert 500 <= answer.ms < 10_000


def test_success_stands_though_the_body_never_ends(post, make_receiver, hurry):
    answer = post(make_receiver(receivers.drip_body))
    assert (answer.status, answer.error) == (200, "")
    assert set(answer.text) == {"x"}
    assert answer.ms < 10_000


def test_flooding_receiver_is_cut_off(post, make_receiver):
    receiver = make_receiver(receivers.flood)
    answer = post(receiver)
    assert (answer.status, answer.text) == (200, "x" * 2048)
    assert answer.ms < 10_000
    assert receiver.flooded < 20 * 1024 * 1024  # what fits into the buffers in between


def test_receiver_that_only_announces_an_answer_is_cut_off(post, make_receiver):
    answer = post(make_receiver(receivers.flood_of_hints))
    assert answer.error == "The connection broke: it sent more than any answer needs."


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nold", "old"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"\r\nok", "ok"),
        (OK + b"Content-Length: 100\r\n\r\nbroken off", "broken off"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nno chunk", ""),
        (OK + b"Content-Length: 2\r\n\r\nok" + OK + b"\r\nand another", "ok"),
    ],
)
def test_success_is_seen_in_whatever_shape(post, make_receiver, words, text):
    answer = post(make_receiver(receivers.say(words)))
    assert (answer.status, answer.error, answer.text) == (200, "", text)


def test_packed_answer_is_not_unpacked(post, make_receiver):
    bomb = gzip.compress(b"0" * 10_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    answer = post(make_receiver(receivers.say(head + bomb)))
    assert (answer.status, answer.error) == (200, "")
    assert len(answer.text) <= 2048


@pytest.mark.parametrize(
    "words",
    [
        OK + b"X: " + b"a" * 300_000 + b"\r\n\r\n",
        OK + b"X: a\r\n" * 50_000 + b"\r\n",
        OK + b"X: broken off",
        OK + b"X: \0\r\n\r\n",
        OK + b"Content-Length: -2\r\n\r\nok",
        OK + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 000 Nothing\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
    ],
)
def test_what_is_no_answer_is_a_failure(post, make_receiver, words):
    answer = post(make_receiver(receivers.say(words)))
    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize(
    ("header", "most"),
    [
        ("9" * 400, 10**9),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 10**12),
        ("Mon, 01 Jan 0001 00:00:00 +2300", 0),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2029 00:00:00 +999999999999999999999999", None),
    ],
)
def test_absurd_retry_after_is_no_fault(post, make_receiver, header, most):
    found = post(make_receiver(receivers.answer(429, Retry_After=header))).retry_after
    assert found is None if most is None else found <= most


def test_receiver_that_hangs_up_is_a_failure(post, make_receiver):
    answer = post(make_receiver(receivers.hang_up))
    assert answer.status is None
    assert "disconnected" in answer.error


def test_receiver_that_does_not_speak_http_is_a_failure(post, make_receiver):
    answer = post(make_receiver(receivers.babble))
    assert answer.status is None
    assert answer.error.startswith("The answer was not HTTP")


def test_nobody_listening_is_a_failure(post, make_receiver):
    closed = make_receiver()
    closed.close()
    assert post(closed).error == (
        "Not connected: nobody listens at this address (connection refused)."
    )


def test_private_address_is_refused_unseen(post, receiver, settings):
    settings.DEMO = False
    answer = post(receiver)
    assert answer.error.startswith("Refused: 127.0.0.1 is not a public address.")
    assert receiver.received == []


def test_secret_that_cannot_be_decrypted_is_said_to_be_so(post, receiver):
    answer = post(receiver, secret="gAAAAABm-not-ours")
    assert answer.error.startswith("Not sent: its secret cannot be decrypted")
    assert receiver.received == []


@pytest.fixture
def tls_receiver(make_receiver, tmp_path, monkeypatch):
    """A receiver whose certificate is trusted, and is for receiver.example alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    names = x509.SubjectAlternativeName([x509.DNSName("receiver.example")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem, secret = tmp_path / "certificate.pem", tmp_path / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    trusting = ssl.create_default_context(cafile=str(pem))
    monkeypatch.setattr(webhook, "_tls", lambda: trusting)
    monkeypatch.setattr(network, "resolve", lambda host, port: ["127.0.0.1"])
    return make_receiver(tls=receivers.tls_context(pem, secret))


def test_tls_checks_the_name_though_the_connection_goes_to_an_address(post, tls_receiver):
    port = tls_receiver.port
    assert post(f"https://receiver.example:{port}/").status == 200
    wrong = post(f"https://other.example:{port}/")
    assert wrong.status is None
    assert wrong.error == "Not connected: its certificate is for another host name."
    assert len(tls_receiver.received) == 1


def test_certificate_of_nobody_we_trust_is_refused(post, tls_receiver, monkeypatch):
    monkeypatch.setattr(webhook, "_tls", httpcore2.default_ssl_context)
    assert "signed by itself" in post(f"https://receiver.example:{tls_receiver.port}/").error


def test_address_that_wrongly_says_https_is_told_so(post, receiver):
    assert "does not speak HTTPS" in post(receiver.url.replace("http:", "https:")).error


@pytest.mark.parametrize(
    "url",
    [
        "https://receiver.example/hook?a=b",
        "http://bücher.example",
        "https://8.8.8.8:8443/",
        "http://127.0.0.1:8000/demo/",
        "http://[::1]:8000/",
        "http://localhost/",
    ],
)
def test_url_that_could_be_called_is_accepted(url):
    webhook.check({"url": url})


@pytest.mark.parametrize(
    ("config", "member", "message"),
    [
        ({}, "url", "needs"),
        (None, "url", "needs"),
        ([], "url", "needs"),
        ({"url": 7}, "url", "needs"),
        ({"url": ""}, "url", "needs"),
        ({"url": "https://a.example", "header": 1}, "header", "Unknown"),
        ({"url": "receiver.example/hook"}, "url", "begins with https://"),
        ({"url": "ftp://a.example"}, "url", "begins with https://"),
        ({"url": "javascript:alert(1)"}, "url", "begins with https://"),
        ({"url": "https://"}, "url", "no host"),
        ({"url": "https:///hook"}, "url", "no host"),
        ({"url": "https://a..b/"}, "url", "no host"),
        ({"url": "https://exa mple.com/"}, "url", "no host"),
        ({"url": "https://" + "a" * 64 + ".example"}, "url", "no host"),
        ({"url": "https://[fe80::1%25eth0]/"}, "url", "no host"),
        ({"url": "https://[::1"}, "url", "Not a web address"),
        ({"url": "https://a\n.example"}, "url", "Not a web address"),
        ({"url": "https://user:secret@a.example"}, "url", "user and password"),
        ({"url": "https://a.example:99999"}, "url", "port"),
        ({"url": "https://a.example:0"}, "url", "port"),
        ({"url": "https://a.example/" + "x" * 2000}, "url", "Longer"),
        ({"url": "http://10.0.0.1/"}, "url", "CDP_WEBHOOK_ALLOW_PRIVATE"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "url", "CDP_WEBHOOK_ALLOW_PRIVATE"),
        ({"url": "http://0xa.1/"}, "url", "CDP_WEBHOOK_ALLOW_PRIVATE"),
        ({"url": "http://167772161/"}, "url", "CDP_WEBHOOK_ALLOW_PRIVATE"),
    ],
)
def test_url_that_cannot_be_called_is_refused_with_a_reason(config, member, message):
    with pytest.raises(ConfigError, match=message) as refused:
        webhook.check(config)
    assert refused.value.member == member


def test_this_machine_is_refused_outside_the_demo(settings):
    settings.DEMO = False
    for host in ("localhost", "127.0.0.1", "127.1", "[::1]"):
        with pytest.raises(ConfigError):
            webhook.check({"url": f"http://{host}/"})


def test_description_shows_no_signature(receiver):
    message = message_to(receiver, json.dumps({"a": 1}))
    shown = webhook.describe(message)
    assert (shown.method, shown.url) == ("POST", receiver.url)
    assert shown.headers["webhook-id"] == str(message.id)
    assert shown.headers["webhook-signature"] == "(hidden)"

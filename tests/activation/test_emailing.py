"""E-mails by a real connection: what a mail server says, and what becomes of the message."""

import json
import socket
import threading

import pytest
from django.utils import timezone

from activation import emailing, retries
from activation.carriers import Message, Part
from activation.models import Destination, new_id

SAYS = {"full": "452 4.2.2 full", "grey": "451 4.7.1 greylisted", "no": "550 5.1.1 no such user"}


def serve(link, mails):
    """Speak SMTP: refuse by the first part of the address, and texts that say so."""
    stream = link.makefile("rb")
    say = lambda words: link.sendall(words.encode() + b"\r\n")  # noqa: E731
    say("220 here")
    while line := stream.readline().decode().strip():
        verb = line[:4].upper()
        if verb == "RCPT":
            say(SAYS.get(line.partition("<")[2].partition("@")[0], "250 ok"))
        elif verb == "DATA":
            say("354 go on")
            text = b"".join(iter(stream.readline, b".\r\n")).decode()
            is_spam = "casino" in text
            say("554 5.7.1 spam" if is_spam else "250 queued")
            mails.extend([] if is_spam else [text])
        else:
            say("221 bye" if verb == "QUIT" else "250 ok")


@pytest.fixture
def mails(settings):
    """What a mail server on loopback has taken."""
    listener, taken = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(link, taken), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = listener.getsockname()
    yield taken
    listener.close()


def message(address, subject="Hello", sent=""):
    customer = {"id": 7, "identifiers": [{"kind": "email", "value": address}]}
    body = json.dumps({"type": "segment.entered", "data": {"customer": customer}})
    config = {"from": "Shop <shop@example.com>", "subject": subject, "text": "Hello"}
    return Message(pk := new_id(), (Part(pk, body, sent),), config)


def send(message):
    with emailing.EmailKind().carrier() as carrier:
        return carrier.send(message)


@pytest.mark.parametrize(
    ("address", "subject", "becomes"),
    [
        ("anna@example.org", "Hello", "delivered"),
        ("no@example.org", "Hello", "dead"),
        ("full@example.org", "Hello", "retry"),
        ("grey@example.org", "Hello", "retry"),
        ("anna@example.org", "casino", "dead"),
    ],
)
def test_what_the_server_says_of_one_customer_is_no_fault_of_the_destination(
    mails, address, subject, becomes
):
    answer = send(message(address, subject))
    verdicts = [retries.judge(answer, attempts_before) for attempts_before in (0, 5)]
    for verdict in verdicts:
        states = {"delivered": verdict.is_delivered, "dead": verdict.is_dead}
        assert [state for state, holds in states.items() if holds] == (
            [] if becomes == "retry" else [becomes]
        )
    destination = Destination()
    retries.weigh(destination, answer, timezone.now())
    assert destination.failures_in_a_row == 0
    assert len(mails) == (becomes == "delivered")


def test_server_that_is_down_holds_the_destination(mails, settings):
    settings.EMAIL_PORT = 1
    answer = send(message("anna@example.org"))
    destination = Destination()
    retries.weigh(destination, answer, timezone.now())
    assert destination.failures_in_a_row == 1
    assert retries.judge(answer, 5).retry_in


def test_second_attempt_has_the_words_and_the_way_out_of_the_first(mails):
    first = message("anna@example.org", "At {{ 'now' | date: '%s%f' }}")
    words = emailing.EmailKind().words(first)
    kept = first._replace(parts=(first.parts[0]._replace(sent=words),))
    send(kept)
    send(kept)
    one, two = [[line for line in mail.splitlines() if line[:4] != "Date"] for mail in mails]
    assert one == two
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in one

"""Set aside with a reason, mended, and sent through again."""

from datetime import timedelta

import pytest
from django.db import connection

from customers.models import Customer
from events import quarantine
from events.models import Event, Inbox, Quarantine
from tests.events.reading import events_of, reasons

TRACK = {"userId": "u1", "event": "Clicked", "messageId": "m1"}


def replay_all(take_in):
    replayed = quarantine.replay([*Quarantine.objects.values_list("id", flat=True)])
    take_in()
    return replayed


def test_replayed_event_is_stored_as_of_when_it_came(send, take_in, source):
    source.is_enabled = False
    source.save()
    send("/v1/track", TRACK)
    Inbox.objects.update(received_at=Inbox.objects.get().received_at - timedelta(days=3))
    take_in()
    came_at = Quarantine.objects.get().received_at
    source.is_enabled = True
    source.save()
    assert replay_all(take_in) == 1
    event = Event.objects.get()
    assert (event.message_id, event.received_at, event.occurred_at) == ("m1", came_at, came_at)
    assert Quarantine.objects.get().replayed_at is not None


def test_event_of_a_batch_is_replayed_with_its_envelope(send, take_in, source):
    source.is_enabled = False
    source.save()
    event = TRACK | {"type": "track", "timestamp": "1998-06-30T00:00:00Z"}
    send("/v1/import", {"batch": [event], "context": {"locale": "de"}, "sentAt": "1999-01-01"})
    take_in()
    source.is_enabled = True
    source.save()
    replay_all(take_in)
    stored = Event.objects.get()
    assert (stored.occurred_at.year, stored.context["locale"]) == (1998, "de")


def test_what_is_still_bad_comes_back(send, take_in):
    send("/v1/track", TRACK | {"event": ""})
    take_in()
    replay_all(take_in)
    assert reasons() == ["no_name", "no_name"]


def test_bad_event_sent_again_is_set_aside_once_but_two_alike_are_two(send, take_in):
    named = {"type": "track", "userId": "u1", "messageId": "m1"}
    nameless = {"type": "track", "userId": "u1"}
    for sent_at in ("2026-01-31T12:30:00Z", "2026-01-31T12:31:00Z"):
        send("/v1/batch", {"batch": [named, nameless, nameless], "sentAt": sent_at})
        take_in()
    assert Quarantine.objects.count() == 1 + 4
    quarantine.replay(Quarantine.objects.values_list("pk", flat=True))
    take_in()
    assert Quarantine.objects.filter(replayed_at=None).count() == 1 + 4


def test_replaying_twice_does_it_once(send, take_in):
    send("/v1/track", TRACK | {"event": ""})
    take_in()
    ids = [Quarantine.objects.get().pk]
    assert [quarantine.replay(ids), quarantine.replay(ids)] == [1, 0]


def test_refused_value_fits_once_the_field_is_mended(send, take_in, make_field):
    field = make_field("size", "number")
    send("/v1/identify", {"userId": "u1", "messageId": "m1", "traits": {"size": "XL"}})
    take_in()
    assert reasons() == ["field_type"]
    field.type = "string"
    field.save()
    replay_all(take_in)
    assert Customer.objects.get().fields == {"size": "XL"}
    assert reasons() == ["field_type"]


def test_request_that_is_no_json_is_kept(take_in, source):
    Inbox.objects.create(source=source, call="track", body=b"\xff{")
    take_in()
    assert reasons() == ["malformed"]
    assert Quarantine.objects.get().body == "\ufffd{"


def test_request_of_a_source_that_is_gone_is_kept(send, take_in, source):
    send("/v1/track", TRACK)
    source.delete()
    take_in()
    assert reasons() == ["source_deleted"]


@pytest.fixture
def picky_database(db):
    """A database that refuses one kind of event, for a reason we did not foresee."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE events_event ADD CONSTRAINT picky CHECK (properties ->> 'x' <> 'bad')"
        )


@pytest.mark.usefixtures("picky_database")
def test_batch_that_the_database_refuses_loses_only_the_guilty(send, take_in):
    batch = [
        {"type": "track", "userId": f"u{n}", "event": "Clicked", "properties": {"x": x}}
        for n, x in enumerate(["good", "good", "bad", "good", "bad", "good", "good"])
    ]
    send("/v1/batch", {"batch": batch})
    take_in()
    assert reasons() == ["refused", "refused"]
    assert Event.objects.count() == 5
    assert events_of(customer_id="u6") == ["Clicked"]
    assert not Customer.objects.filter(external_id="u2").exists()


@pytest.mark.usefixtures("picky_database")
def test_refused_event_can_be_replayed(send, take_in):
    send("/v1/track", TRACK | {"properties": {"x": "bad"}})
    take_in()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE events_event DROP CONSTRAINT picky")
    replay_all(take_in)
    assert events_of(customer_id="u1") == ["Clicked"]

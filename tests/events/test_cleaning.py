"""The rules for single events: API.md, Fields, Ids, Never identities."""

from datetime import UTC, datetime

import pytest

from events.models import Event
from tests.events.reading import events_of, people, reasons

TRACK = {"event": "Clicked"}


def notes():
    return Event.objects.get().context.get("notes", [])


@pytest.mark.parametrize(
    ("user_id", "customer_id"),
    [
        (42, "42"),
        (42.0, "42"),
        (" u1 ", "u1"),
        ("007", "007"),
        (12345678901234567890, "12345678901234567890"),
    ],
)
def test_ids_become_text(tell, user_id, customer_id):
    tell(TRACK | {"userId": user_id})
    assert people() == [{"customer_id": [customer_id]}]


@pytest.mark.parametrize("absent", [None, ""])
def test_null_and_empty_ids_are_absent(tell, absent):
    tell(TRACK | {"userId": absent, "anonymousId": "a1"})
    assert people() == [{"anonymous_id": ["a1"]}]
    assert notes() == ["messageId missing, derived from the content"]


def test_id_that_names_nobody_is_dropped_with_a_note(tell):
    tell(TRACK | {"userId": "undefined", "anonymousId": "a1", "messageId": "m1"})
    assert people() == [{"anonymous_id": ["a1"]}]
    assert notes() == ["customer_id 'undefined' names nobody"]


def test_event_with_only_an_email_belongs_to_whoever_has_it(tell):
    tell(
        {"type": "identify", "userId": "u1", "traits": {"email": "Ann@x.ch"}},
        TRACK | {"context": {"traits": {"email": "ann@X.ch"}}},
    )
    assert events_of(customer_id="u1") == ["Clicked"]


def test_missing_message_id_is_derived_from_the_content(tell):
    tell(*[TRACK | {"userId": "u1"}] * 2, TRACK | {"userId": "u1", "properties": {"n": 1}})
    no_ids = {"a": 1}, [1], True
    tell(*(TRACK | {"userId": "u2", "messageId": no_id} for no_id in (*no_ids, *no_ids)))
    assert Event.objects.count() == 2 + len(no_ids)
    assert all(event.message_id.startswith("made-") for event in Event.objects.all())


def test_retry_with_a_later_sent_at_is_the_same_event(tell):
    event = TRACK | {"userId": "u1", "timestamp": "2026-01-01T00:00:00Z"}
    tell(event | {"sentAt": "2026-01-01T00:00:01Z"}, event | {"sentAt": "2026-01-01T00:00:09Z"})
    assert Event.objects.count() == 1


def test_overlong_message_id_still_tells_copies_apart(tell):
    tell(*(TRACK | {"userId": "u1", "messageId": "m" * 150 + end} for end in "aab"))
    assert Event.objects.count() == 2
    assert {len(event.message_id) <= 100 for event in Event.objects.all()} == {True}


def test_message_id_counts_per_source(tell, take_in, client, make_source):
    tell(TRACK | {"userId": "u1", "messageId": "m1"})
    make_source("till")
    client.post(
        "/v1/track?writeKey=wk_till",
        {"userId": "u1", "event": "Clicked", "messageId": "m1"},
        content_type="application/json",
    )
    take_in()
    assert Event.objects.count() == 2


def test_envelope_context_merges_into_each_event(send, take_in):
    batch = [{"type": "track", "userId": "u1", "event": "A", "context": {"locale": "de"}}]
    context = {"locale": "en", "campaign": {"name": "c1"}, "ip": "203.0.113.9"}
    send("/v1/batch", {"batch": batch, "context": context})
    take_in()
    kept = Event.objects.get().context
    assert (kept["locale"], kept["campaign"], "ip" in kept) == ("de", {"name": "c1"}, False)


def test_what_the_client_said_of_time_is_kept(tell):
    times = {"timestamp": "2019-01-01T08:50:00Z", "sentAt": "2019-01-01T09:00:00Z"}
    tell(TRACK | {"userId": "u1"} | times)
    event = Event.objects.get()
    assert event.context["sent"] == times
    assert (event.received_at - event.occurred_at).total_seconds() == 600


@pytest.mark.parametrize(
    ("path", "more"), [("/v1/import", {}), ("/v1/batch", {"type": "import"}), ("/v1/import/", {})]
)
def test_imports_take_the_time_as_it_is(send, take_in, path, more):
    event = {"type": "track", "userId": "u1", "event": "Order Completed"}
    event |= {"timestamp": "1998-06-30T00:00:00Z"}
    send(path, {"batch": [event], "sentAt": "1999-01-01T00:00:00Z"} | more)
    take_in()
    assert Event.objects.get().occurred_at == datetime(1998, 6, 30, tzinfo=UTC)


def test_page_and_screen_are_events_with_what_is_known_of_the_page(tell):
    page = {"url": "https://x.ch/a", "path": "/a", "title": "A", "referrer": ""}
    tell(
        {
            "type": "page",
            "userId": "u1",
            "name": "Home",
            "category": "Docs",
            "context": {"page": page},
            "properties": {"title": "B"},
        },
        {"type": "screen", "userId": "u1", "name": "Start"},
    )
    viewed, screen = (event.properties for event in Event.objects.order_by("id"))
    assert viewed == {
        "url": "https://x.ch/a",
        "path": "/a",
        "title": "B",
        "name": "Home",
        "category": "Docs",
    }
    assert screen == {"name": "Start"}
    assert events_of(customer_id="u1") == ["Page Viewed", "Screen Viewed"]


def test_type_decides_before_the_path(send, take_in):
    send("/v1/track", {"type": "page", "userId": "u1"})
    take_in()
    assert events_of(customer_id="u1") == ["Page Viewed"]


def test_alias_gives_the_customer_another_identifier(tell):
    tell(
        TRACK | {"anonymousId": "a1"},
        {"type": "alias", "previousId": "a1", "userId": "u1"},
        {"type": "alias", "previousId": "a2", "userId": "u1"},
        TRACK | {"anonymousId": "a2", "messageId": "m9"},
    )
    assert people() == [{"anonymous_id": ["a1", "a2"], "customer_id": ["u1"]}]
    assert events_of(customer_id="u1") == ["Clicked", "Clicked"]


def test_alias_of_oneself_changes_nothing(tell):
    tell({"type": "alias", "previousId": "u1", "userId": "u1"})
    assert people() == [{"customer_id": ["u1"]}]
    assert reasons() == []

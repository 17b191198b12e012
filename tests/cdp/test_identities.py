"""Who is who as an outsider sees it: calls go in over HTTP, profiles and events are counted."""

import itertools
import json

import pytest

from cdp import identities, pipeline
from customers import unmerging
from customers.models import Change, Customer, FieldChange, Identifier, Merge
from events.models import Event, Quarantine

pytestmark = pytest.mark.django_db


@pytest.fixture
def send(client, make_source):
    """Send calls in words, each a request of its own, such as "track u1 a1 Bought"."""
    number = itertools.count()

    def send(*calls, source="shop", together=False):
        make_source(source)
        batch = [call(words, f"m{next(number)}") for words in calls]
        for messages in [batch] if together else [[one] for one in batch]:
            answer = client.post(
                f"/v1/batch?writeKey=wk_{source}",
                json.dumps({"batch": messages}),
                content_type="text/plain",
            )
            assert answer.status_code == 200, answer.content
            while pipeline.ingest(1000):
                pass

    return send


WORDS = {"u": "userId", "a": "anonymousId"}


def call(words, message_id):
    """A call by words, the kind first; a dict is taken as it is."""
    if isinstance(words, dict):
        return {"messageId": message_id, **words}
    kind, *rest = words.split()
    body = {"type": kind, "messageId": message_id, "traits": {}}
    for word in rest:
        name, equals, value = word.partition("=")
        if equals:
            body["traits"][name] = value
        elif word[0] == "p":
            body["previousId"] = "a" + word[1:]
        elif word[0] == "e":
            body["traits"]["email"] = f"{word}@example.com"
        else:
            body[WORDS.get(word[0], "event")] = word
    return body


def picture():
    """{identifiers of a profile: names of its events}, as words."""
    found = {}
    for customer in Customer.objects.current():
        known_by = sorted(row.value.split("@")[0] for row in customer.identifiers.all())
        names = customer.events.order_by("id").values_list("name__name", flat=True)
        found[" ".join(known_by)] = " ".join(names)
    return found


CASES = {
    "a visitor signs in": (["track a1 A", "identify a1 u1", "track u1 B"], {"a1 u1": "A B"}),
    "two devices of one": (
        ["track a1 A", "identify a1 u1", "track a2 B", "identify a2 u1", "track a2 C"],
        {"a1 a2 u1": "A B C"},
    ),
    "a device changes hands": (
        ["track a1 u1 A", "track a1 B", "track a1 u2 C", "track a1 D", "track u1 E"],
        {"u1": "A B E", "a1 u2": "C D"},
    ),
    "a device changes hands again and again": (
        ["track a1 u1 A", "track a1 u2 B", "track a1 u1 C", "track a1 u2 D", "track a1 E"],
        {"u1": "A C", "a1 u2": "B D E"},
    ),
    "a family shares an e-mail": (
        ["identify u1 a1 e1", "identify u2 a2 e1", "track a1 A", "track a2 B"],
        {"a1 e1 u1": "A", "a2 u2": "B"},
    ),
    "an e-mail alone finds its owner": (
        ["identify u1 e1", "identify e1", "track u1 A"],
        {"e1 u1": "A"},
    ),
    "alias": (["track a1 A", "alias p1 u1", "track u1 B"], {"a1 u1": "A B"}),
    "alias of oneself": (
        [{"type": "alias", "previousId": "u1", "userId": "u1"}, "track u1 A"],
        {"u1": "A"},
    ),
    "alias of a known visitor": (
        ["track a1 A", "track u1 B", "alias p1 u1"],
        {"a1 u1": "A B"},
    ),
    "chain": (
        ["track a1 A", "track a2 B", "track a3 C", "alias a1 p2", "alias a2 p3", "identify a3 u1"],
        {"a1 a2 a3 u1": "A B C"},
    ),
    "numbers are texts": (
        [
            {"type": "track", "event": "A", "userId": 42},
            {"type": "track", "event": "B", "userId": "42"},
            {"type": "track", "event": "C", "userId": 42.0},
        ],
        {"42": "A B C"},
    ),
    "null, empty and words are nobody": (
        [
            {"type": "track", "event": "A", "userId": None, "anonymousId": "a1"},
            {"type": "track", "event": "B", "userId": "", "anonymousId": "a2"},
            {"type": "track", "event": "C", "userId": "Undefined", "anonymousId": "a1"},
            {"type": "track", "event": "D", "userId": " NULL ", "anonymousId": "a2"},
            {"type": "track", "event": "E", "userId": "0000-0000", "anonymousId": "a1"},
            {"type": "track", "event": "F", "userId": "anonymous"},
            {"type": "track", "event": "G"},
        ],
        {"a1": "A C E", "a2": "B D"},
    ),
    "kinds of one's own join": (
        [
            {
                "type": "track",
                "event": name,
                "anonymousId": device,
                "context": {"externalIds": [{"type": "Loyalty", "id": 77}]},
            }
            for name, device in (("A", "a1"), ("B", "a2"))
        ],
        {"77 a1 a2": "A B"},
    ),
    "a card that changes hands": (
        [
            {
                "type": "track",
                "event": name,
                "userId": user,
                "context": {"externalId": [{"type": "loyalty", "id": "77"}]},
            }
            for name, user in (("A", "u1"), ("B", "u2"))
        ],
        {"u1": "A", "77 u2": "B"},
    ),
    "a second customerId in externalIds": (
        [
            {
                "type": "track",
                "event": "A",
                "userId": "u1",
                "context": {"externalIds": [{"type": "user_id", "id": "u2"}]},
            }
        ],
        {"u1": "A"},
    ),
    "a group is no person": (
        [
            {"type": "group", "groupId": "g1", "traits": {"email": "info@acme.com"}},
            {"type": "group", "groupId": "g1", "userId": "u1", "traits": {"email": "x@acme.com"}},
        ],
        {"u1": ""},
    ),
}


@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
@pytest.mark.parametrize("name", CASES)
def test_profiles_and_events_are_as_the_rules_say(name, together, send):
    calls, expected = CASES[name]
    send(*calls, together=together)
    assert picture() == expected


def test_trusted_email_joins_visitors_but_never_two_customers(send, settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    send("identify a1 e1", "identify a2 e1", "identify u1 e2", "identify u2 e2", "identify e2")
    assert set(picture()) == {"a1 a2 e1", "u1", "e2 u2"}


def test_ids_are_the_same_in_every_way_in(send, api):
    for spelled in ("\u200bu1", "u1\u00a0", "u1"):
        send({"type": "track", "event": "A", "userId": spelled})
        assert api.put("/api/customers/", [{"customer_id": spelled, "fields": {}}])[0] == 200
    assert picture() == {"u1": "A A A"}
    for torn in ("u\x001", "u\n1", "u\ud8001"):
        send({"type": "track", "event": "B", "userId": torn})
    told = api.put("/api/customers/", [{"customer_id": "u\n1"}])[1]
    assert "control character" in str(told["errors"])
    assert [row.code for row in Quarantine.objects.all()] == ["no_identity"] * 3
    assert all("control character" in row.message for row in Quarantine.objects.all())
    assert picture() == {"u1": "A A A"}


def test_value_that_gave_way_in_a_merge_says_so_in_the_history_of_its_field(
    send, api, make_field, admin_client
):
    field = make_field("city")
    api.put("/api/customers/", [{"customer_id": "u1", "fields": {"city": "Bern"}}])
    send("identify a1 city=Nowhere", "identify u1 a1")
    customer = Customer.objects.get(external_id="u1")
    assert customer.fields == {"city": "Bern"}
    page = admin_client.get(f"/admin/customers/customer/{customer.pk}/field/{field.pk}/")
    assert page.content.decode().count("Not taken over when two profiles became one") == 1
    told = api.get(f"/api/customers/{customer.pk}/changes/")[1]["results"]
    assert [row["changes"]["city"][1] for row in told if row["origin"]] == ["Nowhere"]


def test_same_message_from_two_sources_is_two_events_of_one_profile(send):
    message = {"type": "track", "event": "A", "userId": "u1", "messageId": "same"}
    send(message, message, source="shop")
    send(message, source="till")
    assert picture() == {"u1": "A A"}


def test_phones_are_one_however_they_are_written(send):
    for phone in ("+41 79 123 45 67", "079 123 45 67", "0041791234567", "(079) 123.45.67"):
        send({"type": "identify", "traits": {"phone": phone}})
    assert [row.value for row in Identifier.objects.all()] == ["+41791234567"]


def undo(number=0):
    merge = Merge.objects.filter(undone_at=None).order_by("id")[number]
    return identities.undo(merge, by="Anna")


def test_undoing_a_merge_takes_exactly_what_was_theirs_and_what_came_since(send, make_field):
    make_field("city")
    make_field("tier")
    send("track a1 A", "identify a1 city=Basel tier=gold", "identify u1 city=Bern", "track u1 B")
    visitor, known = Customer.objects.order_by("id")
    send("track a1 u1 C", "track a1 D", "track u1 E", "identify a1 tier=silver")
    known.refresh_from_db()
    assert known.fields == {"city": "Bern", "tier": "silver"}
    undo()
    assert picture() == {"a1": "A D", "u1": "B C E"}
    known.refresh_from_db()
    visitor.refresh_from_db()
    assert known.fields == {"city": "Bern"}
    assert visitor.fields == {"city": "Basel", "tier": "silver"}
    assert visitor.merged_into_id is None
    assert FieldChange.objects.filter(customer=visitor).count() == 2
    facts = set(Change.objects.values_list("customer_id", "fact"))
    assert {(c.pk, f"unmerged:{visitor.pk}") for c in (known, visitor)} <= facts


def test_value_that_the_absorbed_overwrote_comes_back(send, make_field):
    make_field("city")
    send("track a1 A", "identify u1 city=Bern", "identify a1 city=Basel", "track a1 u1 B")
    assert Customer.objects.current().get().fields == {"city": "Basel"}
    undo()
    by_name = {c.external_id: c.fields for c in Customer.objects.current()}
    assert by_name == {"u1": {"city": "Bern"}, None: {"city": "Basel"}}


CHAIN = ["track a1 A", "track a2 B", "track u1 C", "alias a1 p2", "track a2 D", "alias p1 u1"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, {"a2": "B D F", "a1 u1": "A C E G"}),  # a2 into a1, which is in u1 by now
        (1, {"a1 a2": "A B D E F", "u1": "C G"}),  # a1 with a2 out of u1
    ],
)
def test_one_merge_of_a_chain_is_undone(number, expected, send):
    send(*CHAIN, "track a1 E", "track a2 F", "track u1 G")
    assert picture() == {"a1 a2 u1": "A B C D E F G"}
    undo(number)
    assert picture() == expected


def test_whole_chain_is_undone_in_any_order(send):
    for numbers in ((0, 0), (1, 0)):
        send(*CHAIN, "track a1 E", "track a2 F", "track u1 G")
        for number in numbers:
            undo(number)
        assert picture() == {"a1": "A E", "a2": "B D F", "u1": "C G"}
        for model in (Event, Identifier, Merge, FieldChange, Change, Customer):
            model.objects.all().delete()


def test_chain_within_one_batch_is_undone(send, make_field):
    make_field("city")
    send("identify a1 city=Bern", *CHAIN[1:], "track a2 F", together=True)
    undo(1)
    assert picture() == {"a1 a2": "B D F", "u1": "C"}
    undo(0)
    assert picture() == {"a1": "", "a2": "B D F", "u1": "C"}


def test_separated_customers_are_not_joined_again_by_a_message(send):
    send("track a1 A", "track u1 B", "track a1 u1 C")
    undo()
    send("track a1 D", "track a1 u1 E", "track a1 F")
    assert picture() == {"": "A D", "a1 u1": "B C E F"}
    assert Merge.objects.filter(undone_at=None).count() == 0


def test_customers_joined_by_hand_keep_what_the_crm_calls_them(send):
    send("track u1 A", "track u2 B")
    one, other = Customer.objects.order_by("id")
    identities.join(one, other, by="Anna")
    send("track u2 C", "track u2 a9 D", "track a9 E", "track u1 F")
    assert picture() == {"a9 u1 u2": "A B C D E F"}
    undo()
    # The device came with u2, but to the one customer they were: it stays with who stays.
    assert picture() == {"a9 u1": "A E F", "u2": "B C D"}
    assert {c.external_id for c in Customer.objects.current()} == {"u1", "u2"}


def test_detached_identifier_takes_exactly_what_came_by_it(send, make_field):
    make_field("city")
    make_field("tier")
    send("identify a1 city=Basel", "track a1 A", "identify u1 a1 tier=gold", "track u1 B")
    (customer,) = Customer.objects.current()
    split = identities.detach(customer.pk, ("anonymous_id", "a1"), by="Anna")
    assert picture() == {"a1": "A", "u1": "B"}
    customer.refresh_from_db()
    assert customer.fields == {"tier": "gold"}
    assert Customer.objects.get(pk=split.separated_id).fields == {"city": "Basel"}
    send("track a1 C", "track a1 u1 D")
    assert picture() == {"": "A C", "a1 u1": "B D"}


def test_detached_customer_id_leaves_an_anonymous_visitor(send):
    send("track a1 A", "identify a1 u1", "track u1 B")
    (customer,) = Customer.objects.current()
    identities.detach(customer.pk, ("customer_id", "u1"), by="Anna")
    assert picture() == {"a1": "A", "u1": "B"}
    customer.refresh_from_db()
    assert customer.external_id is None
    assert Customer.objects.get(external_id="u1").first_seen_at is not None


def test_only_identifier_cannot_be_detached_and_a_merge_is_undone_once(send):
    send("track a1 A", "track u1 B", "track a1 u1 C")
    split = undo()
    with pytest.raises(unmerging.CannotSeparateError):
        identities.undo(Merge.objects.get(), by="Anna")
    with pytest.raises(unmerging.CannotSeparateError):
        identities.detach(split.kept_id, ("customer_id", "u1"), by="Anna")


def test_times_of_both_are_right_after_an_undo(send):
    def at(call, day):
        name, who = call.split()
        key = "userId" if who[0] == "u" else "anonymousId"
        when = f"2026-01-{day:02}T12:00:00Z"
        return {"type": "track", "event": name, key: who, "timestamp": when}

    send(at("A a1", 1), at("B u1", 5), at("C a1", 20), at("D u1", 15))
    send({"type": "alias", "previousId": "a1", "userId": "u1", "timestamp": "2026-01-10T12:00:00Z"})
    undo()
    seen = {
        c.external_id: (c.first_seen_at.day, c.last_seen_at.day) for c in Customer.objects.current()
    }
    assert seen == {None: (1, 20), "u1": (5, 15)}


def test_preview_says_what_the_undo_does(send, make_field):
    make_field("city")
    send("track a1 A", "identify a1 city=Basel", "track u1 B", "track a1 u1 C", "track a1 A")
    preview = identities.preview_undo(Merge.objects.get())
    assert preview.events == {"A": 2}
    assert preview.values == [("city", "Basel", None, "Basel")]
    assert preview.split.identifiers == (("anonymous_id", "a1"),)
    assert picture() == {"a1 u1": "A B C A"}


def test_undo_of_many_events_takes_few_statements(send, django_assert_max_num_queries):
    send(*[f"track a1 E{n}" for n in range(30)], "track u1 B", "track a1 u1 C", together=True)
    with django_assert_max_num_queries(45):
        undo()
    assert Event.objects.filter(customer__external_id=None).count() == 30

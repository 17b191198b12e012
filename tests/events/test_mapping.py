"""What sources call things becomes what we call them."""

from decimal import Decimal

import pytest

from events import mapping
from events.mapping import MappingError
from events.models import Event, Quarantine
from tests.events.reading import events_of

GA4_PURCHASE = {
    "type": "track",
    "userId": "u1",
    "event": "purchase",
    "properties": {
        "transaction_id": "T-1",
        "value": 129.9,
        "currency": "chf",
        "items": [{"item_id": "S1", "item_name": "Socks", "price": 9.9, "quantity": 2}],
    },
}


def track(name, **properties):
    return {"type": "track", "userId": "u1", "event": name, "properties": properties}


def test_names_of_ga4_are_recognised_by_their_parameters(tell):
    tell(GA4_PURCHASE, track("purchase", amount=5))
    assert events_of(customer_id="u1") == ["Order Completed", "purchase"]
    order = Event.objects.get(name__name="Order Completed")
    assert (order.amount, order.currency) == (Decimal("129.9"), "CHF")
    assert order.properties["order_id"] == "T-1"
    assert order.properties["products"][0]["product_id"] == "S1"
    assert "items" not in order.properties


def test_first_names_of_segment_are_recognised(tell):
    tell(track("Completed Order", total=5), track("Viewed Product", sku="S1"))
    assert events_of(customer_id="u1") == ["Order Completed", "Product Viewed"]


def test_source_may_do_without_presets(tell, source):
    source.mapping = {"presets": []}
    source.save()
    tell(GA4_PURCHASE)
    assert events_of(customer_id="u1") == ["purchase"]


def test_own_names_paths_numbers_dates_and_values(tell, source):
    source.mapping = mapping.check(
        {
            "events": {"Kauf": "Order Completed"},
            "properties": {"Beleg.Summe": "total", "Kunde": ".userId", "am": ".timestamp"},
            "numbers": {"total": "1.234,50"},
            "dates": {".timestamp": "dd.mm.yyyy"},
            "values": {"Zahlart": {"1": "cash", "2": "card"}},
        }
    )
    source.save()
    till = {
        "Beleg": {"Summe": "1.234,50", "Nr": 5},
        "Kunde": "u7",
        "am": "31.01.2026",
        "Zahlart": 2,
    }
    tell({"type": "track", "event": "Kauf", "properties": till})
    assert events_of(customer_id="u7") == ["Order Completed"]
    event = Event.objects.get()
    assert event.amount == Decimal("1234.50")
    assert event.properties == {"Beleg": {"Nr": 5}, "total": Decimal("1234.50"), "Zahlart": "card"}
    assert event.occurred_at.isoformat() == "2026-01-30T23:00:00+00:00"


def test_value_that_cannot_be_read_stays_as_it_is(tell, source):
    source.mapping = {"numbers": {"total": "1.234,50"}, "dates": {"on": "dd.mm.yyyy"}}
    source.save()
    tell(track("X", total="a lot", on="soon"), track("Y", total=[1], on={}))
    assert Event.objects.get(name__name="X").properties == {"total": "a lot", "on": "soon"}
    assert Event.objects.get(name__name="Y").properties == {"total": [1], "on": {}}


def test_traits_have_paths_too(tell, source, make_field):
    make_field("city")
    source.mapping = {"properties": {"Ort": "city"}}
    source.save()
    tell({"type": "identify", "userId": "u1", "traits": {"Ort": "Bern"}})
    tell(track("X"))
    assert Event.objects.get().customer.fields == {"city": "Bern"}


def test_word_that_names_nobody_gives_way_to_the_id_that_a_mapping_brings(tell, source):
    source.mapping = {"properties": {"kunde": ".userId"}}
    source.save()
    tell({**track("A", kunde="C-1"), "userId": "null"}, track("B", kunde="C-2"))
    assert events_of(customer_id="C-1") == ["A"]
    assert events_of(customer_id="u1") == ["B"]


def test_rejected_event_is_mended_by_a_mapping_and_sent_through_again(api, tell, take_in, source):
    tell({"type": "track", "event": "Kauf", "properties": {"Kunde": "u7"}})
    rejected = Quarantine.objects.get()
    given = {"properties": {"Kunde": ".userId"}, "events": {"Kauf": "Order Completed"}}
    status, shown = api.post(
        "/api/sources/shop/try/", {"event": {"event": "Kauf", "properties": {"Kunde": "u7"}}}
    )
    assert (status, shown["code"]) == (200, "no_identity")
    status, shown = api.post(
        "/api/sources/shop/try/",
        {"event": {"event": "Kauf", "properties": {"Kunde": "u7"}}, "mapping": given},
    )
    assert (shown["name"], shown["identifiers"]) == (
        "Order Completed",
        [{"kind": "customer_id", "value": "u7"}],
    )
    assert api.patch("/api/sources/shop/", {"mapping": given})[0] == 200
    assert api.post(f"/api/quarantine/{rejected.pk}/replay/")[1] == {"replayed": 1}
    take_in()
    assert events_of(customer_id="u7") == ["Order Completed"]


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        {"event": {}},
        {"presets": "ga4"},
        {"presets": ["other"]},
        {"events": []},
        {"events": {"a": ""}},
        {"events": {"a": 5}},
        {"properties": {"": "b"}},
        {"properties": {"a": ".messageId"}},
        {"properties": {".properties": "b"}},
        {"numbers": {"a": "1,234"}},
        {"dates": {"a": "soon"}},
        {"values": {"a": ["b"]}},
        {"values": {"a": {"b": []}}},
        {"events": {str(n): "x" for n in range(501)}},
    ],
)
def test_mapping_that_cannot_be_followed_is_refused(api, source, wrong):
    with pytest.raises(MappingError):
        mapping.check(wrong)
    assert api.patch("/api/sources/shop/", {"mapping": wrong})[0] == 400

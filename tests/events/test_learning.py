"""The catalogue learns what events are like, and a plan says which are expected."""

import pytest
from django.contrib.auth.models import User

from events import learning
from events.models import Event, EventName, EventProperty


@pytest.fixture(autouse=True)
def _forgetful():
    learning.forget()


def track(name="Order Completed", **properties):
    return {"type": "track", "userId": "u1", "event": name, "properties": properties}


def test_properties_are_learnt_with_types_and_examples(tell, api):
    tell(
        track(total=5, paid=True, address={"city": "Bern", "geo": {"x": {"y": 1}}}, items=[1]),
        track(total="five", nothing=None),
    )
    _, page = api.get("/api/event-names/")
    [shown] = page["results"]
    known = {p["name"]: (p["types"], p["example"]) for p in shown["properties"]}
    assert known == {
        "total": (["number", "string"], 5),
        "paid": (["boolean"], True),
        "address.city": (["string"], "Bern"),
        "address.geo.x": (["object"], None),
        "items": (["array"], None),
    }
    assert shown["last_seen"] >= shown["first_seen"]


def test_keys_that_are_data_do_not_flood_the_catalogue(tell):
    tell(*(track(**{f"key {n} {m}": 1 for m in range(150)}) for n in range(4)))
    assert EventProperty.objects.count() <= 300


@pytest.mark.django_db(transaction=True)
def test_what_is_known_is_not_written_again(tell, django_assert_num_queries):
    tell(track(total=5))
    name = EventName.objects.get()
    with django_assert_num_queries(0):
        learning.note([(name.pk, {"total": 7})])


def test_unexpected_events_are_taken_and_stand_out(tell, api, client):
    tell(track(), track("Odd One"))
    odd, order = EventName.objects.order_by("name")
    status, shown = api.patch(
        f"/api/event-names/{order.pk}/", {"expected": True, "description": "A sale"}
    )
    assert (status, shown["expected"], shown["description"]) == (200, True, "A sale")
    client.force_login(User.objects.create_superuser("anna"))
    text = client.get("/admin/events/eventname/").content.decode()
    assert "Expected" in text
    assert "Unexpected" in text
    assert Event.objects.filter(name=odd).count() == 1
    assert api.get("/api/event-names/?expected=true")[1]["results"][0]["name"] == order.name
    assert api.patch(f"/api/event-names/{order.pk}/", {"expected": "perhaps"})[0] == 400
    page = client.get(f"/admin/events/eventname/{order.pk}/change/")
    assert page.status_code == 200

"""Staff pages about sources: install the tag, map, see what arrives, mend what was rejected."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User

from customers import clock
from events import inbox, sources
from events.models import Event, EventName, Quarantine, Source, Waiting
from tests.events.reading import events_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client):
    """Somebody signed in with all rights: `staff(path)` gives a page's text."""
    browser = type(client)()
    browser.force_login(User.objects.create_superuser("anna"))

    def open_page(path, **post):
        answer = browser.post(path, post, follow=True) if post else browser.get(path, follow=True)
        assert answer.status_code == 200
        return answer.content.decode()

    return open_page


TRACK = {"type": "track", "userId": "u1", "event": "Clicked", "properties": {"x": "<script>"}}


def test_tag_is_installed_with_the_real_key_and_waits_for_the_first_event(staff):
    text = staff("/admin/events/source/install/")
    assert "Which website?" in text
    text = staff("/admin/events/source/install/", name="Online shop")
    shop = Source.objects.get()
    assert f"http://testserver/cdp.js?key={shop.write_key}" in text
    assert "Waiting for the first event" in text


def test_first_event_is_told_with_where_it_came_from(staff, tell, source):
    path = f"/admin/events/source/{source.pk}/first/"
    tell({"type": "track", "userId": "u1"})
    assert "was rejected" in staff(path)
    tell(TRACK | {"context": {"page": {"url": "https://demo-shop.ch/socks"}}})
    text = staff(path)
    assert "Event received: Clicked" in text
    assert "from demo-shop.ch" in text


def test_silence_of_a_day_is_told(staff, tell, source):
    tell(TRACK)
    Event.objects.update(received_at=clock.now() - timedelta(days=2))
    assert "Nothing has arrived for a while" in staff(f"/admin/events/source/{source.pk}/first/")


def test_each_kind_of_source_says_how_it_sends(staff):
    install = "/admin/events/source/{}/install/"
    till = staff(install.format(sources.create("Till", "store").pk))
    assert "/v1/track" in till
    assert "cdp.js" not in till
    tool = sources.create("Mails", "email")
    assert f"http://testserver/hooks/email/{tool.hook_token}/" in staff(install.format(tool.pk))
    assert "cdp.js" not in staff(install.format(tool.pk))


def test_report_of_nobody_waits_where_staff_sees_it(staff, client, rf):
    tool = sources.create("Mails", "email")
    row = Waiting.objects.create(
        email="ann@example.ch", source=tool, body='{"event": "Email Opened"}'
    )
    assert "of an address that no customer has" in staff(f"/admin/events/source/{tool.pk}/first/")
    assert "Email Opened" in staff("/admin/events/waiting/?q=Ann@Example.ch")
    assert "Email Opened" not in staff("/admin/events/waiting/?q=bob@example.ch")
    assert "ann@example.ch" in staff(f"/admin/events/waiting/{row.pk}/change/")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(viewer)
    for page in ("", f"{row.pk}/change/"):
        seen = client.get(f"/admin/events/waiting/{page}")
        assert seen.status_code == 200
        assert b"ann@example.ch" not in seen.content


def test_test_event_goes_the_way_of_all_events(staff, source):
    path = "/admin/events/eventname/live/send/"
    assert "say whose event it is" in staff(path, to="shop", event="Clicked")
    assert "was sent to" in staff(path, to="shop", event="Clicked\0", customer="CH-1")
    inbox.process(10)
    lines = "/admin/events/eventname/live/lines/?customer="
    assert "Clicked" in staff(f"{lines}CH-1")
    assert "Nothing has arrived" in staff(f"{lines}CH-2")


def test_kind_of_event_is_put_into_the_plan_on_its_page(staff, tell):
    tell(TRACK)
    name = EventName.objects.get()
    page = staff(f"/admin/events/eventname/{name.pk}/plan/", expected="yes")
    assert "Expected" in page
    assert "It is not expected" in page
    name.refresh_from_db()
    assert name.is_expected is True


def test_live_view_shows_what_was_taken_and_what_was_rejected(staff, tell):
    tell(TRACK, {"type": "track", "event": "Nobody's"})
    text = staff("/admin/events/eventname/live/")
    assert "Clicked" in text
    assert "The event names nobody" in text
    assert '<script>"' not in text
    lines = "/admin/events/eventname/live/lines/"
    assert "Clicked" not in staff(f"{lines}?state=rejected")
    assert "names nobody" not in staff(f"{lines}?state=taken")
    assert "Nothing has arrived" in staff(f"{lines}?name=Other")
    assert "Clicked" in staff(f"{lines}?source=shop&name=Clicked")
    assert "Nothing has arrived" in staff(f"{lines}?source=%00'")


def test_mapping_is_tried_on_an_event_before_it_is_saved(staff, source):
    path = f"/admin/events/source/{source.pk}/mapping/"
    assert "Order Completed" in staff(path)  # the example is GA4's
    event = json.dumps({"event": "Kauf", "properties": {"Kunde": "u7", "Summe": "1.234,50"}})
    given = {
        "events": "Kauf = Order Completed\n",
        "properties": "Kunde = .userId\nSumme = total",
        "numbers": "total = 1.234,50",
        "values": "Zahlart: 1 = cash",
        "event": event,
    }
    text = staff(path, **given)
    assert "worth CHF 1&#x27;234.50" in text
    source.refresh_from_db()
    assert source.mapping == {}
    staff(path, **given, save="")
    source.refresh_from_db()
    assert source.mapping["values"] == {"Zahlart": {"1": "cash"}}
    assert source.mapping["presets"] == []
    assert "Kunde = .userId" in staff(path)


@pytest.mark.parametrize(
    ("part", "line", "error"),
    [
        ("events", "Kauf", "is not written as"),
        ("numbers", "total = 1,2", "must be written as one of"),
        ("values", "status = paid", "is not written as: property"),
        ("event", "{", "This is not JSON"),
        ("event", "[" * 9_999, "This is not JSON"),
    ],
)
def test_mistake_in_a_mapping_is_told_beside_it_and_nothing_is_saved(
    staff, source, part, line, error
):
    given = {"event": "{}", part: line}
    assert error in staff(f"/admin/events/source/{source.pk}/mapping/", **given)
    source.refresh_from_db()
    assert source.mapping == {}


def test_rejected_event_leads_to_the_mapping_and_all_go_through_again(staff, tell, take_in, source):
    tell(*({"type": "track", "event": "Kauf", "properties": {"Kunde": f"u{n}"}} for n in range(3)))
    row = Quarantine.objects.first()
    assert "Mend by mapping" in staff(f"/admin/events/quarantine/{row.pk}/change/")
    path = f"/admin/events/source/{source.pk}/mapping/"
    assert "Kunde" in staff(f"{path}?rejected={row.pk}")
    staff(path, properties="Kunde = .userId", event="{}", save="")
    assert "3 events go through again" in staff(f"/admin/events/source/{source.pk}/replay/", all="")
    take_in()
    assert events_of(customer_id="u2") == ["Kauf"]
    assert Event.objects.count() == 3


def test_one_rejected_event_is_sent_through_again(staff, tell, take_in):
    tell({"type": "track", "event": "Kauf"})
    row = Quarantine.objects.get()
    staff(f"/admin/events/quarantine/{row.pk}/again/", go="")
    take_in()
    assert Quarantine.objects.filter(replayed_at=None).count() == 1


def test_marketer_may_look_at_what_arrives_but_not_at_keys(client, source):
    marketer = User.objects.create_user("max", is_staff=True)
    marketer.groups.add(Group.objects.get(name="Marketer"))
    client.force_login(marketer)
    assert client.get("/admin/events/eventname/live/").status_code == 200
    for page in ("install", "first", "mapping"):
        assert client.get(f"/admin/events/source/{source.pk}/{page}/").status_code == 403
    assert client.post(f"/admin/events/source/{source.pk}/mapping/").status_code == 403

"""The pages of triggers and destinations: what they say and do; and who may see which page."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission

from activation.models import Attempt, Backlog, Delivery, Destination, Tally, Trigger
from customers import adminkit, clock
from segments import definitions
from segments.models import MembershipChange
from tests.people import queries_of

pytestmark = pytest.mark.django_db

TRIGGERS = "/admin/activation/trigger/"
DESTINATIONS = "/admin/activation/destination/"
DELIVERIES = "/admin/activation/delivery/"


def text_of(answer):
    return answer.content.decode()


def dead(**more):
    return {"dead_at": clock.now(), "attempts_made": 3, "last_error": "Answered 500.", **more}


# Triggers


def test_trigger_is_made_by_a_sentence_and_switched_off(staff, by_hand, make_destination):
    destination = make_destination()
    sentence = {"on": "leave", "segment": by_hand.pk, "destination": destination.pk}
    answer = staff.post(f"{TRIGGERS}add/", {"name": "Lost", "key": "lost", **sentence})
    made = Trigger.objects.get()
    assert answer.url == f"{TRIGGERS}{made.pk}/"
    assert (made.on, made.segment, made.is_enabled) == ("leave", by_hand, False)


def test_trigger_form_says_what_is_missing(staff, by_hand):
    answer = staff.post(f"{TRIGGERS}add/", {"on": "enter", "segment": by_hand.pk})
    assert {*answer.context["form"].errors} == {"name", "key", "destination"}
    assert "First say where messages shall go" in text_of(staff.get(f"{TRIGGERS}add/"))


def test_trigger_that_has_sent_keeps_its_segment(staff, trigger, make_delivery, make_by_hand):
    make_delivery()
    sentence = {"on": "enter", "segment": make_by_hand().pk, "destination": trigger.destination_id}
    answer = staff.post(f"{TRIGGERS}{trigger.pk}/change/", {"name": "New", **sentence})
    assert "make a new trigger" in text_of(answer)
    trigger.refresh_from_db()
    assert trigger.name == "Thank them"


def test_page_says_what_the_trigger_would_have_sent(staff, trigger, make_customer):
    now = clock.now()
    for days, cause in ((1, "event"), (6, "time"), (8, "event"), (1, "rule")):
        MembershipChange.objects.create(
            customer=make_customer(),
            segment=trigger.segment,
            entered=True,
            at=now - timedelta(days=days),
            cause=cause,
            entry_no=1,
        )
    definitions.add_members(trigger.segment, [make_customer().pk])
    context = staff.get(f"{TRIGGERS}{trigger.pk}/").context
    assert (context["forecast"].messages, context["members"]) == (3, 1)


def test_switch_sends_to_new_ones_only_unless_told_otherwise(staff, trigger, make_customer):
    definitions.add_members(trigger.segment, [make_customer().pk])
    switch = f"{TRIGGERS}{trigger.pk}/switch/"
    staff.post(switch, {"to": "on", "existing": "no"})
    trigger.refresh_from_db()
    assert (trigger.is_enabled, trigger.include_existing) == (True, False)
    assert not Backlog.objects.exists()
    staff.post(switch, {"to": "off"})
    trigger.refresh_from_db()
    assert not trigger.is_enabled
    staff.post(switch, {"to": "on", "existing": "yes"})
    assert Backlog.objects.filter(trigger=trigger).exists()


def test_switch_needs_a_post(staff, trigger):
    assert staff.get(f"{TRIGGERS}{trigger.pk}/switch/").status_code == 405


def test_test_shows_request_and_answer_and_counts_nowhere(staff, trigger, receiver, make_customer):
    ann = make_customer("ann", fields={"firstName": "Ann"})
    answer = staff.post(f"{TRIGGERS}{trigger.pk}/test/", {"sample": ann.pk})
    text = text_of(answer)
    assert "It works: answered 200" in text
    assert "&quot;firstName&quot;: &quot;Ann&quot;" in text
    assert trigger.destination.secret not in text
    assert "webhook-signature: (hidden)" in text
    context = staff.get(f"{TRIGGERS}{trigger.pk}/").context
    assert (context["sent"].delivered, context["was_tested"]) == (0, True)


def test_test_takes_a_typed_customer_id_first(staff, trigger, make_customer):
    ann, bob = make_customer("ann"), make_customer("bob")
    staff.post(f"{TRIGGERS}{trigger.pk}/test/", {"sample": ann.pk, "customer": " bob "})
    assert Delivery.objects.get().customer_id == bob.pk


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({}, "Choose a customer"),
        ({"customer": "nobody"}, "no customer with the CustomerId or e-mail nobody"),
        ({"sample": "4711"}, "There is no customer 4711"),
    ],
)
def test_test_for_nobody_says_so(staff, trigger, chosen, problem):
    answer = staff.post(f"{TRIGGERS}{trigger.pk}/test/", chosen)
    assert problem in text_of(answer)
    assert not Delivery.objects.exists()


def test_list_shows_what_ended_in_the_last_seven_days(staff, trigger):
    now = clock.now()
    for days, delivered, failed in ((0, 1, 1), (6, 1_200, 0), (8, 7, 7)):
        Tally.objects.create(
            trigger_id=trigger.pk,
            hour=now - timedelta(days=days),
            delivered=delivered,
            failed=failed,
        )
    [row] = staff.get(TRIGGERS).context["cl"].result_list
    assert row.sent == (1_201, 1)
    assert "1&#x27;201" in text_of(staff.get(f"{TRIGGERS}{trigger.pk}/"))


def test_many_that_wait_are_not_counted_to_the_end(staff, trigger, make_delivery, monkeypatch):
    monkeypatch.setattr(adminkit.AtMost, "EXACT", 2)
    for count, shown in ((1, "1"), (2, "2"), (3, "2+"), (4, "2+")):
        make_delivery()
        for page in (f"{TRIGGERS}{trigger.pk}/", f"{DESTINATIONS}{trigger.destination_id}/"):
            assert str(staff.get(page).context["waiting"]) == shown, count


def test_trigger_pages_take_as_many_queries_for_many_messages(staff, trigger, make_delivery):
    make_delivery(delivered_at=clock.now())
    addresses = (TRIGGERS, DELIVERIES, f"{TRIGGERS}{trigger.pk}/", DESTINATIONS)
    few = [queries_of(staff, address) for address in addresses]
    for _ in range(12):
        delivery = make_delivery(**dead())
        Attempt.objects.create(delivery=delivery, status=500, ms=3, error="Answered 500.")
    assert [queries_of(staff, address) for address in addresses] == few


def test_form_of_a_trigger_shows_what_it_has(staff, trigger):
    page = text_of(staff.get(f"{TRIGGERS}{trigger.pk}/change/"))
    for chosen in (trigger.segment, trigger.destination):
        assert f'<option value="{chosen.pk}" selected>{chosen}</option>' in page


def test_trigger_is_deleted_after_asking(staff, trigger):
    assert "sends nothing more" in text_of(staff.get(f"{TRIGGERS}{trigger.pk}/delete/"))
    staff.post(f"{TRIGGERS}{trigger.pk}/delete/")
    assert not Trigger.objects.exists()


def test_members_added_by_hand_in_the_admin_are_news(staff, trigger, make_customer):
    make_customer("ann")
    staff.post(f"{TRIGGERS}{trigger.pk}/switch/", {"to": "on"})
    pasted = {"customer_ids": "ann"}
    staff.post(f"/admin/segments/segment/{trigger.segment_id}/members/add/", pasted)
    assert Delivery.objects.get().trigger == trigger


def test_segment_names_the_trigger_that_uses_it(staff, trigger):
    page = staff.get(f"/admin/segments/segment/{trigger.segment_id}/")
    assert [(use.text, use.acts) for use in page.context["uses"]] == [("Thank them", False)]
    refused = staff.post(f"/admin/segments/segment/{trigger.segment_id}/delete/")
    assert "Thank them" in text_of(refused)
    assert Trigger.objects.exists()


# Destinations


def test_secret_of_a_new_destination_is_shown_once(staff):
    form = {"name": "Tool", "key": "tool", "url": " https://tool.example/hook "}
    answer = staff.post(f"{DESTINATIONS}add/", form)
    made = Destination.objects.get()
    assert made.config == {"url": "https://tool.example/hook"}
    assert made.secret in text_of(answer)
    assert made.secret not in text_of(staff.get(f"{DESTINATIONS}{made.pk}/"))
    assert made.secret not in text_of(staff.get(f"{DESTINATIONS}{made.pk}/change/"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "Enter the address."),
        ("tool.example", "begins with https://"),
        ("ftp://tool.example/", "begins with https://"),
        ("https://anna:secret@tool.example/", "Leave out the user and password"),
        ("http://10.0.0.1/", "not on the public internet"),
    ],
)
def test_address_that_cannot_work_is_refused_with_a_reason(staff, url, problem):
    answer = staff.post(f"{DESTINATIONS}add/", {"name": "Tool", "key": "tool", "url": url})
    assert problem in str(answer.context["form"].errors["url"])
    assert not Destination.objects.exists()


def test_preview_names_the_fault_of_a_text_that_is_complete_but_for_it(staff, make_customer):
    make_customer()
    form = {"name": "Tool", "key": "tool", "url": "https://tool.example/hook", "body": "template"}
    for text, shown in (("{{ id | jsn }}", "Did you mean"), ('{"a": 1}', "tool.example")):
        answer = staff.post(f"{DESTINATIONS}preview/", form | {"template": text})
        assert shown in text_of(answer)
    answer = staff.post(f"{DESTINATIONS}preview/", form | {"template": "{{", "batch": "0"})
    assert "Text: " in text_of(answer) or "Customers in one request: " in text_of(answer)


def test_email_is_shown_for_who_has_an_address_and_its_destination_has_no_secret(
    staff, make_customer
):
    for name, fields in (("anna", {"email": "anna@x.example"}), ("bea", {}), ("", {})):
        make_customer(name or None, fields=fields)
    form = {"kind": "email", "sender": "a@shop.example", "subject": "Hi", "html": "<b>Hello</b>"}
    shown = staff.post(f"{DESTINATIONS}preview/", form)
    assert "anna@x.example" in text_of(shown)
    assert 'srcdoc="&lt;b&gt;Hello' in shown.content.decode()
    assert "From: An e-mail address" in text_of(
        staff.post(f"{DESTINATIONS}preview/", form | {"sender": "nobody"})
    )
    wished = staff.post(f"{DESTINATIONS}preview/", form | {"customer": "bea"})
    assert "no e-mail address" in text_of(wished)
    assert "no customer with" in text_of(
        staff.post(f"{DESTINATIONS}preview/", form | {"customer": "zoe"})
    )
    answer = staff.post(f"{DESTINATIONS}add/", form | {"name": "Mail", "key": "mail"})
    assert answer["Location"].endswith(f"/destination/{Destination.objects.get().pk}/")


def test_edit_keeps_secret_and_key(staff, make_destination):
    destination = make_destination()
    form = {"name": "New", "key": "other", "url": "https://new.example/"}
    staff.post(f"{DESTINATIONS}{destination.pk}/change/", form)
    stored = Destination.objects.get()
    assert (stored.name, stored.config["url"]) == ("New", "https://new.example/")
    assert (stored.key, stored.secret) == (destination.key, destination.secret)


def test_new_secret_replaces_the_old_one_and_is_shown(staff, make_destination):
    destination = make_destination()
    answer = staff.post(f"{DESTINATIONS}{destination.pk}/rotate/")
    stored = Destination.objects.get()
    assert stored.secret != destination.secret
    assert stored.secret in text_of(answer)


def test_disabled_destination_says_why_and_is_enabled_again(staff, make_destination):
    destination = make_destination()
    Destination.objects.update(is_enabled=False, disabled_because="It is gone.")
    assert "It is gone." in text_of(staff.get(f"{DESTINATIONS}{destination.pk}/"))
    staff.post(f"{DESTINATIONS}{destination.pk}/enable/", {"to": "on"})
    stored = Destination.objects.get()
    assert (stored.is_enabled, stored.disabled_because) == (True, "")


def test_held_destination_says_when_it_is_tried_again(staff, make_destination):
    destination = make_destination()
    until = clock.now() + timedelta(minutes=4, seconds=30)
    Destination.objects.update(held_until=until, failures_in_a_row=6, failing_since=clock.now())
    assert "in 4 minutes" in text_of(staff.get(f"{DESTINATIONS}{destination.pk}/"))
    assert "in 4 minutes" in text_of(staff.get(DESTINATIONS))


def test_trying_the_address_shows_the_answer(staff, make_destination, make_receiver):
    destination = make_destination(make_receiver())
    answer = staff.post(f"{DESTINATIONS}{destination.pk}/ping/")
    assert "Answered 200" in text_of(answer)


def test_destination_in_use_is_not_deleted(staff, trigger, make_destination):
    asked = text_of(staff.get(f"{DESTINATIONS}{trigger.destination_id}/delete/"))
    assert "Thank them" in asked
    assert "Delete destination" not in asked
    answer = staff.post(f"{DESTINATIONS}{trigger.destination_id}/delete/")
    assert "Thank them" in text_of(answer)
    unused = make_destination()
    staff.post(f"{DESTINATIONS}{unused.pk}/delete/")
    assert [*Destination.objects.all()] == [trigger.destination]


# Who may


def test_viewer_sees_everything_and_may_do_nothing(member, trigger, make_delivery):
    delivery, viewer = make_delivery(**dead()), member("Viewer")
    places = {
        f"{TRIGGERS}{trigger.pk}/": ("switch", "test", "change", "delete"),
        f"{DESTINATIONS}{trigger.destination_id}/": ("enable", "rotate", "ping", "change"),
        f"{DELIVERIES}{delivery.pk}/": ("again",),
    }
    for address, deeds in places.items():
        page = text_of(viewer.get(address))
        for deed in deeds:
            assert f"{address}{deed}/" not in page, (address, deed)
            assert viewer.post(f"{address}{deed}/").status_code in (302, 403), (address, deed)
    for address in (f"{TRIGGERS}add/", f"{DESTINATIONS}add/", f"{DELIVERIES}again/"):
        assert viewer.get(address).status_code == 403
    assert "Send all failed again" not in text_of(viewer.get(DELIVERIES))
    stored = Destination.objects.get()
    assert (stored.secret, stored.is_enabled) == (trigger.destination.secret, True)
    assert Delivery.objects.dead().count() == 1


def test_who_may_not_see_customers_does_not_read_them_in_the_log(
    client, trigger, make_delivery, make_customer, django_user_model
):
    ann = make_customer("ann", fields={"firstName": "Ann"})
    delivery = make_delivery(ann, body='{"firstName": "Ann"}')
    user = django_user_model.objects.create_user("cora", is_staff=True)
    user.user_permissions.add(
        *Permission.objects.filter(codename__in=("view_delivery", "view_trigger"))
    )
    client.force_login(user)
    for address in (DELIVERIES, f"{DELIVERIES}{delivery.pk}/", f"{TRIGGERS}{trigger.pk}/"):
        assert "Ann" not in text_of(client.get(address)), address


def test_nobody_without_a_role_gets_anywhere(client, trigger, make_delivery, django_user_model):
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    for address in (
        f"{TRIGGERS}{trigger.pk}/",
        f"{DESTINATIONS}{trigger.destination_id}/",
        f"{DELIVERIES}{make_delivery().pk}/",
        TRIGGERS,
        DESTINATIONS,
        DELIVERIES,
    ):
        assert client.get(address).status_code == 403, address


@pytest.mark.parametrize("address", [TRIGGERS, DESTINATIONS])
def test_what_is_not_there_is_not_found(staff, address):
    for rest in ("4711/", "4711/change/", "x/change/", "4711/delete/"):
        assert staff.get(f"{address}{rest}").status_code == 404, rest

from datetime import time, timedelta

import pytest

from activation import destinations, outbox, triggers, why
from activation.models import Delivery, Destination
from customers import clock, consent, suppression
from customers.models import ConsentPurpose, Identifier
from segments.models import MembershipChange
from tests.activation import receivers
from tests.activation.conftest import enqueue, entry, run_tasks

pytestmark = pytest.mark.django_db


def ask(trigger, customer):
    trigger.refresh_from_db()
    found = why.why(trigger, customer.pk)
    assert found.code in why.CODES
    assert found.sentence.endswith(".")
    assert bool(found.advice) == (found.code not in ("delivered", "forgotten"))
    return found


def code(trigger, customer):
    return ask(trigger, customer).code


@pytest.fixture
def anna(make_customer):
    return make_customer("anna")


def enter(trigger, customer, number=1):
    at = clock.now()
    same = {"segment": trigger.segment, "customer": customer, "entry_no": number}
    MembershipChange.objects.create(entered=True, at=at, cause="event", **same)
    enqueue(entry(trigger, customer, number, at=at))


def test_delivered_and_on_its_way(receiver, make_trigger, anna):
    trigger = make_trigger(receiver)
    enter(trigger, anna)
    assert code(trigger, anna) == "on_its_way"
    Destination.objects.update(rate=0.5)
    assert "the next to" in ask(trigger, anna).sentence
    enter(trigger, anna, 2)
    assert "behind 1 other to" in ask(trigger, anna).sentence
    Destination.objects.update(rate=None)
    run_tasks()
    assert code(trigger, anna) == "delivered"


def test_never_entered(make_trigger, anna):
    assert code(make_trigger(), anna) == "not_entered"
    assert code(make_trigger(on="leave"), anna) == "not_left"


def test_only_a_test(receiver, make_trigger, anna):
    trigger = make_trigger(receiver)
    outbox.send_test(trigger, anna.pk)
    assert code(trigger, anna) == "test_only"


def test_before_it_was_switched_on(make_trigger, by_hand, join, anna):
    join(by_hand, anna, at=clock.now() - timedelta(days=1))
    assert code(make_trigger(is_enabled=False), anna) == "switched_off"
    assert code(make_trigger(), anna) == "before_switched_on"


def test_capped_and_no_consent(make_trigger, anna):
    ConsentPurpose.objects.create(key="newsletter", channel="email")
    capped, asking = make_trigger(at_most="once"), make_trigger(purpose="newsletter")
    for number in (1, 2):
        enter(capped, anna, number)
    enqueue(entry(asking, anna))
    assert (code(capped, anna), code(asking, anna)) == ("capped", "no_consent")
    assert "and it sends only one" in ask(capped, anna).sentence
    assert "never been asked about “newsletter”" in ask(asking, anna).sentence
    for granted, said in ((False, "has refused"), (True, "did not agree")):
        decision = consent.Decision(anna.pk, "newsletter", granted, clock.now(), via="phone")
        consent.record([decision], source="Eve")
        assert said in ask(asking, anna).sentence


def test_retrying_breaker_disabled_dead_and_switched_off(make_receiver, make_trigger, anna):
    trigger = make_trigger(make_receiver(receivers.answer(500)))
    enter(trigger, anna)
    run_tasks()
    assert code(trigger, anna) == "retrying"
    held_until = clock.now() + timedelta(minutes=1)
    Destination.objects.update(held_until=held_until, failures_in_a_row=5)
    assert code(trigger, anna) == "held_by_breaker"
    assert "failed 5 times in a row" in ask(trigger, anna).sentence
    Destination.objects.update(has_asked=True)
    assert "asked us to wait until" in ask(trigger, anna).sentence
    destination = Destination.objects.get()
    destination.is_enabled = False
    destinations.save(destination)
    assert code(trigger, anna) == "destination_disabled"
    triggers.switch_off(trigger)
    assert code(trigger, anna) == "switched_off"
    Delivery.objects.update(dead_at=clock.now(), cancelled_at=None)
    assert code(trigger, anna) == "dead"


@pytest.mark.parametrize(("then", "is_held"), [("hold", True), ("drop", False)])
def test_quiet_hours_hold_or_drop(make_trigger, anna, then, is_held):
    hours = {"quiet_from": time(0), "quiet_until": time(23, 59, 59)}
    trigger = make_trigger(**hours, quiet_then=then)
    enter(trigger, anna)
    found = ask(trigger, anna)
    assert (found.code, found.until is not None) == ("quiet", is_held)
    assert found.delivery == Delivery.objects.get().pk


def test_suppressed_however_the_customer_agrees(make_trigger, anna):
    ConsentPurpose.objects.create(key="newsletter", channel="email")
    Identifier.objects.create(kind="email", value="anna@example.com", customer=anna)
    consent.record([consent.Decision(anna.pk, "newsletter", True, clock.now())], source="Eve")
    suppression.add("email", ["anna@example.com"], "complaint", "Eve")
    trigger = make_trigger(purpose="newsletter")
    enter(trigger, anna)
    found = ask(trigger, anna)
    assert found.code == "suppressed"
    assert "e-mail address is on the suppression list" in found.sentence
    assert found.sentence.endswith(": complaint.")


def test_rule_that_let_many_in_is_nobodys_news(make_trigger, by_hand, anna):
    trigger = make_trigger()
    MembershipChange.objects.create(
        segment=by_hand, customer=anna, entry_no=1, entered=True, at=clock.now(), cause="rule"
    )
    assert code(trigger, anna) == "entered_by_rule"


def test_existing_members_are_on_their_way_and_once_pruned_forgotten(
    receiver, make_trigger, by_hand, join, anna
):
    join(by_hand, anna, at=clock.now() - timedelta(days=1))
    trigger = make_trigger(receiver, include_existing=True)
    assert code(trigger, anna) == "on_its_way"
    run_tasks()
    assert code(trigger, anna) == "delivered"
    Delivery.objects.all().delete()
    assert code(trigger, anna) == "forgotten"


def test_entry_while_the_trigger_was_off_is_not_answered_with_an_older_message(
    receiver, make_trigger, anna
):
    trigger = make_trigger(receiver)
    enter(trigger, anna)
    run_tasks()
    triggers.switch_off(trigger)
    enter(trigger, anna, 2)
    assert code(trigger, anna) == "switched_off"
    triggers.switch_on(trigger)
    assert code(trigger, anna) == "before_switched_on"


def test_what_those_merged_into_her_got_is_hers_at_any_depth(receiver, make_trigger, make_customer):
    trigger = make_trigger(receiver, at_most="once")
    anna, browser, phone = make_customer("anna"), make_customer(), make_customer()
    enter(trigger, phone)
    run_tasks()
    for absorbed, into in ((phone, browser), (browser, anna)):
        absorbed.merged_into = into
        absorbed.save()
    assert code(trigger, anna) == "delivered"
    enter(trigger, anna)
    assert code(trigger, anna) == "capped"


def test_not_long_enough(make_trigger, by_hand, join, anna):
    trigger = make_trigger(on="stay", stay_for=3)
    join(by_hand, anna, at=clock.now() - timedelta(days=1))
    found = why.why(trigger, anna.pk)
    assert (found.code, round((found.until - clock.now()).total_seconds() / 86_400)) == (
        "not_long_enough",
        2,
    )


def test_api_says_why_and_what_would_be(api, receiver, make_trigger, anna):
    trigger = make_trigger(receiver, at_most="once")
    enter(trigger, anna)
    run_tasks()
    status, said = api.get(f"/api/triggers/{trigger.key}/why/?customer={anna.pk}")
    assert (status, said["code"]) == (200, "delivered")
    status, said = api.get(f"/api/triggers/{trigger.key}/why/?customer_id=anna")
    assert (status, said["code"], said["advice"]) == (200, "delivered", "")
    for query, attr in (
        ("customer=0", "customer"),
        ("", "customer"),
        ("customer_id=x", "customer_id"),
    ):
        status, said = api.get(f"/api/triggers/{trigger.key}/why/?{query}")
        assert (status, said["errors"][0]["attr"]) == (400, attr)
    status, said = api.get(f"/api/triggers/{trigger.key}/forecast/")
    assert (status, said["would_have_sent"]["messages"]) == (200, 1)


def test_api_takes_and_shows_the_whole_sentence(api, make_destination, by_hand):
    ConsentPurpose.objects.create(key="newsletter")
    body = {
        "key": "x",
        "name": "X",
        "segment": by_hand.key,
        "on": "stay",
        "stay": {"last": 3, "unit": "days"},
        "destination": make_destination().key,
        "at_most": "once_per_days",
        "at_most_days": 30,
        "consent": "newsletter",
        "quiet_hours": {"from": "21:00", "until": "08:00", "then": "drop"},
    }
    status, stored = api.post("/api/triggers/", body)
    assert status == 201, stored
    assert stored["sentence"].endswith(
        "at most once in 30 days, only with consent to newsletter, never from 21:00 to 08:00."
    )
    assert stored["quiet_hours"] == body["quiet_hours"] | {"time_zone_field": ""}
    assert {name: stored[name] for name in body if name != "quiet_hours"} == {
        name: value for name, value in body.items() if name != "quiet_hours"
    }
    assert api.put("/api/triggers/x/", stored)[0] == 200
    status, stored = api.patch("/api/triggers/x/", {"quiet_hours": None, "on": "enter"})
    assert (status, stored["quiet_hours"], stored["stay"]) == (200, None, None)
    for more, attr in (({"stay": body["stay"]}, "stay"), ({"at_most": "once"}, "at_most_days")):
        status, problem = api.patch("/api/triggers/x/", {"at_most_days": 3} | more)
        assert (status, problem["errors"][0]["attr"]) == (400, attr)
    status, problem = api.patch("/api/triggers/x/", {"consent": "newslettr"})
    assert (status, problem["errors"][0]["attr"]) == (400, "consent")

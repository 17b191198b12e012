"""What customers agreed to."""

from datetime import timedelta

import pytest
from django.db import transaction

from customers import changes, clock, consent, erasure, merging
from customers.consent import Decision
from customers.models import Change, Consent, ConsentChange, ConsentPurpose, Customer
from segments import memberships
from segments.models import Membership
from tests.makers import NOON

pytestmark = pytest.mark.django_db

LATER = NOON + timedelta(days=1)


def record(*decisions, source="API key “shop”"):
    consent.record([Decision(*decision) for decision in decisions], source=source)


def present():
    return {*Consent.objects.values_list("customer_id", "purpose", "granted")}


def facts():
    return [*Change.objects.order_by("id").values_list("customer_id", "fact")]


def absorb(survivor, absorbed):
    with transaction.atomic():
        erasure.hold([survivor.pk, absorbed.pk])
        merging.absorb([merging.Absorbed(survivor.pk, absorbed.pk, "test")])


def test_decision_is_kept_with_its_origin(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", True, NOON, "2026-01", "checkout"))
    (kept,) = Consent.objects.all()
    assert (kept.granted, kept.at, kept.source) == (True, NOON, "API key “shop”")
    assert (kept.text_version, kept.via) == ("2026-01", "checkout")
    assert facts() == [(anna.pk, "field:@consent.mail")]


def test_purpose_comes_to_be_with_its_first_decision(make_customer):
    ConsentPurpose.objects.create(key="mail", label="Newsletter")
    record((make_customer().pk, " Mail ", True, NOON), (make_customer().pk, "SMS", True, NOON))
    assert {(p.key, str(p)) for p in ConsentPurpose.objects.all()} == {
        ("mail", "Newsletter"),
        ("sms", "sms"),
    }


@pytest.mark.parametrize("purpose", ["", " ", "x" * 101, "a\0b", "a\nb"])
def test_what_is_no_purpose_is_left_out(make_customer, purpose):
    record((make_customer().pk, purpose, True, NOON))
    assert not ConsentPurpose.objects.exists()
    assert not ConsentChange.objects.exists()


def test_flood_of_purposes_ends(make_customer):
    anna = make_customer()
    record(*((anna.pk, f"p{n:03}", True, NOON) for n in range(consent.MAX_PURPOSES + 5)))
    record((anna.pk, "one more", True, NOON), (anna.pk, "p000", False, LATER))
    assert ConsentPurpose.objects.count() == Consent.objects.count() == consent.MAX_PURPOSES
    assert (anna.pk, "p000", False) in present()


def test_older_decision_joins_the_history_only(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", False, LATER))
    record((anna.pk, "mail", True, NOON))
    assert present() == {(anna.pk, "mail", False)}
    assert ConsentChange.objects.count() == 2
    assert len(facts()) == 1


def test_order_within_a_batch_does_not_matter(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", False, LATER), (anna.pk, "mail", True, NOON))
    assert present() == {(anna.pk, "mail", False)}


@pytest.mark.parametrize("answers", [(True, False), (False, True)])
def test_at_the_same_instant_a_refusal_wins(make_customer, answers):
    anna = make_customer()
    for granted in answers:
        record((anna.pk, "mail", granted, NOON))
    assert present() == {(anna.pk, "mail", False)}


def test_same_answer_again_renews_it_without_waking_segments(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", True, NOON, "1"))
    record((anna.pk, "mail", True, LATER, "2"))
    assert Consent.objects.get().text_version == "2"
    assert len(facts()) == 1


def test_time_to_come_counts_as_now(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", True, clock.now() + timedelta(days=900)))
    record((anna.pk, "mail", False, clock.now()))
    assert present() == {(anna.pk, "mail", False)}


def test_who_never_decided_does_not_agree(make_customer):
    yes, no, silent = (make_customer().pk for _ in range(3))
    record((yes, "mail", True, NOON), (no, "mail", False, NOON), (silent, "sms", True, NOON))
    assert consent.granted([yes, no, silent], "MAIL") == {yes}
    assert consent.granted([yes], "nothing of the kind") == set()


def test_decision_about_a_merged_customer_goes_to_who_that_is(make_customer):
    anna, visitor = make_customer("anna"), make_customer()
    absorb(anna, visitor)
    record((visitor.pk, "mail", True, NOON))
    assert present() == {(anna.pk, "mail", True)}


def test_decision_about_nobody_is_left_out():
    record((4711, "mail", True, NOON))
    assert not ConsentChange.objects.exists()


def test_merge_joins_decisions_and_the_newer_counts(make_customer):
    anna, visitor = make_customer("anna"), make_customer()
    record((anna.pk, "mail", True, NOON), (visitor.pk, "mail", False, LATER))
    record((anna.pk, "sms", True, LATER), (visitor.pk, "sms", False, NOON))
    record((visitor.pk, "ads", True, NOON))
    absorb(anna, visitor)
    assert present() == {(anna.pk, "mail", False), (anna.pk, "sms", True), (anna.pk, "ads", True)}
    assert {*ConsentChange.objects.values_list("customer_id", flat=True)} == {anna.pk}


def test_undone_merge_gives_back_decisions_made_before_it(make_customer):
    anna, visitor = make_customer("anna"), make_customer()
    record((anna.pk, "mail", True, NOON), (visitor.pk, "mail", False, LATER))
    absorb(anna, visitor)
    Customer.objects.filter(pk=visitor.pk).update(merged_into=None)
    consent.separate(anna.pk, visitor.pk)
    assert present() == {(anna.pk, "mail", True), (visitor.pk, "mail", False)}


def test_number_of_statements_does_not_depend_on_decisions(
    make_customer, django_assert_max_num_queries
):
    everyone = [make_customer().pk for _ in range(50)]
    with django_assert_max_num_queries(8):
        record(*((customer_id, "mail", True, NOON) for customer_id in everyone))
    assert consent.granted(everyone, "mail") == {*everyone}


def test_erased_customer_leaves_no_decision(make_customer):
    anna = make_customer()
    record((anna.pk, "mail", True, NOON))
    erasure.forget([anna.pk])
    assert not Consent.objects.exists()
    assert not ConsentChange.objects.exists()


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"op": "is", "value": True}, "yes"),
        ({"op": "is", "value": False}, "no"),
        ({"op": "exists"}, "yes no"),
        ({"op": "missing"}, "silent"),
    ],
)
def test_rule_finds_customers_by_their_decision(make_customer, make_segment, test, expected):
    people = {name: make_customer(name) for name in ("yes", "no", "silent")}
    record((people["yes"].pk, "mail", True, NOON), (people["no"].pk, "mail", False, NOON))
    segment = make_segment({"field": "@consent.Mail"} | test)
    members = Membership.objects.filter(segment=segment).values_list("customer__external_id")
    assert {name for (name,) in members} == {*expected.split()}


def test_customer_leaves_the_segment_with_the_consent(make_customer, make_segment):
    anna = make_customer("anna")
    segment = make_segment({"field": "@consent.mail", "op": "is", "value": True})
    for granted, at in ((True, NOON), (False, LATER)):
        record((anna.pk, "mail", granted, at))
        (transition,) = memberships.refresh(changes.claim(10))
        assert (transition.entered, transition.cause) == (granted, "field")
        assert Membership.objects.filter(segment=segment).exists() == granted


def test_merge_moves_the_survivor_into_the_segment(make_customer, make_segment):
    anna, visitor = make_customer("anna"), make_customer()
    segment = make_segment({"field": "@consent.mail", "op": "is", "value": True})
    record((visitor.pk, "mail", True, NOON))
    memberships.refresh(changes.claim(10))
    absorb(anna, visitor)
    memberships.refresh(changes.claim(10))
    assert [m.customer_id for m in Membership.objects.filter(segment=segment)] == [anna.pk]

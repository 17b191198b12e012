"""Who is who: API.md, "Identity resolution", rule by rule."""

import itertools
import threading
from collections import Counter
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from customers import fields, identity
from customers.identity import Person
from customers.models import Change, Customer, FieldChange, Identifier, Merge
from tests.makers import NOON

KINDS = {"u": "customer_id", "a": "anonymous_id", "e": "email"}


def person(words, at=None):
    """A person by words like "u1 a1 e1"."""
    return Person(tuple((KINDS[word[0]], word) for word in words.split()), at, words)


def resolve(*people):
    """Resolve a batch of people given by words; return their customers' ids."""
    with transaction.atomic():
        return identity.resolve([person(words) for words in people]).customer_ids


def one_by_one(*people):
    return [resolve(words)[0] for words in people]


def owner(word):
    return Identifier.objects.get(kind=KINDS[word[0]], value=word).customer


def facts():
    return set(Change.objects.values_list("customer_id", "fact"))


pytestmark = pytest.mark.django_db


def test_unknown_identifiers_make_a_new_customer():
    (customer_id,) = resolve("u1 a1")
    customer = Customer.objects.get()
    assert (customer.pk, customer.external_id) == (customer_id, "u1")
    assert facts() == {(customer_id, "new"), (customer_id, "field:@identified")}


def test_known_identifier_finds_its_customer():
    first, second = one_by_one("u1 a1", "a1")
    assert first == second


def test_visitor_who_signs_in_stays_one_customer():
    visitor, signed_in = one_by_one("a1", "u1 a1")
    assert visitor == signed_in
    assert Customer.objects.get().external_id == "u1"
    assert not Merge.objects.exists()


def test_two_known_profiles_are_merged_into_the_identified():
    visitor, known, both = one_by_one("a1", "u1", "u1 a1")
    assert both == known
    assert Customer.objects.get(pk=visitor).merged_into_id == known
    merge = Merge.objects.get()
    assert (merge.survivor_id, merge.absorbed_id) == (known, visitor)
    assert merge.identifiers == [["anonymous_id", "a1"]]
    assert {(known, f"merged:{visitor}"), (visitor, f"merged:{visitor}")} <= facts()


def test_of_two_visitors_the_oldest_survives(settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    old, young, both = one_by_one("a1", "a2 e1", "a1 e1")
    assert both == old
    assert Customer.objects.get(pk=young).merged_into_id == old


def test_customers_with_different_ids_never_merge_and_the_device_moves():
    first, alone, second, after = one_by_one("a1 u1", "a1", "a1 u2", "a1")
    assert first == alone
    assert second == after != first
    assert Customer.objects.current().count() == 2


def test_device_that_changes_hands_within_a_batch_belongs_to_each_in_turn():
    assert len({*resolve("a1 u1", "a1", "a1 u2", "a1")}) == 2
    first, alone, second, after = resolve("a2 u3", "a2", "a2 u4", "a2")
    assert (first, second) == (alone, after)


def test_email_is_taken_by_the_first_and_does_not_merge():
    first, second = one_by_one("a1 e1", "a2 e1")
    assert first != second
    assert owner("e1").pk == first


def test_email_alone_finds_its_customer():
    first, again = one_by_one("u1 e1", "e1")
    assert first == again


def test_trusted_email_merges(settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    first, second, third = one_by_one("a1 e1", "a2", "a2 e1")
    assert first == third
    assert Customer.objects.get(pk=second).merged_into_id == first


def test_trusted_email_of_another_customer_goes_to_the_one_now_seen(settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    first, second = one_by_one("u1 e1", "u2 e1")
    assert first != second
    assert owner("e1").pk == second


def test_profile_that_is_full_takes_no_further_identifier_and_is_not_merged(settings):
    """A till that calls everybody by one id, or one id for every browser, stays bounded."""
    settings.IDENTIFIER_LIMITS = {"anonymous_id": 2}
    known, _, over, alone = one_by_one("u1 a1", "u1 a2", "u1 a3", "a3")
    assert known == over != alone
    assert owner("a3").pk == alone
    assert resolve("u1 a3") == [known]
    assert not Merge.objects.exists()
    assert resolve("u2 a1", "u1 a3", "a3") == [owner("u2").pk, known, known]


def test_two_profiles_with_too_many_of_a_kind_together_stay_two(settings):
    settings.IDENTIFIER_LIMITS = {"email": 1}
    one, other, both = one_by_one("u1 e1", "a1 e2", "u1 a1")
    assert both == one != other
    assert (owner("a1").pk, owner("e2").pk) == (one, other)


def test_kind_that_people_share_joins_nobody(settings):
    settings.SHARED_IDENTIFIERS = ["household"]
    key = ("household", "h1")
    people = [Person(((KINDS[word[0]], word), key), None, "") for word in ("a1", "a2")]
    with transaction.atomic():
        assert len({*identity.resolve(people).customer_ids}) == 2
        assert identity.resolve([Person((key,))]).customer_ids == [owner("a1").pk]


def test_word_of_the_workspace_names_nobody(settings):
    settings.NEVER_IDENTIFIERS = {"kiosk-7"}
    assert identity.normalise("anonymous_id", " Kiosk-7") is None


def test_chain_of_merges_ends_at_one_customer(settings):
    settings.TRUSTED_IDENTIFIERS = ["email"]
    one_by_one("a1", "a2", "a3 e3", "u1", "a2 e1", "e1 e3", "a1 e3", "a1 u1")
    (survivor,) = Customer.objects.current()
    assert survivor.external_id == "u1"
    assert {c.merged_into_id for c in Customer.objects.exclude(pk=survivor.pk)} == {survivor.pk}
    assert {row.customer_id for row in Identifier.objects.all()} == {survivor.pk}


def test_merge_within_a_batch_is_recorded_as_if_they_came_one_by_one():
    visitor, known, both = resolve("a1", "u1", "u1 a1")
    assert visitor == known == both
    assert Merge.objects.get().identifiers == [["anonymous_id", "a1"]]


def test_absorbed_customer_keeps_no_identifier_and_no_customer_id():
    one_by_one("a1", "u1", "u1 a1")
    absorbed = Customer.objects.exclude(merged_into=None).get()
    assert absorbed.external_id is None
    assert not absorbed.identifiers.exists()


def test_seen_times_widen_and_are_joined_by_merges():
    days = [NOON + timedelta(days=n) for n in (5, 1, 9, 7)]
    for words, day in zip(("a1", "a1", "u1", "u1 a1"), days, strict=True):
        with transaction.atomic():
            identity.resolve([person(words, day)])
    survivor = Customer.objects.current().get()
    assert (survivor.first_seen_at, survivor.last_seen_at) == (min(days), max(days))


def test_fields_of_a_merge_stand_unless_older(make_field):
    for name in ("city", "tier", "points"):
        make_field(name, "number" if name == "points" else "string")
    visitor, known = one_by_one("a1", "u1")
    for customer_id, values in (
        (known, {"city": "Bern"}),
        (visitor, {"city": "Basel", "tier": "gold", "points": Decimal("0.10")}),
        (known, {"tier": "silver"}),
    ):
        with transaction.atomic():
            fields.set_values({customer_id: values}, source="test")
    resolve("u1 a1")
    survivor = Customer.objects.get(pk=known)
    assert survivor.fields == {"city": "Basel", "tier": "silver", "points": Decimal("0.10")}
    assert FieldChange.objects.filter(customer=known).count() == 3
    assert not FieldChange.objects.filter(customer=visitor).exists()


def test_field_cleared_last_stays_cleared_by_a_merge(make_field):
    make_field("city")
    visitor, known = one_by_one("a1", "u1")
    for customer_id, city in ((visitor, "Basel"), (known, "Bern"), (known, None)):
        with transaction.atomic():
            fields.set_values({customer_id: {"city": city}}, source="test")
    resolve("u1 a1")
    assert Customer.objects.get(pk=known).fields == {}


NOBODY = ["", " ", "undefined", "NULL", "nil", "None", "NaN", "true", "False", "anonymous", "guest"]
NOBODY += ["unknown", "test", "id", "distinct_id", "[object Object]", "-1", "0", "0000", "--"]
NOBODY += ["00000000-0000-0000-0000-000000000000", "x" * 201]


@pytest.mark.parametrize("value", NOBODY)
def test_words_that_name_nobody_are_no_identifiers(value):
    assert identity.normalise("customer_id", value) is None


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("customer_id", " Ann ", "Ann"),
        ("customer_id", "007", "007"),
        ("email", " Ann@Example.COM ", "ann@example.com"),
        ("email", "ann", None),
        ("phone", "+41 (79) 123-45.67", "+41791234567"),
        ("phone", "0041791234567", "+41791234567"),
        ("phone", "079 123 45 67", "+41791234567"),
        ("phone", "+1 (650) 253-0000", "+16502530000"),
        ("phone", "12", None),
        ("phone", "call me", None),
        ("phone", "9" * 41, None),
        ("loyalty", " 77 ", "77"),
    ],
)
def test_identifiers_are_normalised(kind, raw, value):
    assert identity.normalise(kind, raw) == value


LOOK_ALIKE = ["\u200bC-1", "C-1\u00a0", "\tC-1\r\n", "C\u00ad-1", "\u202aC-1\u202c", "\ufeffC-1"]
LOOK_ALIKE += ["C\u2060-\u200d1", "\u2800C-1", "C-\ufe0f1"]


@pytest.mark.parametrize("raw", LOOK_ALIKE)
def test_what_cannot_be_seen_makes_no_other_customer(raw):
    assert identity.normalise("customer_id", raw) == "C-1"


def test_composed_and_decomposed_letters_are_the_same_and_others_stay_apart():
    normal = [identity.normalise("customer_id", raw) for raw in ("Zu\u0308rich", "Z\u00fcrich")]
    assert normal == ["Z\u00fcrich"] * 2
    assert identity.normalise("customer_id", "A\u00a01") == "A 1"
    different = ["c-1", "C-1", "C1", "C 1", "C  1", "C-\uff11", "\u0421-1", "C-\u00b9"]
    assert len({identity.normalise("customer_id", raw) for raw in different}) == len(different)


@pytest.mark.parametrize("raw", ["C\x001", "C\n1", "C\x7f1", "C\u20281", "C\ufffd1"])
def test_id_with_what_cannot_be_read_is_refused_with_the_reason(raw):
    assert identity.normalise("customer_id", raw) is None
    assert "control character" in identity.objection("customer_id", raw)


def test_cost_does_not_grow_with_people(django_assert_num_queries):
    with django_assert_num_queries(10):  # four of them savepoints
        resolve(*(f"u{n} a{n}" for n in range(9)))
    with django_assert_num_queries(10):
        resolve(*(f"u{n} a{n}" for n in range(9, 999)))


def test_cost_does_not_grow_with_merges(django_assert_num_queries):
    for start, end in ((0, 3), (3, 300)):
        resolve(*(f"a{n}" for n in range(start, end)), *(f"u{n}" for n in range(start, end)))
        with django_assert_num_queries(21):
            resolve(*(f"u{n} a{n}" for n in range(start, end)))


def forget_all():
    for model in (Identifier, Merge, FieldChange, Change, Customer):
        model.objects.all().delete()


def picture():
    """The profiles as sets of identifiers with their external id; and who merged, by cause."""
    profiles = {
        (c.external_id, frozenset(i.value for i in c.identifiers.all()))
        for c in Customer.objects.current()
    }
    merges = sorted(
        (row.cause, sorted(value for _, value in row.identifiers)) for row in Merge.objects.all()
    )
    return profiles, merges


WORDS = st.lists(
    st.tuples(
        st.sampled_from(["", "u1", "u2", "u3"]),
        st.sampled_from(["", "a1", "a2", "a3"]),
        st.sampled_from(["", "e1", "e2"]),
    )
    .map(lambda words: " ".join(filter(None, words)))
    .filter(bool),
    min_size=1,
    max_size=9,
)


@hypothesis_settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    people=WORDS,
    cuts=st.sets(st.integers(1, 8)),
    trusted=st.booleans(),
    limits=st.sampled_from([{}, {"anonymous_id": 1}, {"anonymous_id": 2, "email": 1}]),
)
@example(people=["a2", "u2", "u2 a2", "u1 a2"], cuts=set(), trusted=False, limits={})
@example(people=["a1", "a2 u1", "u1 a1", "a3 u1"], cuts={2}, trusted=True, limits={"email": 1})
def test_batches_decide_as_if_people_came_one_by_one(people, cuts, trusted, limits, settings):
    settings.TRUSTED_IDENTIFIERS = ["email"] if trusted else []
    settings.IDENTIFIER_LIMITS = limits
    forget_all()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(people)), len(people)]
    for start, end in itertools.pairwise(bounds):
        resolve(*people[start:end])
    in_batches = picture()
    forget_all()
    one_by_one(*people)
    assert picture() == in_batches
    _assert_sound(people, limits)


def _assert_sound(people, limits):
    """What holds whatever came: see each message."""
    current = {c.pk: c for c in Customer.objects.current()}
    owners = {row.value: row.customer_id for row in Identifier.objects.all()}
    assert set(owners.values()) == set(current), "someone has no identifier, or an absorbed has one"
    assert {c.external_id for c in current.values() if c.external_id} == {
        word for words in people for word in words.split() if word[0] == "u"
    }, "a CustomerId was lost or two were joined"
    for value, customer_id in owners.items():
        if value[0] == "u":
            assert current[customer_id].external_id == value
    held = Counter((row.customer_id, row.kind) for row in Identifier.objects.all())
    assert all(n <= limits.get(kind, n) for (_, kind), n in held.items()), "over a limit"
    signposts = Customer.objects.exclude(merged_into=None)
    assert all(c.merged_into_id in current for c in signposts), "a signpost to a signpost"


@pytest.mark.django_db(transaction=True)
def test_same_person_seen_by_two_pipelines_at_once_is_one_customer():
    """Both look before either writes: the second must find what the first made."""
    first_has_written = threading.Event()
    found = []

    def other_pipeline():
        first_has_written.wait(5)
        try:
            found.extend(resolve("a0", "u1 a1"))
        finally:
            connection.close()

    thread = threading.Thread(target=other_pipeline)
    thread.start()
    with transaction.atomic():
        mine = identity.resolve([person("u1 a1")]).customer_ids
        first_has_written.set()
        thread.join(0.3)  # by now it has looked, found nobody, and waits for our identifiers
        assert thread.is_alive()
    thread.join(5)
    assert found[1:] == mine
    assert Customer.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_pipelines_that_merge_the_same_people_all_succeed():
    one_by_one(*(f"a{n}" for n in range(20)), *(f"u{n}" for n in range(20)))
    failures = []

    def pipeline(step):
        people = [f"u{n} a{n}" for n in range(20)][::step]
        try:
            for words in people:
                resolve(words, "a99")
            resolve(*people)
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=pipeline, args=(step,)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert Customer.objects.current().count() == 21
    assert Merge.objects.count() == 20

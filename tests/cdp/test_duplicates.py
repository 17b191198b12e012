"""Possible duplicates: found in the queue, decided by people."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from cdp import erasure
from customers import clock, duplicates
from customers.duplicates import likeness
from customers.models import (
    Customer,
    DuplicateKey,
    DuplicateSearch,
    Identifier,
    PossibleDuplicate,
)

pytestmark = pytest.mark.django_db

ANN = {"firstName": "Annabelle", "lastName": "Zürcher", "birthday": "1971-03-05", "zip": "3011"}
PAIRS = [
    ("one e-mail", {"email": "Ann@x.com"}, {"E-Mail": " ann@X.com"}, True),
    ("one phone", {"phone": "079 123 45 67"}, {"mobile": "+41791234567"}, True),
    ("a slip in a name", ANN, {**ANN, "firstName": "Anabelle"}, True),
    ("no accents", ANN, {**ANN, "lastName": "ZURCHER"}, True),
    ("a slip in the birth date", ANN, {**ANN, "birthday": "1971-03-06"}, True),
    ("names exchanged", ANN, {**ANN, "firstName": "Zürcher", "lastName": "Annabelle"}, True),
    ("another birth date", ANN, {**ANN, "birthday": "1990-11-21", "zip": "9000"}, False),
    ("another person born that day", ANN, {**ANN, "firstName": "Urs", "lastName": "Kim"}, False),
    ("twins", ANN, {**ANN, "firstName": "Hector"}, True),  # for people to tell
    ("one city", {"city": "Bern"}, {"city": "Bern"}, False),
    ("one name", {"name": "Ann Li"}, {"name": "Ann Li"}, False),
]


def find():
    duplicates.start()
    duplicates.work()
    return {(pair.one_id, pair.other_id) for pair in duplicates.open_pairs()}


@pytest.mark.parametrize(("what", "one", "other", "is_listed"), PAIRS, ids=[p[0] for p in PAIRS])
def test_who_may_be_the_same_person(what, one, other, is_listed, make_customer):
    first, second = make_customer("a", fields=one), make_customer("b", fields=other)
    assert find() == ({(first.pk, second.pk)} if is_listed else set())
    assert not DuplicateKey.objects.exists()
    assert DuplicateSearch.objects.get().finished_at


def test_who_goes_by_an_email_that_stands_in_a_field_of_another(make_customer):
    one, other = make_customer("a"), make_customer("b", fields={"E-Mail": "Ann@x.com"})
    Identifier.objects.create(kind="email", value="ann@x.com", customer=one)
    assert find() == {(one.pk, other.pk)}


def test_pair_that_is_alike_no_more_is_not_listed_any_longer(make_customer):
    for name in "abcd":
        make_customer(name, fields={"email": "ab@x.com" if name < "c" else "cd@x.com"})
    assert len(find()) == 2
    duplicates.dismiss(duplicates.open_pairs().filter(one__external_id="c"), "Anna")
    Customer.objects.filter(external_id__in=["b", "d"]).update(fields={})
    assert find() == set()
    assert PossibleDuplicate.objects.get().dismissed_by == "Anna"


def test_search_begins_once_a_night(make_customer):
    at_noon, at_night = (clock.now().replace(hour=hour) for hour in (12, 2))
    assert not duplicates.start_nightly(at_night)  # nobody is there
    make_customer("a")
    assert not duplicates.start_nightly(at_noon)
    assert duplicates.start_nightly(at_night)
    assert not duplicates.start_nightly(at_night)


def test_search_goes_on_slice_by_slice(make_customer, monkeypatch):
    monkeypatch.setattr(duplicates, "READ_AT_ONCE", 2)
    monkeypatch.setattr(duplicates, "KEYS_AT_ONCE", 1)
    monkeypatch.setattr(duplicates, "SLICE", 0)
    for number in range(6):
        make_customer(f"c{number}", fields={"email": f"{number // 2}@x.com"})
    duplicates.start()
    with pytest.raises(duplicates.BusyError):
        duplicates.start()
    for _ in range(20):
        duplicates.work()
    assert duplicates.open_pairs().count() == 3


def test_step_compares_no_more_than_it_may_and_loses_no_pair(make_customer, monkeypatch):
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 1)
    for n in range(3):
        for _ in range(3):
            make_customer(fields={"email": f"a{n}@example.ch", "phone": f"079 123 45 0{n}"})
    listed = []
    monkeypatch.setattr(
        duplicates,
        "_list",
        lambda pairs, do=duplicates._list: (listed.append(len(pairs)), do(pairs)),
    )
    assert len(find()) == 9
    assert max(listed) == 3


def test_many_with_one_address_are_no_duplicates(make_customer, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_BLOCK", 3)
    for number in range(4):
        make_customer(f"c{number}", fields={"email": "shop@x.com"})
    assert find() == set()


@pytest.fixture
def pair(make_customer):
    make_customer("a", fields=ANN)
    make_customer("b", fields={**ANN, "firstName": "Anabelle"})
    find()
    return PossibleDuplicate.objects.get()


def test_pair_is_merged_over_the_api(pair, api):
    _, page = api.get("/api/possible-duplicates/")
    (listed,) = page["results"]
    assert listed["customers"] == [pair.one_id, pair.other_id]
    assert "similar given name" in listed["reasons"]
    status, merge = api.post(f"/api/possible-duplicates/{pair.pk}/merge/")
    assert (status, merge["survivor_id"]) == (200, pair.one_id)
    assert Customer.objects.current().count() == 1
    assert api.post(f"/api/possible-duplicates/{pair.pk}/merge/")[0] == 404
    assert find() == set()


def test_dismissed_pair_stays_dismissed(pair, api):
    assert api.post(f"/api/possible-duplicates/{pair.pk}/dismiss/")[0] == 204
    assert api.get("/api/possible-duplicates/")[1]["results"] == []
    assert api.post("/api/possible-duplicates/find/")[0] == 200
    duplicates.work()
    assert duplicates.open_pairs().count() == 0


def test_marketer_decides_in_the_admin(pair, client):
    client.force_login(User.objects.create_superuser("anna"))
    page = reverse("admin:customers_possibleduplicate_change", args=[pair.pk])
    text = client.get(page).content.decode()
    assert "Both have a CustomerId" in text
    assert "similar given name" in text
    changelist = reverse("admin:customers_possibleduplicate_changelist")
    assert "Zürcher" in client.get(changelist).content.decode()
    assert client.post(page, {"merge": "1"}).url == changelist
    assert Customer.objects.current().count() == 1
    assert client.get(page).url == changelist
    assert client.post(reverse("admin:duplicates_find")).url == changelist


def test_erased_customers_are_in_no_pair(pair, settings, tmp_path):
    settings.ERASURE_LOG = tmp_path / "erasures.jsonl"
    erasure.erase([pair.one_id], by="Anna")
    assert not PossibleDuplicate.objects.exists()


def test_likeness_of_words():
    assert likeness.jaro_winkler("martha", "marhta") == pytest.approx(0.961, abs=0.001)
    assert likeness.jaro_winkler("dixon", "dicksonx") == pytest.approx(0.813, abs=0.001)
    assert likeness.jaro_winkler("abc", "xyz") == 0

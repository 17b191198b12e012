"""The demo as it is once loaded, compared with the raw data."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from activation.models import Delivery
from bench import check_demo
from cdp.demo import audience, loading, people, purchases
from customers import imports
from customers.models import Customer, Import, ImportState, Merge
from events.models import Event, Quarantine
from segments import preview
from segments.models import Membership, MembershipChange, Segment
from tests.cdp.demos import counts, load

CUSTOMERS = 1_000  # of the data, in the demo that most tests look at


@pytest.fixture(scope="module")
def bought():
    return list(purchases.read(CUSTOMERS))


@pytest.fixture(scope="module")
def _loaded(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), transaction.atomic():
        load(CUSTOMERS)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def loaded(_loaded, db):
    """A demo that is there already; what a test changes is undone."""


def test_every_purchase_arrives_once(loaded, bought):
    from_data = Event.objects.filter(message_id__startswith="cdnow-")
    assert from_data.count() == len(bought)
    total = from_data.aggregate(total=Sum("amount"))["total"]
    assert total == sum(purchase.price for purchase in bought)
    assert set(from_data.values_list("currency", flat=True)) == {"CHF"}


def test_every_customer_of_the_data_has_a_name(loaded):
    customers = Customer.objects.filter(external_id__startswith="CD-")
    assert customers.count() == CUSTOMERS
    assert all(people.FIELDS.keys() == customer.fields.keys() for customer in customers)
    assert customers.get(external_id="CD-00001").fields["lastName"] == "Wyss"


def test_purchases_come_from_the_shop_and_from_tills(loaded, bought):
    from_data = Event.objects.filter(message_id__startswith="cdnow-")
    found = Counter(from_data.values_list("source__channel", flat=True))
    wanted = Counter(purchase.channel for purchase in bought)
    assert (found["online"], found["offline"]) == (wanted["online"], wanted["till"])


def test_nothing_of_the_demo_is_refused_or_in_the_future(loaded):
    assert not Import.objects.exclude(state=ImportState.DONE).exists()
    assert not Import.objects.exclude(rows_failed=0).exists()
    assert not Quarantine.objects.exists()
    assert not Event.objects.filter(occurred_at__gt=timezone.now()).exists()


@pytest.mark.parametrize("days_ago", [0, 1, 30, 100, 200, 300, 400, 450, 500])
def test_big_spenders_are_those_of_the_raw_data(loaded, days_ago):
    today = timezone.localdate()
    on = today - timedelta(days=days_ago)
    raw = (row for row in check_demo.purchases() if int(row[0]) <= CUSTOMERS)
    wanted = check_demo.big_spenders(raw, on, today)
    assert check_demo.members(on) == wanted
    assert wanted


def test_members_are_those_whom_a_full_evaluation_finds(loaded):
    segment = Segment.objects.get(key=audience.BIG_SPENDERS)
    members = Membership.objects.filter(segment=segment).values_list("customer_id", flat=True)
    found = preview.preview(segment.rule, segment.audience, members=True)
    assert sorted(members) == found.members


def test_every_segment_has_members_but_not_everybody(loaded):
    sizes = Counter(Membership.objects.values_list("segment__key", flat=True))
    assert set(sizes) == set(Segment.objects.values_list("key", flat=True))
    assert max(sizes.values()) < Customer.objects.count() / 2


def test_example_file_has_three_mistakes_and_the_rest_of_it_is_good(loaded):
    path = Path(settings.BASE_DIR) / "static/demo/customers-with-mistakes.csv"
    with path.open("rb") as file:
        run = imports.create(file, name=path.name)
    imports.check(run.pk)
    run.refresh_from_db()
    assert (run.rows_ok, run.rows_failed) == (5, 3)
    problems = [*run.problems.order_by("line").values_list("line", "code")]
    assert problems == [(4, "not_a_datetime"), (6, "unknown_field"), (8, "not_a_boolean")]


def test_visitors_who_sign_in_as_known_customers_are_merged(loaded):
    assert Merge.objects.filter(survivor__external_id__startswith="CD-").exists()


def test_nobody_is_told_of_the_past_and_only_the_latest_visitors_are_sent(loaded):
    sent = Counter(Delivery.objects.values_list("trigger__key", flat=True))
    assert sent == {"forward-big-spenders": 2, "remind-of-carts": 3}
    changes = MembershipChange.objects.filter(segment__key=audience.BIG_SPENDERS)
    assert changes.exclude(cause="rule").count() == 2


def test_second_load_changes_nothing(loaded):
    before = counts()
    assert not loading.start(timezone.now())
    call_command("demo")
    assert counts() == before

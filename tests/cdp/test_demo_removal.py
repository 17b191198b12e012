"""Loading the demo, also interrupted, and taking away all of it and only it."""

from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from activation import triggers
from activation.models import Trigger
from cdp import pipeline
from cdp.demo import audience, loading, purchases, sending, state
from customers.models import Change, Customer, CustomerField, Import, ImportState
from events.models import Event, Source
from segments.models import Membership, Segment
from tests.cdp.demos import counts, finish, load, remove, run_imports, run_pipeline


@pytest.fixture
def own(db, make_customer, make_event, make_source, make_segment, make_field):
    """Somebody's own data, in the database before the demo comes."""
    make_field("points", "number")
    source = make_source("own-shop")
    customer = make_customer("C-1", fields={"points": Decimal(5)})
    make_event("Order Completed", customer, amount=250, source=source, at=timezone.now())
    make_event("Logged In", customer, source=source)
    make_segment({"field": "points", "op": "at_least", "value": 1}, "own")
    return customer


def test_removal_takes_all_of_the_demo_and_only_it(own):
    before = counts()
    load(60)
    assert Membership.objects.filter(customer=own, segment__key=audience.BIG_SPENDERS).exists()
    assert remove()[-1] == "the demo is removed"
    run_pipeline()
    assert counts() == before
    assert Customer.objects.get().fields == {"points": 5}
    assert Event.objects.count() == 2


def test_demo_can_be_loaded_again_after_it_was_removed(db):
    load(30)
    first = counts()
    remove()
    load(30)
    assert counts() == first


def test_half_loaded_demo_can_be_removed(own):
    before = counts()
    loading.start(timezone.now(), 60)
    run_imports(limit=2)
    pipeline.STAGES[0].work(3)
    remove()
    run_imports()
    run_pipeline()
    assert counts() == before


def test_load_that_was_interrupted_goes_on(db):
    loading.start(timezone.now(), 60)
    run_imports(limit=1)
    assert not loading.proceed(timezone.now())
    assert not loading.start(timezone.now(), 60)
    finish()
    assert state.is_ready()
    assert Event.objects.filter(message_id__startswith="cdnow-").count() == len(purchases.read(60))


def test_removal_keeps_what_something_else_uses_by_now(db, make_segment):
    load(30)
    make_segment({"field": "city", "op": "is", "value": "Bern"}, "in-bern")
    trigger = Trigger(
        key="own",
        name="Own",
        segment=Segment.objects.get(key=audience.BIG_SPENDERS),
        destination=Trigger.objects.get(key="forward-big-spenders").destination,
    )
    triggers.save(trigger)
    told = "\n".join(remove())
    assert set(CustomerField.objects.values_list("name", flat=True)) == {"city"}
    assert set(Segment.objects.values_list("key", flat=True)) == {"in-bern", "big-spenders"}
    assert [each.key for each in Trigger.objects.all()] == ["own"]
    assert "kept the field “City”" in told
    assert "kept a segment: “Big spenders (90 days)”" in told
    assert "kept the destination “E-mail tool (demo)”" in told


def test_own_customer_who_also_visited_the_demos_shop_loses_only_that_visit(own):
    load(30)
    shop = Source.objects.get(key=state.SHOP)
    Event.objects.filter(customer=own).update(source=shop.pk)
    own_source = Source.objects.get(key="own-shop")
    Event.objects.filter(customer=own, name__name="Logged In").update(source=own_source.pk)
    remove()
    assert Event.objects.get().name.name == "Logged In"
    assert Change.objects.filter(customer_id=own.pk, fact="everything").exists()


def test_removed_demo_does_not_come_back_by_itself(db, capsys):
    load(30)
    call_command("demo", "--remove")
    call_command("demo", "--once")
    assert not state.is_open()
    assert not Source.objects.filter(key=state.SHOP).exists()


def test_removing_what_is_not_there_is_said(db):
    with pytest.raises(CommandError, match="not here"):
        call_command("demo", "--remove")


def test_demo_leaves_a_source_of_somebody_elses_alone(db, make_source):
    make_source(state.SHOP)
    with pytest.raises(CommandError, match="give it another key"):
        call_command("demo", "--customers", "10")
    assert not state.is_open()
    assert not CustomerField.objects.exists()


@pytest.mark.parametrize(
    ("is_demo", "networks", "may"),
    [(True, [], True), (False, [], False), (False, ["127.0.0.0/8"], True)],
)
def test_email_tool_is_reached_where_the_settings_allow_it(settings, is_demo, networks, may):
    settings.DEMO, settings.WEBHOOK_ALLOW_PRIVATE = is_demo, networks
    assert sending.may_reach_email_tool() == may


def test_existing_fields_are_used_and_not_removed(db, make_field):
    make_field("city", label="Ort")
    load(30)
    assert Customer.objects.get(external_id="CD-00001").fields["city"] == "Thun"
    remove()
    assert [str(each) for each in CustomerField.objects.all()] == ["Ort"]


def test_import_that_somebody_stopped_is_said(db):
    loading.start(timezone.now(), 30)
    Import.objects.filter(kind="events").update(state=ImportState.STOPPED)
    run_imports()
    with pytest.raises(loading.LoadError, match="Resume it"):
        finish()

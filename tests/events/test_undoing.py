"""Files of events that are taken back."""

import io
import json

import pytest

from cdp import pipeline, undoing
from customers import imports as customer_imports
from customers.models import Change, Customer, Identifier, Import
from events import imports, inbox
from events import undoing as of_events
from events.models import Event, Receipt, Source
from segments.models import Membership

pytestmark = pytest.mark.django_db

HEADER = "customerId,event,timestamp,revenue,currency\n"
ANN = "ann,Order Completed,2026-01-31 12:30,49.90,CHF\n"
BOB = "bob,Order Completed,2026-02-01 12:30,10.00,CHF\n"


@pytest.fixture(autouse=True)
def _till(make_source):
    make_source("till", kind="store", channel="offline")


def applied(text, *, flows=True):
    file = io.BytesIO((HEADER + text).encode())
    run = imports.create(file, name="till.csv", options={"source": "till"})
    imports.apply(run.pk)
    if flows:
        flow()
    run.refresh_from_db()
    return run


def flow():
    while pipeline.ingest(pipeline.BATCH) or pipeline.refresh(pipeline.CHANGES):
        pass


def undone(run):
    imports.start_undo(run.pk)
    imports.undo(run.pk)
    while undoing.forget_created(2):
        pass
    flow()
    run.refresh_from_db()
    return run.state, run.summary["undo"]


def test_events_go_and_segments_follow_and_the_file_may_come_again(make_customer, make_segment):
    make_customer("ann")
    first = applied(ANN)
    buyers = make_segment({"event": "Order Completed", "op": "at_least", "value": 1}, "buyers")
    before = Customer.objects.get(external_id="ann").last_seen_at
    second = applied(ANN + ANN.replace("01-31", "03-31") + BOB)
    assert Membership.objects.filter(segment=buyers).count() == 2
    assert undone(second) == ("undone", {"events": 2, "restored": 2, "removed": 1, "kept": 0})
    assert Event.objects.get().occurred_at.isoformat() == "2026-01-31T11:30:00+00:00"
    assert Customer.objects.get().last_seen_at == before
    assert Membership.objects.get(segment=buyers).customer.external_id == "ann"
    again = applied(ANN + ANN.replace("01-31", "03-31") + BOB)
    assert Event.objects.count() == Receipt.objects.count() == 3
    assert undone(again)[1]["events"] == 2
    assert undone(first)[1] == {"events": 1, "restored": 1}
    ann = Customer.objects.get()
    assert (ann.external_id, ann.last_seen_at) == ("ann", None)
    assert not Membership.objects.exists()
    assert not Change.objects.exists()


def test_who_has_more_by_now_stays(make_field):
    make_field("city")
    run = applied(ANN + BOB)
    file = io.BytesIO(b"customerId,city\nann,Bern\n")
    values = customer_imports.create(file, name="city.csv")
    customer_imports.apply(values.pk)
    assert undone(run)[1] == {"events": 2, "restored": 2, "removed": 1, "kept": 1}
    assert Customer.objects.get().external_id == "ann"
    assert 'ann,"created by the import' in "".join(customer_imports.kept_file(run))


def test_an_address_that_the_file_told_of_goes_with_whom_it_created(make_customer):
    make_customer("old")
    lines = [f"{name},Order Completed,2026-01-31 12:30,{name}@new.ch" for name in ("old", "ann")]
    lines += ["bob,Order Completed,2026-01-31 12:30,bob@new.ch"]
    text = "\n".join(["customerId,event,timestamp,email", *lines, ""])
    run = imports.create(io.BytesIO(text.encode()), name="till.csv", options={"source": "till"})
    imports.apply(run.pk)
    flow()
    bob = json.dumps({"userId": "bob"}).encode()
    inbox.accept(Source.objects.get().write_key, "identify", bob)  # he was seen since
    flow()
    assert undone(run)[1] == {"events": 3, "restored": 3, "removed": 1, "kept": 1}
    emails = Identifier.objects.filter(kind="email").values_list("value", flat=True)
    assert sorted(emails) == ["bob@new.ch", "old@new.ch"]


def test_it_goes_range_by_range_and_waits_for_the_river(monkeypatch):
    monkeypatch.setattr(of_events, "RANGE", 2)
    run = applied("".join(ANN.replace("49.90", str(n)) for n in range(7)), flows=False)
    with pytest.raises(customer_imports.StateError, match="still being read"):
        imports.start_undo(run.pk)
    flow()
    assert undone(run)[1]["events"] == 7
    assert not Event.objects.exists()
    with pytest.raises(customer_imports.StateError, match="nothing to undo"):
        imports.start_undo(run.pk)


def test_staff_and_programs_undo_it(staff, api):
    run = applied(ANN)
    assert api.get(f"/api/imports/{run.pk}/")[1]["is_undoable"]
    page = staff.get(f"/admin/customers/import/{run.pk}/change/").content.decode()
    assert "The 1 event of this file is taken" in page
    staff.post(f"/admin/customers/import/{run.pk}/undo/")
    assert Import.objects.get().state == "undoing"
    imports.undo(run.pk)
    while undoing.forget_created(2):
        pass
    page = staff.get(f"/admin/customers/import/{run.pk}/change/").content.decode()
    assert "1 event of 1 customer is gone" in page
    assert api.post(f"/api/imports/{run.pk}/undo/")[0] == 409

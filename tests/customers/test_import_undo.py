"""Imports that are taken back."""

import io

import pytest

from cdp import pipeline, undoing
from customers import fields, imports
from customers.imports import records
from customers.imports.running import StateError
from customers.models import Change, Customer, FieldChange, Identifier, Import, ImportTouched

pytestmark = pytest.mark.django_db

HEADER = "customerId,fieldName,fieldValue\n"


@pytest.fixture(autouse=True)
def _fields(make_field):
    make_field("city")
    make_field("points", "number")


def applied(text, **options):
    file = io.BytesIO((HEADER + text).encode())
    run = imports.create(file, name="some.csv", options=options, created_by="Anna")
    imports.apply(run.pk)
    run.refresh_from_db()
    return run


def undone(run):
    imports.start_undo(run.pk)
    imports.undo(run.pk)
    while undoing.forget_created(2):
        pass
    run.refresh_from_db()
    return run.state, run.summary["undo"]


def people():
    return {c.external_id: c.fields for c in Customer.objects.all()}


def kept(run):
    return "".join(imports.kept_file(run)).splitlines()[1:]


def test_undo_brings_back_old_values_and_removes_who_was_created(make_customer):
    make_customer("ann", fields={"city": "Bern"})
    make_customer("bob", fields={"city": "Chur", "points": 7})
    run = applied("ann,city,Basel\nann,points,1.50\nbob,city,Chur\ncleo,city,Genf\ndan,city,Zug\n")
    assert imports.is_undoable(run)
    assert undone(run) == ("undone", {"restored": 3, "removed": 2, "kept": 0})
    assert people() == {"ann": {"city": "Bern"}, "bob": {"city": "Chur", "points": 7}}
    assert not Identifier.objects.filter(value__in=["cleo", "dan"]).exists()
    last = FieldChange.objects.order_by("-id").filter(customer__external_id="ann").first()
    assert last.source == "undo of import “some.csv”"
    assert {"field:city", "field:points"} <= {*Change.objects.values_list("fact", flat=True)}
    assert kept(run) == []


def test_value_that_changed_since_is_left_alone_and_listed(make_customer):
    ann = make_customer("ann", fields={"city": "Bern", "points": 1})
    run = applied("ann,city,Basel\nann,points,2\nbob,city,Zug\n")
    bob = Customer.objects.get(external_id="bob")
    fields.set_values({ann.pk: {"city": "Chur"}, bob.pk: {"city": None}}, source="Eva")
    assert undone(run) == ("undone", {"restored": 1, "removed": 0, "kept": 3})
    assert people() == {"ann": {"city": "Chur", "points": 1}, "bob": {}}
    assert kept(run) == [
        "ann,changed since the import,city",
        "bob,changed since the import,city",
        'bob,"created by the import, but has more than the import gave",',
    ]


def test_value_that_was_changed_to_and_fro_since_is_newer(make_customer):
    ann = make_customer("ann", fields={"city": "Bern"})
    run = applied("ann,city,Basel\n")
    for city in ("Chur", "Basel"):
        fields.set_values({ann.pk: {"city": city}}, source="Eva")
    undone(run)
    assert people() == {"ann": {"city": "Basel"}}


def test_created_customer_with_another_identifier_stays(make_customer):
    run = applied("ann,city,Basel\nbob,city,Basel\n")
    ann = Customer.objects.get(external_id="ann").pk
    Identifier.objects.create(kind="email", value="ann@example.ch", customer_id=ann)
    assert undone(run) == ("undone", {"restored": 2, "removed": 1, "kept": 1})
    assert people() == {"ann": {}}


def test_customer_merged_since_is_left_alone(make_customer):
    keeper = make_customer("keeper", fields={"city": "Chur"})
    run = applied("ann,city,Basel\n")
    Customer.objects.filter(external_id="ann").update(merged_into=keeper.pk, external_id=None)
    state, counts = undone(run)
    assert (state, counts["kept"], counts["restored"]) == ("undone", 1, 0)
    assert Customer.objects.get(pk=keeper.pk).fields == {"city": "Chur"}
    assert "merged" in kept(run)[0]


def test_value_written_twice_by_one_import_goes_back_to_the_first(make_customer, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 30)
    make_customer("ann", fields={"points": 1})
    run = applied("".join(f"ann,points,{n}\n" for n in range(2, 30)))
    assert ImportTouched.objects.count() > 3
    assert undone(run) == ("undone", {"restored": 1, "kept": 0})
    assert people() == {"ann": {"points": 1}}


def test_undo_goes_on_in_another_task(make_customer, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 30)
    run = applied("".join(f"c{n},points,{n}\n" for n in range(20)))
    monkeypatch.setattr("customers.imports.running.SLICE", -1.0)
    imports.start_undo(run.pk)
    imports.undo(run.pk)
    run.refresh_from_db()
    assert run.state == "undoing"
    assert pipeline.undo(10) == 0
    for _ in range(30):
        imports.undo(run.pk)
    while pipeline.undo(10):
        pass
    run.refresh_from_db()
    assert (run.state, Customer.objects.count()) == ("undone", 0)


def test_import_is_undone_once(make_customer):
    run = applied("ann,city,Basel\n")
    undone(run)
    with pytest.raises(StateError, match="nothing to undo"):
        imports.start_undo(run.pk)


def test_import_that_changed_nobody_cannot_be_undone(make_customer):
    make_customer("ann", fields={"city": "Bern"})
    run = applied("ann,city,Bern\n")
    assert not imports.is_undoable(run)
    with pytest.raises(StateError):
        imports.start_undo(run.pk)


def test_stopped_import_is_undone_as_far_as_it_came(make_customer):
    run = applied("ann,city,Basel\n")
    Import.objects.filter(pk=run.pk).update(state="stopped", stopped_state="importing")
    assert undone(run)[0] == "undone"
    assert people() == {}


def test_undo_is_asked_for_over_http(api):
    run = applied("ann,city,Basel\n")
    status, answer = api.post(f"/api/imports/{run.pk}/undo/")
    assert (status, answer["state"], answer["is_undoable"]) == (200, "undoing", False)
    status, problem = api.post(f"/api/imports/{run.pk}/undo/")
    assert (status, problem["errors"][0]["code"]) == (409, "state")


def test_undo_is_asked_for_on_the_page_of_the_result(client, admin_user):
    client.force_login(admin_user)
    run = applied("ann,city,Basel\n")
    page = f"/admin/customers/import/{run.pk}"
    assert "Undo this import" in client.get(f"{page}/change/").content.decode()
    client.post(f"{page}/undo/")
    assert "Undoing the import of" in client.get(f"{page}/change/").content.decode()
    imports.undo(run.pk)
    while pipeline.undo(10):
        pass
    text = client.get(f"{page}/change/").content.decode()
    assert "was undone" in text
    assert "Undo this import" not in text

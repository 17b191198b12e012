"""Files of members of a segment kept by hand: imported in the background, and undone."""

import io

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from rest_framework.test import APIClient

from activation.models import Delivery, Destination, Trigger
from cdp import apikeys, identities, imports
from customers.imports import FileError, OptionError, error_file, kept_file
from customers.models import Import, ImportState
from segments import definitions
from segments import imports as member_imports
from segments.models import Membership, Segment

pytestmark = pytest.mark.django_db

FILE = b"name;Customer ID\nAnn;C-1\nBob;C-2\n;\nX;C-9\nAnn;C-1\nY;\nZ;C-3;more\nDora;c-4\n"


@pytest.fixture
def people(make_customer):
    return {name: make_customer(name) for name in ("C-1", "C-2", "C-3", "c-4")}


@pytest.fixture
def vips(people):
    segment = Segment(key="vips", name="VIPs", kind="static")
    definitions.save(segment)
    definitions.add_members(segment, [people["c-4"].pk])
    return segment


def upload(content=FILE, **options):
    options = {"segment": "vips", **options}
    return imports.create(io.BytesIO(content), name="x.csv", options=options, created_by="Anna")


def run_to_its_end(run, act=imports.apply):
    act(run.pk)
    run.refresh_from_db()
    return run


def members(segment):
    rows = Membership.objects.filter(segment=segment).exclude(customer__external_id=None)
    return sorted(rows.values_list("customer__external_id", flat=True))


def test_check_counts_and_adds_nobody(vips):
    run = run_to_its_end(upload(), imports.check)
    assert (run.state, run.rows_ok, run.rows_failed) == (ImportState.CHECKED, 4, 3)
    assert run.summary["members"] == {"new": {"count": 3}, "known": {"count": 1}}
    assert members(vips) == ["c-4"]


def test_every_line_adds_somebody_or_says_why_not(vips, monkeypatch):
    monkeypatch.setattr(member_imports, "CHUNK_BYTES", 30)  # several chunks
    tool = Destination.objects.create(
        key="d", name="D", config={"url": "https://example.com/"}, secret="whsec_MDEyMw=="
    )
    trigger = Trigger.objects.create(
        key="t", name="T", segment=vips, destination=tool, is_enabled=True
    )
    run = run_to_its_end(upload())
    assert (run.state, run.customers_updated, run.customers_created) == (ImportState.DONE, 2, 0)
    assert members(vips) == ["C-1", "C-2", "c-4"]
    codes = [(group["code"], group["lines"]) for group in run.summary["errors"]]
    assert codes == [("unknown_customer", [5]), ("no_customer_id", [7]), ("long_row", [8])]
    assert "5;No customer has this CustomerId.;X;C-9" in "".join(error_file(run))
    assert Delivery.objects.filter(trigger=trigger).count() == 2
    again = run_to_its_end(upload())
    assert (again.customers_updated, imports.is_undoable(again)) == (0, False)


def test_undo_takes_out_whom_it_put_in_and_nobody_else(vips, people, make_customer, monkeypatch):
    monkeypatch.setattr(member_imports, "CHUNK_BYTES", 30)
    late = make_customer("C-5")
    run = run_to_its_end(upload(FILE + b"E;C-5\n"))
    definitions.remove_members(vips, [people["C-2"].pk])
    definitions.add_members(vips, [people["C-2"].pk])  # somebody wanted it so, since
    identities.join(people["C-3"], late, by="Anna")
    imports.start_undo(run.pk)
    run_to_its_end(run, imports.undo)
    assert run.state == ImportState.UNDONE
    assert run.summary["undo"] == {"restored": 1, "kept": 2}
    assert "c-4" in members(vips)
    assert "C-1" not in members(vips)
    kept = "".join(kept_file(run))
    assert "C-2,changed since the import" in kept
    assert "merged with another customer since the import" in kept


def test_a_segment_that_is_gone_ends_the_import_in_words(vips):
    run = upload()
    definitions.delete(vips)
    run_to_its_end(run)
    assert run.state == ImportState.FAILED
    assert run.error == "The segment “vips” is gone. What was imported up to there stays."


@pytest.mark.parametrize(
    ("content", "options", "error"),
    [
        (FILE, {"segment": "nobodys"}, OptionError),
        (FILE, {"segment": 7}, OptionError),
        (FILE, {"segment": ""}, OptionError),
        (b"C-1\nC-2\n", {}, FileError),
    ],
)
def test_what_is_no_list_for_a_segment_by_hand_is_refused(vips, content, options, error):
    with pytest.raises(error):
        upload(content, **options)


def test_by_the_api_it_takes_the_right_to_write_segments(vips):
    def send(*scopes):
        _, key = apikeys.create("-".join(scopes), scopes)
        body = {"file": SimpleUploadedFile("x.csv", FILE), "kind": "segment_members"}
        return APIClient().post(
            "/api/imports/",
            body | {"segment": "vips", "dry_run": True},
            headers={"Authorization": f"Bearer {key}"},
        )

    assert send("imports:write").status_code == 403
    answer = send("imports:write", "segments:write")
    assert (answer.status_code, answer.json()["options"]) == (201, {"segment": "vips"})


def test_staff_choose_a_file_look_at_it_and_add(admin_client, vips):
    address = reverse("admin:segments_segment_add_members", args=[vips.pk])
    assert "column customerId" in admin_client.get(address).content.decode()
    answer = admin_client.post(address, {"file": SimpleUploadedFile("x.csv", b"C-1\n")})
    assert "one of them customerId" in answer.context["problem"]
    answer = admin_client.post(address, {"file": SimpleUploadedFile("x.csv", FILE)})
    run = Import.objects.get()
    imports.check(run.pk)
    page = admin_client.get(answer.url).content.decode()
    assert "Add them to “VIPs”" in page
    assert "No customer has this CustomerId." in page
    admin_client.post(f"/admin/customers/import/{run.pk}/start/")
    imports.apply(run.pk)
    assert "2 added" in admin_client.get(answer.url).content.decode()
    admin_client.post(f"/admin/customers/import/{run.pk}/undo/")
    imports.undo(run.pk)
    assert (
        "2 customers whom it had added are out again"
        in admin_client.get(answer.url).content.decode()
    )


def test_who_may_not_edit_segments_imports_none(client, vips):
    ben = User.objects.create_user("ben", is_staff=True)
    wanted = ("add_import", "view_import")
    ben.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client.force_login(ben)
    assert (
        'value="segment_members"' not in client.get("/admin/customers/import/add/").content.decode()
    )
    run = upload()
    assert client.post(f"/admin/customers/import/{run.pk}/start/").status_code == 403

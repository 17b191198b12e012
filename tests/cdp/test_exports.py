"""Lists as files."""

import csv
import io
import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import DataError
from django_q.models import OrmQ

from cdp import apikeys, erasure, exports, pipeline, roles
from cdp.exports import kinds, writing
from cdp.models import Export
from customers import consent, suppression
from customers.consent import Decision
from tests.makers import NOON, Api

pytestmark = pytest.mark.django_db


EVERYTHING = {"format": "csv", "column": ["customerId", "city", "points", "email"]}


@pytest.fixture(autouse=True)
def uploads(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def anna(db):
    return User.objects.create_superuser("exporter")


@pytest.fixture
def people(make_field, make_customer):
    for name, kind in (("city", "string"), ("points", "number"), ("email", "string")):
        make_field(name, kind)
    first = make_customer("C-1", fields={"city": "=1+1", "points": Decimal("-0.10")})
    second = make_customer("C-2", fields={"city": "Zürich, “Altstadt”", "email": "b@example.com"})
    consent.record([Decision(first.pk, "mail", True, NOON)], source="test")
    return first, second


def written(what, format_, user, query=""):
    """Export, working as the queue does, and return the file's bytes."""
    export = exports.create(what, format_, query, user)
    while not Export.objects.get(pk=export.pk).finished_at:
        exports.run(export.pk)
        export.refresh_from_db()
        assert not export.error, export.error
    return Path(export.file.path).read_bytes()


def lines(content):
    return [*csv.DictReader(io.StringIO(content.decode("utf-8-sig")))]


def test_customers_as_csv_are_safe_to_open_and_to_import(anna, people):
    first, second = lines(written("customers", "csv", anna))
    assert (first["customerId"], first["city"], first["points"]) == ("C-1", "'=1+1", "-0.10")
    assert (first["'@consent.mail"], second["'@consent.mail"]) == ("true", "")
    assert second["city"] == "Zürich, “Altstadt”"


def test_customers_as_json_are_exact(anna, people):
    first, _ = json.loads(written("customers", "json", anna), parse_float=Decimal)
    assert (first["city"], first["points"]) == ("=1+1", Decimal("-0.10"))
    assert first["@consent.mail"] is True


def test_customers_as_workbook_hold_no_formula(anna, people):
    book = openpyxl.load_workbook(io.BytesIO(written("customers", "xlsx", anna)))
    head, first, _ = book.active.iter_rows(values_only=True)
    row = dict(zip(head, first, strict=True))
    assert (row["city"], row["points"], row["'@consent.mail"]) == ("'=1+1", -0.1, True)


def test_list_is_exported_as_it_is_filtered(anna, people, make_segment):
    make_segment({"field": "points", "op": "exists"}, "x")
    assert [r["customerId"] for r in lines(written("customers", "csv", anna, "segment=x"))] == [
        "C-1"
    ]
    for query in ("q=C-2", "field.email=b@example.com", "field.points[missing]=true"):
        assert [r["customerId"] for r in lines(written("customers", "csv", anna, query))] == ["C-2"]


@pytest.mark.parametrize("format_", ["csv", "json", "xlsx"])
def test_interrupted_export_is_whole_in_the_end(
    anna, people, make_customer, monkeypatch, format_, tmp_path
):
    for n in range(10):
        make_customer(f"more-{n}")
    whole = written("customers", format_, anna)
    monkeypatch.setattr(exports, "CHUNK", 3)
    monkeypatch.setattr(exports, "SLICE", 0)
    export = exports.create("customers", format_, "", anna)
    for _ in range(20):
        with Path(export.file.path).open("ab") as file:
            file.write(b"half a row of a task that died") if not export.finished_at else None
        exports.run(export.pk)
        export.refresh_from_db()
        if export.finished_at:
            break
    assert export.rows_done == 12
    if format_ != "xlsx":
        assert Path(export.file.path).read_bytes() == whole
    else:
        assert openpyxl.load_workbook(export.file.path).active.max_row == 13


def test_every_kind_is_exported(anna, people, make_event):
    make_event(customer=people[0], amount="9.90", properties={"email": "x@example.com"})
    suppression.add("email", ["x@example.com"], "manual", "Eve")
    (event,) = lines(written("events", "csv", anna))
    assert (event["customerId"], event["amount"]) == ("C-1", "9.90")
    assert lines(written("events", "csv", anna, "name=Nothing")) == []
    assert lines(written("consents", "csv", anna))[0]["granted"] == "true"
    assert lines(written("suppressions", "csv", anna))[0]["address"] == "x@example.com"
    assert {row["name"] for row in lines(written("fields", "csv", anna))} > {"city"}
    assert lines(written("deliveries", "csv", anna)) == []


def test_personal_data_are_masked_for_who_may_not_see_them(people):
    roles.create(Group, Permission)
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_customer"))
    content = written("customers", "json", user).decode()
    assert "b@example.com" not in content
    assert "•••" in content


def test_who_may_see_the_list_no_more_gets_no_file(people):
    user = User.objects.create_user("eve", is_staff=True)
    export = exports.create("customers", "csv", "", user)
    exports.run(export.pk)
    export.refresh_from_db()
    assert "not see" in export.error


def test_too_many_rows_for_excel_are_said_so(anna, people, monkeypatch):
    monkeypatch.setattr(writing, "XLSX_ROWS", 1)
    export = exports.create("customers", "xlsx", "", anna)
    exports.run(export.pk)
    export.refresh_from_db()
    assert "choose CSV" in export.error


def test_export_that_cannot_be_stored_leaves_no_file(anna, tmp_path):
    with pytest.raises(DataError):
        exports.create("customers", "unheard of", "", anna)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_export_is_asked_for_and_fetched(staff, people):
    assert "what=customers" in staff.get("/admin/customers/customer/").content.decode()
    address = "/admin/cdp/export/add/?what=customers&q=C-1"
    assert "search: C-1" in staff.get(address).content.decode()
    page = staff.post(address, EVERYTHING, follow=True)
    assert "hx-get" in page.content.decode()
    export = Export.objects.get()
    assert OrmQ.objects.count() == 1
    assert staff.get(f"/admin/cdp/export/{export.pk}/file/").status_code == 404
    exports.run(export.pk)
    assert "Download" in staff.get(f"/admin/cdp/export/{export.pk}/status/").content.decode()
    answer = staff.get(f"/admin/cdp/export/{export.pk}/file/")
    assert len(lines(b"".join(answer.streaming_content))) == 1
    assert "customers-" in answer["Content-Disposition"]
    assert "search: C-1" in staff.get("/admin/cdp/export/").content.decode()


def test_file_is_nobody_elses_business(staff, people, client):
    staff.post("/admin/cdp/export/add/?what=customers", EVERYTHING)
    export = Export.objects.get()
    exports.run(export.pk)
    roles.create(Group, Permission)
    other = User.objects.create_user("eve", is_staff=True)
    other.groups.add(Group.objects.get(name="Marketer"))
    client.force_login(other)
    for page in ("", "status/", "file/"):
        assert client.get(f"/admin/cdp/export/{export.pk}/{page}").status_code == 404
    assert client.post(f"/admin/cdp/export/{export.pk}/remove/").status_code == 404


def test_viewer_exports_nothing(member, people):
    client = member("Viewer")
    assert client.get("/admin/cdp/export/add/?what=customers").status_code == 403
    assert "what=customers" not in client.get("/admin/customers/customer/").content.decode()


def test_unknown_kind_is_not_found(staff):
    assert staff.get("/admin/cdp/export/add/?what=passwords").status_code == 404


def test_expired_file_is_gone(staff, anna, people):
    written("customers", "csv", anna)
    export = Export.objects.get()
    file = Path(export.file.path)
    Export.objects.update(created_at=export.created_at - exports.KEPT - timedelta(hours=1))
    assert staff.get(f"/admin/cdp/export/{export.pk}/file/").status_code == 404
    exports.sweep()
    assert not file.exists()
    assert not Export.objects.exists()


def test_everything_that_can_be_exported_is_offered(staff):
    page = staff.get("/admin/cdp/export/add/").content.decode()
    assert all(f"?what={what}" in page for what in kinds.KINDS)
    assert staff.get("/admin/cdp/export/add/?what=x").status_code == 404


def test_marketer_exports_events_of_some_days(member, make_event, make_customer):
    anna = make_customer("C-1")
    for hours in (-30, 0, 30):
        make_event("Order Completed", anna, at=NOON + timedelta(hours=hours))
    marketer = member("Marketer")
    address = "/admin/cdp/export/add/?what=events"
    day = f"{NOON:%Y-%m-%d}"
    wrong = marketer.post(address, {"format": "csv", "first": "yesterday"})
    assert "Enter a valid date." in wrong.content.decode()
    marketer.post(address, {"format": "csv", "column": "timestamp", "first": day, "last": day})
    export = Export.objects.get()
    exports.run(export.pk)
    assert [row["timestamp"][:10] for row in lines(Path(export.file.path).read_bytes())] == [day]


def test_event_that_does_not_exist_and_a_file_without_columns_are_refused(staff, make_event):
    make_event("Order Completed")
    address = "/admin/cdp/export/add/?what=events"
    asked = {"format": "csv", "column": "event"}
    page = staff.post(address, asked | {"name": "Order Complete"}).content.decode()
    assert "Did you mean &quot;Order Completed&quot;?" in page
    page = staff.post(address, {"format": "csv"}).content.decode()
    assert ("Choose at least one column." in page, Export.objects.exists()) == (True, False)


def test_filters_that_cannot_be_read_start_nothing(staff):
    address = "/admin/cdp/export/add/?what=fields&type__in=x&zzz=1"
    page = staff.post(address, {"format": "csv"})
    assert "The filters in the address cannot be read." in page.content.decode()
    assert not Export.objects.exists()


def test_chosen_customers_are_exported(staff, people):
    _, second = people
    data = {"action": "export_chosen", "_selected_action": [second.pk]}
    asked = staff.post("/admin/customers/customer/", data)
    assert "chosen by hand: 1" in staff.get(asked["Location"]).content.decode()
    staff.post(asked["Location"], EVERYTHING)
    export = Export.objects.get()
    exports.run(export.pk)
    found = lines(Path(export.file.path).read_bytes())
    assert [row["customerId"] for row in found] == [second.external_id]


@pytest.mark.parametrize(
    "path", ["activation/delivery/", "events/eventname/", "customers/consentpurpose/"]
)
def test_lists_have_a_button_to_export_them(staff, path):
    assert "/admin/cdp/export/add/?" in staff.get(f"/admin/{path}").content.decode()


SCOPES = ("exports:read", "exports:write", "customers:read", "segments:read")


@pytest.fixture
def shop(db):
    return Api(apikeys.create("shop", [*SCOPES, apikeys.PERSONAL_DATA])[1])


def fetched(api, body):
    """Ask for an export over HTTP, let the queue work, and return the answer and the file."""
    status, answer = api.post("/api/exports/", body)
    assert (status, answer["state"]) == (201, "waiting"), answer
    exports.run(answer["id"])
    answer = api.get(f"/api/exports/{answer['id']}/")[1]
    file = api.client.get(f"/api/exports/{answer['id']}/file/", headers=api.headers)
    return answer, b"".join(file.streaming_content)


def test_program_asks_follows_and_fetches(shop, people):
    wanted = {"what": "customers", "filters": {"field.city[is]": "=1+1"}}
    answer, content = fetched(shop, wanted | {"format": "csv"})
    assert [row["customerId"] for row in lines(content)] == ["C-1"]
    assert (answer["state"], answer["rows"]) == ("done", {"done": 1, "total": 1})
    assert answer["size"] == len(content)
    assert shop.get("/api/exports/")[1]["results"] == [answer]
    assert shop.delete(f"/api/exports/{answer['id']}/")[0] == 204
    assert shop.get(f"/api/exports/{answer['id']}/")[0] == 404


def test_program_chooses_columns(shop, people):
    wanted = {"what": "customers", "columns": ["points", "customerId"]}
    _, content = fetched(shop, wanted)
    assert [*lines(content)[0]] == ["points", "customerId"]
    status, answer = shop.post("/api/exports/", wanted | {"columns": ["pionts"]})
    assert (status, answer["errors"][0]["detail"]) == (
        400,
        'There is no column “pionts”. Did you mean "points"?',
    )


def test_program_exports_members_with_their_entry(shop, people, make_segment):
    make_segment({"field": "points", "op": "exists"}, "x")
    wanted = {"what": "members", "format": "json", "filters": {"segment": "x"}}
    _, content = fetched(shop, wanted)
    (member,) = json.loads(content)
    assert (member["segment"], member["customerId"], member["entryNo"]) == ("x", "C-1", 1)


def test_file_that_is_gone_from_the_disk_is_said(shop, people):
    _, made = shop.post("/api/exports/", {"what": "customers"})
    exports.run(made["id"])
    Path(Export.objects.get().file.path).unlink()
    status, answer = shop.get(f"/api/exports/{made['id']}/file/")
    assert (status, answer["errors"][0]["code"]) == (404, "not_found")
    assert shop.get("/api/exports/")[1]["results"][0]["size"] is None


@pytest.mark.parametrize(
    ("filters", "attr"),
    [
        ({"segmnt": "x"}, "segmnt"),
        ({"segment": "nowhere"}, "segment"),
        ({"field.ctiy": "Bern"}, "field.ctiy"),
        ({"seen_since": "yesterday"}, "seen_since"),
    ],
)
def test_filter_that_cannot_be_read_is_refused_at_once(shop, people, filters, attr):
    status, answer = shop.post("/api/exports/", {"what": "customers", "filters": filters})
    assert (status, answer["errors"][0]["attr"]) == (400, attr)
    assert not Export.objects.exists()


def test_key_exports_only_what_it_may_read_and_sees_only_its_own(shop, people):
    for what in ("events", "deliveries", "fields", "consents", "suppressions"):
        assert shop.post("/api/exports/", {"what": what})[0] == 403
    export = shop.post("/api/exports/", {"what": "customers"})[1]
    assert shop.get(f"/api/exports/{export['id']}/file/")[0] == 409
    exports.run(export["id"])
    other = Api(apikeys.create("other", SCOPES)[1])
    assert other.get("/api/exports/")[1]["results"] == []
    assert other.get(f"/api/exports/{export['id']}/file/")[0] == 404


def test_key_without_personal_data_gets_them_masked_and_cannot_filter_by_them(people):
    api = Api(apikeys.create("blind", SCOPES)[1])
    _, content = fetched(api, {"what": "customers"})
    assert [row["email"] for row in lines(content)] == ["", "•••"]
    probe = {"what": "customers", "filters": {"field.email[starts_with]": "b"}}
    assert api.post("/api/exports/", probe)[0] == 400


def test_revoked_key_gets_no_file(shop, people, settings):
    export = shop.post("/api/exports/", {"what": "customers"})[1]
    apikeys.ApiKey.objects.update(revoked_at=NOON)
    exports.run(export["id"])
    assert "not see" in Export.objects.get().error


def test_files_that_may_hold_the_erased_are_removed(anna, people, settings, tmp_path):
    settings.ERASURE_LOG = tmp_path / "erasures.jsonl"
    written("customers", "csv", anna)
    written("fields", "csv", anna)
    OrmQ.objects.all().delete()
    erasure.erase([people[1].pk], by="test")
    task = OrmQ.objects.get()
    assert task.func() == "cdp.exports.remove_up_to"
    exports.remove_up_to(*task.args())
    assert [export.what for export in Export.objects.all()] == ["fields"]


def test_pipeline_has_expired_files_removed(anna, people, monkeypatch):
    written("customers", "csv", anna)
    OrmQ.objects.all().delete()
    monkeypatch.setitem(exports._swept_at, "", float("-inf"))
    pipeline.expire(1)
    assert not OrmQ.objects.exists()
    Export.objects.update(created_at=NOON - timedelta(days=400))
    monkeypatch.setitem(exports._swept_at, "", float("-inf"))
    pipeline.expire(1)
    assert OrmQ.objects.get().func() == "cdp.exports.sweep"

import json
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from cdp import apikeys
from customers import imports
from customers.models import Customer, Import

pytestmark = pytest.mark.django_db

VALUES = b"customerId,fieldName,fieldValue\nA-1,age,41.5\nA-2,age,old\nA-3,aeg,7\n"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def upload(db, make_field):
    """Send a file as a form; answers (status, JSON)."""
    make_field("age", "number")
    key = apikeys.create("uploader")[1]

    def send(content=VALUES, **more):
        form = {"file": SimpleUploadedFile("ages.csv", content), **more}
        headers = {"Authorization": f"Bearer {key}"}
        answer = APIClient().post("/api/imports/", form, format="multipart", headers=headers)
        return answer.status_code, json.loads(answer.content)

    return send


def attrs(answer):
    return {error["attr"]: error["code"] for error in answer["errors"]}


def test_uploaded_file_is_imported_in_the_background(api, upload):
    status, answer = upload()
    assert status == 201
    assert (answer["state"], answer["file_name"]) == ("importing", "ages.csv")
    assert answer["created_by"] == 'API key "uploader"'
    imports.apply(answer["id"])
    status, answer = api.get(f"/api/imports/{answer['id']}/")
    assert (answer["state"], answer["progress"]) == ("done", 1)
    assert answer["rows"] == {"total": 3, "ok": 1, "errors": 2}
    assert answer["customers"]["created"] == 1
    assert Customer.objects.get(external_id="A-1").fields == {"age": Decimal("41.5")}
    assert [each["id"] for each in api.get("/api/imports/?state=done")[1]["results"]] == [
        answer["id"]
    ]


def test_dry_run_only_checks_and_apply_follows(api, upload):
    _, answer = upload(dry_run="true")
    path = f"/api/imports/{answer['id']}"
    assert answer["state"] == "checking"
    imports.check(answer["id"])
    answer = api.get(f"{path}/")[1]
    assert (answer["state"], answer["rows"]["errors"]) == ("checked", 2)
    assert not Customer.objects.exists()
    assert api.post(f"{path}/apply/")[1]["state"] == "importing"
    status, answer = api.post(f"{path}/apply/")
    assert (status, answer["errors"][0]["code"]) == (409, "state")


@pytest.mark.parametrize("slash", ["", "/"])
def test_lines_with_errors_come_back_with_reason_and_number(api, upload, slash):
    run = upload()[1]["id"]
    imports.apply(run)
    status, text = api.get(f"/api/imports/{run}/errors.csv{slash}")
    assert status == 200
    lines = text.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("3,")
    assert "“old” is not a number" in lines[1]
    assert lines[1].endswith("A-2,age,old")


def test_import_is_stopped_and_resumed(api, upload):
    run = upload()[1]["id"]
    assert api.post(f"/api/imports/{run}/stop/")[1]["state"] == "stopped"
    assert api.post(f"/api/imports/{run}/stop/")[0] == 409
    assert api.post(f"/api/imports/{run}/resume/")[1]["state"] == "importing"
    assert api.delete(f"/api/imports/{run}/")[0] == 204
    assert not Import.objects.exists()


@pytest.mark.parametrize(
    ("more", "attr"),
    [
        ({"content": b"PK\x03\x04 not a zip"}, "file"),
        ({"content": b"a,b\n1,2\n"}, "file"),
        ({"content": b""}, "file"),
        ({"kind": "people"}, "kind"),
        ({"dry_run": "perhaps"}, "dry_run"),
        ({"numbers": "1,5"}, "numbers"),
        ({"delimiter": "x"}, "delimiter"),
        ({"options": "{"}, "options"),
        ({"options": "[]"}, "options"),
        ({"options": '{"emtpy": "clear"}'}, "emtpy"),
        ({"emtpy": "clear"}, "emtpy"),
        ({"options": '{"fields": {"x": "\\u0000"}}'}, "fields"),
        ({"options": '{"fields": {"\\ud800": null}}'}, "fields"),
        ({"kind": "events", "options": '{"source": "a\\u0000"}'}, "source"),
        ({"encoding": "utf-16"}, "file"),
    ],
)
def test_wrong_upload_is_refused_where_it_is_wrong(upload, more, attr):
    status, answer = upload(**more)
    assert (status, list(attrs(answer))) == (400, [attr])
    assert not Import.objects.exists()


def test_options_stand_for_themselves_or_together(upload):
    _, answer = upload(options='{"empty": "clear", "numbers": "1234.5"}', create_missing="false")
    expected = {"empty": "clear", "numbers": "1234.5", "create_missing": False}
    assert answer["options"] == expected


def test_upload_that_is_no_form_is_a_415(api):
    assert api.post("/api/imports/", {"file": "x"})[0] == 415


def test_example_file_names_the_fields_there_are(api, make_field):
    make_field("Home town")
    status, text = api.get("/api/imports/example.csv/")
    assert status == 200
    assert "Home town" in text


def test_events_are_imported_by_the_same_way(api, upload, make_source):
    make_source("till")
    _, text = api.get("/api/imports/example.csv/?kind=events")
    status, answer = upload(text.encode(), kind="events", source="till", dry_run="true")
    assert status == 201, answer
    assert (answer["kind"], answer["options"]) == ("events", {"source": "till"})
    (listed,) = api.get("/api/imports/?kind=events")[1]["results"]
    assert listed["id"] == answer["id"]
    status, answer = upload(text.encode(), kind="events", source="tlil")
    assert (status, list(attrs(answer))) == (400, ["source"])

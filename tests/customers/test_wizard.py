"""The import wizard: what each step shows and does, without a browser."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile

from cdp import erasure
from customers import imports
from customers.models import Customer, CustomerField, Import, ImportState

MISTAKES = b"""customerId,fieldName,fieldValue
C1,city,Bern
C2,points,many
C3,emial,new@example.ch
C3,shoeSize,42
"""


@pytest.fixture
def staff(client, db):
    client.force_login(User.objects.create_superuser("anna", first_name="Anna"))
    return client


@pytest.fixture
def upload(staff, make_field):
    """Upload a file in step 1 and have the queue check it."""
    make_field("city")
    make_field("points", "number")
    make_field("email")

    def send(content=MISTAKES, name="people.csv", **more):
        form = {"kind": "customer_fields", "numbers": "1234.5", "dates": "iso", **more}
        answer = staff.post(
            "/admin/customers/import/add/", {**form, "file": SimpleUploadedFile(name, content)}
        )
        if answer.status_code != 302:
            return answer
        run = Import.objects.latest("id")
        imports.check(run.pk)
        run.refresh_from_db()
        return run

    return send


def page(staff, run):
    return staff.get(f"/admin/customers/import/{run.pk}/change/").content.decode()


def press(staff, run, verb, **form):
    return staff.post(f"/admin/customers/import/{run.pk}/{verb}/", form)


def test_check_shows_what_is_wrong_and_saves_nothing(staff, upload):
    text = page(staff, upload())
    assert "is not a number" in text
    assert "Did you mean &quot;email&quot;?" in text
    assert "Import 1 value" in text
    assert not Customer.objects.exists()


def test_import_is_made_by_whoever_uploaded_it(upload):
    assert upload().created_by == "Anna"


def test_file_that_is_no_table_is_refused_with_the_reason(upload):
    for content, reason in (
        (b"", "empty"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel"),
        (b"name;city\nAnna;Bern\n", "customerId"),
    ):
        assert reason in upload(content).content.decode()
    assert not Import.objects.exists()


def test_encoding_and_delimiter_are_shown_and_changed_after_the_upload(staff, upload):
    run = upload(b"customerId;city\nC1;Gen\x8fve\n", encoding="cp1252")
    assert "Windows-1252" in page(staff, run)
    assert run.rows_failed == 1  # in Windows-1252, that byte means nothing
    answer = staff.post(
        f"/admin/customers/import/{run.pk}/recheck/",
        {"encoding": "cp850", "delimiter": "|", "create_missing": "on"},
        follow=True,
    )
    assert "It cannot be read like that" in answer.content.decode()
    press(staff, run, "recheck", encoding="mac-roman", delimiter=";", create_missing="on")
    imports.check(run.pk)
    run.refresh_from_db()
    assert (run.format["encoding"], run.rows_failed, run.rows_ok) == ("Mac Roman", 0, 1)
    imports.start_apply(run.pk)
    imports.apply(run.pk)
    assert Customer.objects.get().fields == {"city": "Genève"}


def test_result_says_that_erased_customers_were_left_out(staff, upload, make_customer):
    erasure.erase([make_customer("C1").pk], by="Anna")
    run = upload(b"customerId,city\nC1,Bern\nC2,Chur\n")
    imports.start_apply(run.pk)
    imports.apply(run.pk)
    assert "1 customer of this file was left out" in " ".join(page(staff, run).split())
    assert [*Customer.objects.values_list("external_id", flat=True)] == ["C2"]


def test_misspelt_name_is_read_as_the_field_that_was_meant(staff, upload):
    run = upload()
    names = [*run.summary["unknown_fields"]]
    chosen = {f"name_{names.index('emial')}": "use:email"}
    press(staff, run, "recheck", create_missing="on", **chosen)
    imports.check(run.pk)
    run.refresh_from_db()
    assert run.options["fields"] == {"emial": "email"}
    assert run.rows_ok == 2


def test_what_was_chosen_for_a_name_is_shown_and_can_be_changed(staff, upload):
    run = upload()
    press(staff, run, "recheck", name_0="use:email", name_1="ignore")
    imports.check(run.pk)
    text = page(staff, run)
    assert '<option value="use:email" selected>' in text
    assert '<option value="ignore" selected>' in text
    press(staff, run, "recheck", name_0="", name_1="ignore")
    run.refresh_from_db()
    assert run.options["fields"] == {"shoeSize": None}


def test_unknown_name_becomes_a_field_of_the_chosen_type(staff, upload):
    run = upload()
    names = [*run.summary["unknown_fields"]]
    press(staff, run, "recheck", **{f"name_{names.index('shoeSize')}": "create:number"})
    assert CustomerField.objects.get(name="shoeSize").type == "number"


def test_import_is_applied_only_when_it_is_started(staff, upload):
    run = upload()
    assert not Customer.objects.exists()
    press(staff, run, "start")
    imports.apply(run.pk)
    text = page(staff, run)
    assert "1 new" in text
    assert Customer.objects.get().fields == {"city": "Bern"}


def test_nothing_happens_by_a_get(staff, upload):
    run = upload()
    for verb in ("start", "stop", "discard", "recheck"):
        answer = staff.get(f"/admin/customers/import/{run.pk}/{verb}/")
        assert answer.status_code == 405, verb
    assert Import.objects.get().state == ImportState.CHECKED


def test_stopped_import_goes_on(staff, upload):
    run = upload()
    press(staff, run, "start")
    press(staff, run, "stop")
    assert "Go on" in page(staff, run)
    press(staff, run, "resume")
    imports.apply(run.pk)
    assert Import.objects.get().state == ImportState.DONE


def test_command_that_does_not_fit_is_answered_in_words(staff, upload):
    run = upload()
    answer = staff.post(f"/admin/customers/import/{run.pk}/stop/", follow=True)
    assert "nothing to stop" in answer.content.decode()


def test_lines_with_errors_are_downloaded_with_their_reason(staff, upload):
    run = upload()
    answer = staff.get(f"/admin/customers/import/{run.pk}/errors.csv")
    lines = b"".join(answer).decode("utf-8-sig").splitlines()
    assert lines[0] == "line,reason,customerId,fieldName,fieldValue"
    assert len(lines) == 4
    assert "people-errors.csv" in answer["Content-Disposition"]


def test_example_is_made_of_the_fields_there_are(staff, upload):
    text = b"".join(staff.get("/admin/customers/import/example/customer_fields.csv")).decode()
    assert "customerId,fieldName,fieldValue" in text
    upload(text.encode())
    assert Import.objects.get().rows_failed == 0


def test_same_file_again_is_pointed_out(staff, upload):
    first = upload()
    press(staff, first, "start")
    imports.apply(first.pk)
    assert "very same file" in page(staff, upload())


def test_page_asks_again_while_there_is_work_and_stops_asking_then(staff, upload):
    run = upload()
    assert "every 1s" not in page(staff, run)
    press(staff, run, "start")
    status = f"/admin/customers/import/{run.pk}/status/"
    assert "every 1s" in staff.get(status).content.decode()
    imports.apply(run.pk)
    assert "every 1s" not in staff.get(status).content.decode()


def test_hostile_names_and_values_are_shown_as_text(staff, upload):
    nasty = "<script>alert(1)</script>"
    run = upload(
        f"customerId,fieldName,fieldValue\n{nasty},{nasty},{nasty}\nC1,points,{nasty}\n".encode(),
        name=f"{nasty}.csv",
    )
    assert nasty not in page(staff, run)
    assert nasty not in staff.get("/admin/customers/import/").content.decode()


def test_viewer_sees_an_import_and_cannot_touch_it(client, upload):
    run = upload()
    viewer = User.objects.create_user("tom", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_import"))
    client.force_login(viewer)
    text = page(client, run)
    assert "Import 1 value" not in text
    assert "“many”" not in text
    assert "for example" not in text
    for verb in ("start", "recheck", "discard"):
        assert press(client, run, verb).status_code == 403
    assert client.get("/admin/customers/import/add/").status_code == 403


def test_columns_that_differ_by_case_and_marks_are_taken_for_the_field(staff, upload, make_field):
    for name in ("firstName", "lastName", "e_mail"):
        make_field(name)
    upload(b"customerId,First Name,LASTNAME,E-Mail,colour\nC1,Ann,Low,a@example.ch,red\n")
    run = Import.objects.get()
    assert run.options["fields"] == {"First Name": "firstName", "LASTNAME": "lastName"}
    text = page(staff, run)
    assert "Import 2 values" in text
    assert "2 columns of the file are no customer field" in text  # e-mail might be either


def test_file_that_brings_nothing_cannot_be_imported(staff, upload, make_customer):
    make_customer("C1")
    assert "Nothing to import" in page(staff, upload(b"customerId\nC1\n"))

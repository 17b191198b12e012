"""Files of customers' values, from upload to result."""

import csv
import errno
import io

import pytest
from django_q.models import OrmQ

from customers import changes, erasure, imports
from customers.imports import receiving
from customers.models import (
    Customer,
    FieldChange,
    Identifier,
    Import,
    ImportProblem,
    ImportSeen,
    ImportState,
)
from tests.customers.uploading import (
    HEADER,
    applied,
    checked,
    counts,
    exact,
    fields_of,
    problems,
    upload,
)

pytestmark = pytest.mark.usefixtures("import_fields")


def test_values_reach_new_and_known_customers(make_customer):
    ann = make_customer("ann", fields={"city": "Bern", "vip": True})
    run = applied(HEADER + "ann,city,Basel\nbob,points,1.50\nbob,born,2026-07-01\nann,vip,yes\n")
    assert counts(run) == (4, 0, 1, 1)
    assert fields_of("ann") == {"city": "Basel", "vip": True}
    assert exact(fields_of("bob")) == {"points": "1.50", "born": "2026-06-30T22:00:00Z"}
    assert Identifier.objects.get(value="bob").customer.external_id == "bob"
    assert FieldChange.objects.get(customer=ann).changes == {"city": ["Bern", "Basel"]}
    assert {c.source for c in FieldChange.objects.all()} == {"import “some.csv”"}


def test_segments_are_told_what_changed_and_nothing_else(make_customer):
    ann = make_customer("ann", fields={"city": "Bern", "vip": True})
    applied(HEADER + "ann,city,Basel\nann,vip,true\nbob,points,1\n")
    bob = Customer.objects.get(external_id="bob")
    assert set(changes.claim(100)) == {
        (ann.pk, "field:city", None),
        (bob.pk, "new:fields", None),
    }


def test_names_of_fields_may_hold_anything(make_customer, make_field):
    make_field('a\tb\\n"c')
    make_customer("ann")
    applied('customerId,fieldName,fieldValue\nann,"a\tb\\n""c",x\n')
    assert fields_of("ann") == {'a\tb\\n"c': "x"}
    assert 'field:a\tb\\n"c' in {fact.name for fact in changes.claim(10)}
    assert FieldChange.objects.get().changes == {'a\tb\\n"c': [None, "x"]}


def test_kept_file_is_closed_to_others_on_the_machine(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "uploads"
    upload("customerId\nC-1\n")
    kept = list((tmp_path / "uploads").rglob("*"))
    assert [path.stat().st_mode & 0o077 for path in kept] == [0, 0]


def test_file_that_the_disk_has_no_room_for_leaves_no_piece_behind(settings, tmp_path, monkeypatch):
    def chunks(file, chunk_size=None):
        yield b"customerId,"
        raise OSError(errno.ENOSPC, "No space left on device")

    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(receiving.File, "chunks", chunks)
    with pytest.raises(OSError, match="No space"):
        upload("customerId\nC-1\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not Import.objects.exists()


def test_same_file_again_changes_nothing():
    text = HEADER + "ann,city,Basel\nann,points,1.50\nann,born,2026-07-01\nbob,vip,no\n"
    applied(text)
    changes.claim(100)
    run = applied(text)
    assert counts(run) == (4, 0, 0, 0)
    assert FieldChange.objects.count() == 2
    assert changes.claim(100) == []
    assert imports.earlier(run) is not None


def test_check_changes_nothing_and_says_what_would_happen(make_customer):
    make_customer("ann")
    run = checked(
        HEADER + "ann,city,Bern\nbob,city,Genf\nbob,points,many\nbob,Ctiy,x\nann,points,3\n"
    )
    assert run.state == ImportState.CHECKED
    assert counts(run) == (3, 2, 0, 0)
    assert run.summary["customers"] == {"new": {"count": 1}, "known": {"count": 1}}
    assert run.summary["fields"] == {
        "city": {"count": 2, "type": "string", "example": "Bern"},
        "points": {"count": 1, "type": "number", "example": "3"},
    }
    assert run.summary["unknown_fields"] == {
        "Ctiy": {"count": 1, "suggestion": "city", "type": "string", "example": "x"}
    }
    assert [(e["code"], e["about"], e["count"], e["lines"]) for e in run.summary["errors"]] == [
        ("not_a_number", "points", 1, [4]),
        ("unknown_field", "Ctiy", 1, [5]),
    ]
    assert not Customer.objects.filter(external_id="bob").exists()
    assert changes.claim(10) == []


def test_checked_file_is_applied_with_counts_of_its_own():
    run = checked(HEADER + "ann,city,Bern\nann,points,x\n")
    imports.apply(run.pk)
    run.refresh_from_db()
    assert (run.state, counts(run), run.progress) == (ImportState.DONE, (1, 1, 1, 0), 1.0)
    assert problems(run) == [(3, "not_a_number")]


def test_file_of_customer_ids_alone_creates_customers():
    run = applied("customerId\nann\n\n bob \nann\n")
    assert run.format["layout"] == "ids"
    assert counts(run) == (3, 0, 2, 0)
    assert not FieldChange.objects.exists()


def test_wide_file_has_a_column_for_each_field():
    run = applied("City;Customer ID;points;city;vip\nx;ann;3;Bern;no\nx;bob;;Basel;\n")
    assert run.format["layout"] == "wide"
    assert run.format["delimiter"] == ";"
    assert exact(fields_of("ann")) == {"points": "3", "city": "Bern", "vip": "False"}
    assert fields_of("bob") == {"city": "Basel"}
    assert run.summary["unknown_fields"] == {
        "City": {"count": 2, "suggestion": "city", "type": "string", "example": "x"}
    }


def test_line_of_a_wide_file_with_a_bad_value_is_left_out_whole():
    run = applied("customerId,points,vip,city\nann,x,maybe,Bern\nbob,3,yes,Basel\n")
    assert counts(run) == (1, 1, 1, 0)
    assert not Customer.objects.filter(external_id="ann").exists()
    message = ImportProblem.objects.get().message
    assert "points: “x”" in message
    assert "vip: “maybe”" in message


def test_last_line_wins_and_repetitions_are_counted():
    run = applied(HEADER + "ann,city,Bern\nann,city,Basel\nann,city,Genf\n")
    assert fields_of("ann") == {"city": "Genf"}
    assert run.summary["warnings"] == {"repeated": {"count": 2}}


@pytest.mark.parametrize(("empty", "left"), [("leave", {"city": "Bern"}), ("clear", {})])
def test_empty_value_leaves_or_clears(make_customer, empty, left):
    make_customer("ann", fields={"city": "Bern"})
    applied(HEADER + "ann,city,\nbob,city,  \n", empty=empty)
    assert (fields_of("ann"), fields_of("bob")) == (left, {})


def test_clearing_what_is_not_there_changes_nothing(make_customer):
    make_customer("ann", fields={"city": "Bern"})
    assert counts(applied(HEADER + "ann,points,\n", empty="clear")) == (1, 0, 0, 0)


def test_unknown_customers_are_problems_if_none_may_be_created(make_customer):
    make_customer("ann")
    run = applied(HEADER + "ann,city,Bern\nbob,city,Bern\nbob,city,x\n", create_missing=False)
    assert counts(run) == (1, 2, 0, 1)
    assert problems(run) == [(3, "unknown_customer"), (4, "unknown_customer")]
    assert "warnings" not in run.summary


def test_names_in_the_file_can_be_mapped_or_left_out():
    run = applied(
        HEADER + "ann,Stadt,Bern\nann,Notiz,x\nann,?,x\n", fields={"Stadt": "city", "Notiz": None}
    )
    assert fields_of("ann") == {"city": "Bern"}
    assert problems(run) == [(4, "unknown_field")]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("numbers", "any"),
        ("dates", 3),
        ("empty", None),
        ("create_missing", "yes"),
        ("delimiter", "x"),
        ("fields", {"a": 1}),
        ("fields", []),
        ("colour", "red"),
    ],
)
def test_options_that_make_no_sense_are_refused(option, value):
    with pytest.raises(imports.OptionError) as error:
        upload(HEADER, **{option: value})
    assert error.value.option == option
    assert not Import.objects.exists()


def test_ids_that_are_nobodys_are_problems():
    long = "x" * 201
    run = applied(HEADER + f"anonymous,city,Bern\n,city,Bern\n000,city,x\n{long},city,x\n,,\n")
    assert problems(run) == [
        (2, "not_a_customer_id"),
        (3, "no_customer_id"),
        (4, "not_a_customer_id"),
        (5, "customer_id_too_long"),
    ]
    assert run.rows_total == 4
    assert not Customer.objects.exists()


def test_value_without_a_field_name_is_a_problem_but_no_value_needs_none():
    run = applied(HEADER + "ann,,Bern\nbob,,\n")
    assert problems(run) == [(2, "no_field_name")]
    assert counts(run) == (1, 1, 1, 0)


def test_values_of_merged_customers_reach_the_survivor(make_customer):
    ann = make_customer("ann")
    absorbed = Customer.objects.create(merged_into=ann)
    Identifier.objects.create(kind="customer_id", value="old", customer=ann)
    Identifier.objects.create(kind="customer_id", value="older", customer=absorbed)
    run = applied(HEADER + "old,city,Bern\nolder,points,3\nann,vip,yes\n")
    assert exact(fields_of("ann")) == {"city": "Bern", "points": "3", "vip": "True"}
    assert run.rows_ok == 3


def test_error_file_can_be_mended_and_uploaded_again():
    run = applied(HEADER + 'ann,points,x\n"b;o",city,=1+1\nann,nope,"a\nb"\nbob,points,-\n')
    text = "".join(imports.error_file(run))
    rows = [*csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))]
    assert [(row["line"], row["fieldName"], row["fieldValue"]) for row in rows] == [
        ("2", "points", "x"),
        ("4", "nope", "a\nb"),
        ("6", "points", "'-"),
    ]
    assert rows[0]["reason"] == "points: “x” is not a number like 1234.50."
    mended = text.replace(",x\r\n", ",'-5\r\n").replace("nope", "city").replace("'-\r", "'-6\r")
    again = applied(mended)
    assert counts(again) == (3, 0, 2, 0)
    assert exact(fields_of("ann")) == {"points": "-5", "city": "a\nb"}
    assert fields_of("b;o") == {"city": "=1+1"}


def test_example_file_is_made_of_the_fields_and_can_be_imported():
    run = applied(imports.example())
    assert counts(run) == (4, 0, 1, 0)


def test_file_and_memory_are_gone_when_all_is_imported(django_capture_on_commit_callbacks):
    run = upload(HEADER + "ann,city,Bern\n")
    stored = run.file.storage, run.file.name
    with django_capture_on_commit_callbacks(execute=True):
        imports.apply(run.pk)
    run.refresh_from_db()
    assert not run.file
    assert not stored[0].exists(stored[1])
    assert not ImportSeen.objects.exists()


def test_discarded_import_leaves_nothing(django_capture_on_commit_callbacks):
    run = checked(HEADER + "ann,points,x\n")
    stored = run.file.storage, run.file.name
    with django_capture_on_commit_callbacks(execute=True):
        imports.discard(run.pk)
    assert not stored[0].exists(stored[1])
    assert not Import.objects.exists()
    assert not ImportProblem.objects.exists()


def test_lines_of_an_erased_customer_are_forgotten(make_customer):
    ann = make_customer("ann")
    run = applied(HEADER + "ann,points,x\nbob,points,x\n")
    erasure.forget_traces(erasure.traces({ann.pk: ann.pk}))
    assert problems(run) == [(3, "not_a_number")]


def test_value_that_is_too_long_is_a_problem_of_its_line():
    run = applied(HEADER + f"ann,city,{'x' * 200_000}\nann,points,{'9' * 101}\nann,vip,no\n")
    assert problems(run) == [(2, "text_too_long"), (3, "not_a_number")]
    assert counts(run) == (1, 2, 1, 0)


def test_starting_leaves_the_work_to_the_queue():
    run = upload(HEADER + "ann,city,Bern\n")
    imports.start_check(run.pk)
    assert OrmQ.objects.get().func() == "customers.imports.check"
    with pytest.raises(imports.StateError):
        imports.start_check(run.pk)


def test_numbers_with_leading_zeros_are_no_broken_json():
    run = applied(HEADER + "c,points,007\n", numbers="1'234.50")
    assert (run.rows_failed, exact(fields_of("c"))) == (0, {"points": "7"})


def test_numbers_that_are_none_are_problems_and_zeros_of_texts_are_kept():
    cells = ["1e400", "NaN", "Infinity", "=1+1", "0x10", "1'234.50", "١٢"]
    run = applied(
        HEADER + "".join(f"c,points,{cell}\n" for cell in cells) + "c,city,00123\nc,city,'=1+1\n"
    )
    assert problems(run) == [(line, "not_a_number") for line in range(2, 9)]
    assert fields_of("c") == {"city": "=1+1"}
    applied(HEADER + "c,city,00123\n")
    assert fields_of("c") == {"city": "00123"}


def test_customer_ids_are_trimmed_and_keep_their_case_and_zeros():
    applied(HEADER + ' A1 ,city,Bern\na1,city,Chur\n"\u00a0007",city,Zug\nA 1,city,Genf\n')
    assert {c.external_id: c.fields["city"] for c in Customer.objects.all()} == {
        "A1": "Bern",
        "a1": "Chur",
        "007": "Zug",
        "A 1": "Genf",
    }

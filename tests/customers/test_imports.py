"""Files of customers' values, from upload to result."""

import csv
import errno
import gzip
import io
import zipfile

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

HEADER = "customerId,fieldName,fieldValue\n"


@pytest.fixture(autouse=True)
def _fields(make_field):
    for name, kind in (
        ("city", "string"),
        ("points", "number"),
        ("born", "datetime"),
        ("vip", "boolean"),
    ):
        make_field(name, kind)


def upload(text, name="some.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    return imports.create(io.BytesIO(content), name=name, options=options, created_by="Anna")


def checked(text, **options):
    run = upload(text, **options)
    imports.check(run.pk)
    run.refresh_from_db()
    return run


def applied(text, **options):
    run = upload(text, **options)
    imports.apply(run.pk)
    run.refresh_from_db()
    assert run.state == ImportState.DONE
    return run


def counts(run):
    return run.rows_ok, run.rows_failed, run.customers_created, run.customers_updated


def fields_of(customer_id):
    return Customer.objects.get(external_id=customer_id).fields


def problems(run):
    return [(problem.line, problem.code) for problem in ImportProblem.objects.filter(source=run)]


def test_values_reach_new_and_known_customers(make_customer):
    ann = make_customer("ann", fields={"city": "Bern", "vip": True})
    run = applied(HEADER + "ann,city,Basel\nbob,points,1.50\nbob,born,2026-07-01\nann,vip,yes\n")
    assert counts(run) == (4, 0, 1, 1)
    assert fields_of("ann") == {"city": "Basel", "vip": True}
    assert exact(fields_of("bob")) == {"points": "1.50", "born": "2026-06-30T22:00:00Z"}
    assert Identifier.objects.get(value="bob").customer.external_id == "bob"
    assert FieldChange.objects.get(customer=ann).changes == {"city": ["Bern", "Basel"]}
    assert {c.source for c in FieldChange.objects.all()} == {"import “some.csv”"}


def exact(fields):
    return {name: str(value) for name, value in fields.items()}


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


def test_number_and_date_formats_are_chosen_and_not_guessed():
    run = applied(
        "customerId;points;born\nann;1.234,50;01.07.2026 14:30\nbob;1.5;2026-07-01\n",
        numbers="1.234,50",
        dates="dd.mm.yyyy",
    )
    assert exact(fields_of("ann")) == {"points": "1234.50", "born": "2026-07-01T12:30:00Z"}
    assert problems(run) == [(3, "not_a_number")]


@pytest.mark.parametrize(
    ("style", "text", "number"),
    [
        ("1234.5", "-1234.5", "-1234.5"),
        ("1234.5", "1'234", None),
        ("1'234.50", "-1'234'567.89", "-1234567.89"),
        ("1'234.50", "1’234", "1234"),
        ("1'234.50", "12'34", None),
        ("1'234.50", "1,5", None),
        ("1.234,50", "1.234", "1234"),
        ("1.234,50", "0,5", "0.5"),
        ("1.234,50", "1.23", None),
    ],
)
def test_numbers_are_read_in_one_style(style, text, number):
    run = applied(f"customerId;points\nann;{text}\n", numbers=style)
    assert (run.rows_ok == 1) == (number is not None)
    if number:
        assert exact(fields_of("ann")) == {"points": number}


@pytest.mark.parametrize(
    ("style", "text", "at"),
    [
        ("iso", "01.07.2026", None),
        ("dd.mm.yyyy", "1.7.2026", "2026-06-30T22:00:00Z"),
        ("dd.mm.yyyy", "31.02.2026", None),
        ("dd.mm.yyyy", "07/01/2026", None),
        ("dd.mm.yyyy", "2026-07-01T00:00Z", "2026-07-01T00:00:00Z"),
        ("mm/dd/yyyy", "7/1/2026 08:00:01", "2026-07-01T06:00:01Z"),
        ("mm/dd/yyyy", "13/01/2026", None),
    ],
)
def test_dates_are_read_in_one_style_or_iso(style, text, at):
    run = applied(f"customerId;born\nann;{text}\n", dates=style)
    assert (run.rows_ok == 1) == (at is not None)
    if at:
        assert fields_of("ann") == {"born": at}


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


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a,b\n1,2\n", "customerId"),
        ("customerId,fieldName\n", "fieldValue is missing"),
        ("customerId,city,city\n", "both called"),
        ("customerId,,city\n", "Column 2 has no name"),
        ('customerId,"city\n', "never closed"),
        ("customerId," + ",".join(f"c{n}" for n in range(1000)), "1001 columns"),
        (b"\x89PNG\r\n\x1a\n" + b"\0\0\1" * 100, "not a text file"),
        (bytes(range(1, 256)), "not a text file"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 100, "Excel"),
        (gzip.compress(b"customerId\n" * 99, mtime=0)[:20], "damaged"),
        (b"PK\x03\x04nonsense", "damaged"),
    ],
)
def test_file_that_is_no_list_of_customers_is_refused_with_a_reason(content, fault):
    with pytest.raises(imports.FileError, match=fault):
        upload(content)
    assert not Import.objects.exists()


def packed(*names, text="customerId"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, text)
    return file.getvalue()


def test_packed_files_are_unpacked():
    text = HEADER + "ann,city,Bern\n"
    assert applied(gzip.compress(text.encode())).format["packing"] == "gzip"
    assert applied(packed("list.csv", "__MACOSX/._list.csv", text=text)).format["packing"] == "zip"
    assert fields_of("ann") == {"city": "Bern"}


def test_archive_of_several_files_and_workbooks_are_refused():
    with pytest.raises(imports.FileError, match="contains 2 files"):
        upload(packed("a.csv", "b.csv"))
    with pytest.raises(imports.FileError, match="Excel"):
        upload(packed("[Content_Types].xml", "sheet.xml"))


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 with BOM"),
        ("utf-16", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("cp1252", "Windows-1252"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_recognised(encoding, said, end):
    text = (HEADER + "zoé,city,Genève\nzoé,points,x\n").replace("\n", end)
    run = applied(text.encode(encoding))
    assert run.format["encoding"] == said
    assert fields_of("zoé") == {"city": "Genève"}
    assert problems(run) == [(3, "not_a_number")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_recognised(delimiter):
    text = HEADER + 'ann,city,"a,b;c\td|e"\n'
    run = applied(text.replace(",", delimiter).replace(f"a{delimiter}b", "a,b"))
    assert run.format["delimiter"] == delimiter
    assert fields_of("ann") == {"city": "a,b;c\td|e"}


def test_hint_of_excel_for_the_delimiter_is_followed():
    run = applied("sep=;\ncustomerId;city\nann;Bern\nbob\n")
    assert fields_of("ann") == {"city": "Bern"}
    assert problems(run) == [(4, "short_row")]


def test_name_of_the_file_has_no_path():
    assert upload(HEADER, name="../../etc/päss\\wd.csv").file_name == "wd.csv"


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
    erasure.forget_traces(erasure.traces([ann.pk]))
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


@pytest.mark.parametrize(
    ("cells", "numbers", "dates"),
    [
        (["49.90", "7", "2026-01-31"], "1234.5", "iso"),
        (["1'234.50", "49.90", "31.01.2026"], "1'234.50", "dd.mm.yyyy"),
        (["1’234", "1/2/2026", "31/1/2026"], "1'234.50", "dd/mm/yyyy"),
        (["1.234,50", "1/31/2026"], "1.234,50", "mm/dd/yyyy"),
        (["1,234.50", "31-1-2026"], "1,234.50", "dd-mm-yyyy"),
        (["1 234,50", "2026/1/31"], "1 234,50", "yyyy/mm/dd"),
        (["49,90", "+41 44 123 45 67", "1.2.3"], "1.234,50", "iso"),
        (["Anna", ""], "1234.5", "iso"),
    ],
)
def test_styles_are_found_out_by_what_can_be_read(cells, numbers, dates):
    run = upload(
        "customerId|fieldName|fieldValue\n" + "".join(f"c|x|{cell}\n" for cell in cells),
        numbers="auto",
        dates="auto",
    )
    assert (run.options["numbers"], run.options["dates"]) == (numbers, dates)
    assert run.format["detected"] == {"numbers": numbers, "dates": dates}


def test_styles_that_cannot_be_told_apart_are_said():
    run = upload(HEADER + 'c,x,1/2/2026\nc,x,"1,234"\n', numbers="auto", dates="auto")
    assert run.options["dates"] == "dd/mm/yyyy"
    assert run.format["doubts"] == {
        "numbers": ["1,234.50", "1 234,50"],
        "dates": ["mm/dd/yyyy"],
    }


def test_styles_are_never_found_out_unless_that_is_asked_for():
    run = applied(HEADER + 'c,points,"1,5"\n')
    assert run.rows_failed == 1
    assert run.format["detected"]["numbers"] == "1.234,50"


@pytest.mark.parametrize(
    ("cell", "at"),
    [("46053", "2026-01-30T23:00:00Z"), ("46053.5", "2026-01-31T11:00:00Z"), ("x", None)],
)
def test_days_of_excel_are_read_where_they_are_chosen(cell, at):
    applied(HEADER + f"c,city,Bern\nc,born,{cell}\n", dates="excel")
    assert fields_of("c").get("born") == at


@pytest.mark.parametrize(
    ("codec", "said"),
    [("mac-roman", "Mac Roman"), ("cp1252", "Windows-1252"), ("utf-8", "UTF-8")],
)
def test_letters_tell_mac_from_windows(codec, said):
    run = applied((HEADER + "c,city,Genève, Zürich und Köln\n".replace(", ", " ")).encode(codec))
    assert run.format["encoding"] == said
    assert fields_of("c") == {"city": "Genève Zürich und Köln"}


def test_encoding_is_chosen():
    run = applied((HEADER + "c,city,Zürich\n").encode("cp850"), encoding="cp850")
    assert run.format["encoding"] == "DOS (code page 850)"
    assert fields_of("c") == {"city": "Zürich"}


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("1'234.50", "number"),
        ("31.01.2026", "datetime"),
        ("yes", "boolean"),
        ("Anna", "string"),
        ("0041441234567", "string"),
        ("8001", "number"),
        ("00123", "string"),
    ],
)
def test_type_of_an_unknown_field_is_guessed(cell, kind):
    run = checked(
        f"customerId;new\nc;{cell}\n", numbers="1'234.50", dates="dd.mm.yyyy", delimiter=";"
    )
    assert run.summary["unknown_fields"]["new"]["type"] == kind


def test_numbers_with_leading_zeros_are_no_broken_json():
    run = applied(HEADER + "c,points,007\n", numbers="1'234.50")
    assert (run.rows_failed, exact(fields_of("c"))) == (0, {"points": "7"})


def test_wide_file_of_a_thousand_columns_is_read_and_of_ten_thousand_refused():
    columns = ";".join(["customerId", "points", *(f"x{n}" for n in range(998))])
    run = applied(columns + "\nc" + ";7" * 999 + "\n")
    assert fields_of("c") == {"points": 7}
    assert len(run.summary["unknown_fields"]) == 100
    with pytest.raises(imports.FileError, match="10001 columns; 1000 are allowed"):
        upload("customerId," + ",".join(f"x{n}" for n in range(10_000)) + "\n")


def test_file_with_nothing_but_a_header_changes_nothing():
    run = applied(HEADER)
    assert counts(run) == (0, 0, 0, 0)
    assert not imports.is_undoable(run)


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


def test_line_ends_may_be_mixed():
    run = applied(b"customerId,fieldName,fieldValue\rc,city,Bern\r\nd,city,Chur\ne,city,Zug\r")
    assert counts(run) == (3, 0, 3, 0)


def test_file_without_a_single_line_end_costs_no_memory():
    with pytest.raises(imports.FileError):
        upload(b"x" * (5 << 20))
    run = applied(HEADER.encode() + b"c,city," + b"x" * (5 << 20))
    assert problems(run) == [(2, "line_too_long")]
    assert len(ImportProblem.objects.get().row[0]) == 1_000

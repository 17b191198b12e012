"""What files are read, and how: packing, characters, separators, styles of numbers and dates."""

import gzip
import io
import zipfile

import pytest

from customers import imports
from customers.models import (
    Import,
    ImportProblem,
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


def packed(*names, text="customerId"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, text)
    return file.getvalue()


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


def test_line_ends_may_be_mixed():
    run = applied(b"customerId,fieldName,fieldValue\rc,city,Bern\r\nd,city,Chur\ne,city,Zug\r")
    assert counts(run) == (3, 0, 3, 0)


def test_file_without_a_single_line_end_costs_no_memory():
    with pytest.raises(imports.FileError):
        upload(b"x" * (5 << 20))
    run = applied(HEADER.encode() + b"c,city," + b"x" * (5 << 20))
    assert problems(run) == [(2, "line_too_long")]
    assert len(ImportProblem.objects.get().row[0]) == 1_000

"""Files as they come from programs, people and enemies: read, or refused with what to do."""

import gzip
import io
import zipfile

import pytest

from customers import imports
from customers.imports import uploads
from customers.models import Customer, Import

TABLE = "customerId,city\nann,Genève\nbob,Zürich\n"


@pytest.fixture(autouse=True)
def _fields(make_field):
    make_field("city")
    make_field("points", "number")
    make_field("born", "datetime")


def checked(content, **options):
    content = content if isinstance(content, bytes) else content.encode()
    run = imports.create(io.BytesIO(content), name="some.csv", options=options)
    imports.check(run.pk)
    run.refresh_from_db()
    return run


def zipped(**files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


PACKED = gzip.compress(TABLE.encode(), mtime=0)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (zipped(inner=zipped(table=TABLE)), "packed once more"),
        (zipped(inner=PACKED), "packed once more"),
        (gzip.compress(PACKED, mtime=0), "packed once more"),
        (PACKED + b"and more", "Pack it again"),
        (PACKED[:-9], "Pack it again"),
        (zipped(table=TABLE)[:-9], "Pack it again"),
        (zipped(), "zip file is empty"),
        (zipped(mimetype="x", content="x"), "LibreOffice"),
        (b"%PDF-1.7\n", "PDF"),
        (b"Rar!\x1a\x07\0", "RAR"),
        (b"\xef\xbb\xbf<!DOCTYPE html><p>Log in</p>", "web page"),
        (TABLE.encode("utf-32"), "UTF-32"),
        (TABLE.encode("utf-32-le"), "UTF-32"),
        (TABLE.encode("utf-32-be"), "UTF-32"),
        (b"\0" * 1000, "not a text file"),
        ('[{"customerId": "ann"}]', "JSON"),
        ("Export of Monday\n\ncustomerId;city\nann;Bern\n", "in line 3"),
        ("customerId," + ",".join(f"c{n}" for n in range(10_000)), "10001 columns"),
        ("customerId,city,city\n", "Rename one"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(content, advice):
    with pytest.raises(imports.FileError, match=advice):
        checked(content)
    assert not Import.objects.exists()


def test_file_that_unpacks_to_far_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(uploads, "FREE_BYTES", 1 << 20)
    with pytest.raises(imports.FileError, match="more than 200 times"):
        checked(gzip.compress(b"customerId,city\n" + b"ann,Bern\n" * 1_000_000))


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf"customerId","city"\r\n"ann","Bern"\r\n',
        b'"\xef\xbb\xbfcustomerId";"city"\n"ann";"Bern"\n',
        b"\xef\xbb\xbf\xef\xbb\xbfcustomerId,city\nann,Bern\n",
        "\u200bcustomerId,city\u00a0\nann,Bern\n",
        b"\xef\xbb\xbfsep=;\r\ncustomerId;city\r\nann;Bern\r\n",
        b'"sep=;"\r\ncustomerId;city\r\nann;Bern\r\n',
        "sep=\t\r\ncustomerId\tcity\r\nann\tBern\r\n".encode("utf-16"),
        b"customerId,city,,\n\n,,,\nann,Bern,,,,\n  \n",
        'customerId;city\n="ann";="Bern"\n',
        gzip.compress(b"customerId,city\n") + gzip.compress(b"ann,Bern\n") + b"\0" * 100,
    ],
)
def test_what_programs_write_is_read(content):
    run = checked(content)
    imports.apply(run.pk)
    assert [(one.external_id, one.fields) for one in Customer.objects.all()] == [
        ("ann", {"city": "Bern"})
    ]


def test_lines_in_another_encoding_are_problems_of_their_own():
    lines = [
        b"customerId,city",
        "ann,Genève à côté".encode(),
        "bob,Zürich".encode("cp1252"),
        b"cleo,\0",
    ]
    run = checked(b"\n".join(lines))
    assert [(each["code"], each["lines"]) for each in run.summary["errors"]] == [
        ("bad_encoding", [3]),
        ("nul_character", [4]),
    ]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("ann;;CHF 12.50;", "leave currencies and units out"),
        ("ann;;12%;", "leave currencies and units out"),
        ("ann;;;45123", "Excel’s number of a day"),
        ("ann;;;31.01.26", "four digits"),
    ],
)
def test_reasons_say_what_a_table_should_hold(line, advice):
    run = checked(f"customerId;city;points;born\n{line}\n")
    assert advice in run.summary["errors"][0]["message"]


@pytest.mark.parametrize(
    ("cell", "style", "number"),
    [
        ("\u22125.50", "1234.5", "-5.50"),
        ("\u22121\u202f234,5", "1 234,50", "-1234.5"),
        ("1\u00a0234,5", "1 234,50", "1234.5"),
        ("1’234.5", "1'234.50", "1234.5"),
    ],
)
def test_numbers_of_typesetters_are_read(cell, style, number):
    run = checked(f"customerId;points\nann;{cell}\n", numbers="auto")
    assert run.options["numbers"] == style
    imports.apply(run.pk)
    assert str(Customer.objects.get().fields["points"]) == number


def test_customer_ids_that_a_spreadsheet_has_rounded_are_warned_of():
    run = checked("customerId;city\n1.23E+15;Bern\n1,23457E+12;Chur\n2e5;Genf\n")
    assert run.summary["warnings"] == {"rounded": {"count": 2}}
    assert run.rows_ok == 3


def test_quotes_that_are_never_closed_cost_no_line_but_their_own():
    lines = [f'c{n},"{n}' if n % 50 == 0 else f"c{n},{n}" for n in range(5_000)]
    run = checked("customerId,city\n" + "\n".join(lines))
    assert (run.rows_ok, run.rows_failed) == (4_900, 100)

"""Cells of a file mean what the same text means over the API."""

import csv
import gc
import io

from hypothesis import example, given
from hypothesis import strategies as st

from customers import exact, fields
from customers.fields import FieldValueError
from customers.imports import layouts
from customers.imports.cells import Reader
from customers.imports.columns import escaped, unescaped
from customers.imports.layouts import Layout
from customers.imports.options import CustomerOptions, boolean_reader
from customers.imports.records import Chunk, Header, read_chunk
from customers.imports.runs import Runs
from customers.models import CustomerField, FieldType

CELLS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30),
    st.from_regex(r"[ '+-]?[0-9]{1,3}[.,'0-9e ]{0,8}", fullmatch=True),
    st.from_regex(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:07)?)?(Z|.0Z)?"),
    st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
    st.sampled_from(
        ["true", "FALSE", "yes", "1", "\\", '"', "'", "'=", "e\u0301", "ỹ", "ŉ", "É\u0327"]
    ),
)


def said(batch):
    closed = batch.customers.closed().items()
    return {customer_id: shape.values(cells) for customer_id, (shape, cells) in closed}


def through_a_file(kind, cell):
    field = CustomerField(name="it", type=kind)
    reader = Reader(Layout(0, None, None, {1: "it"}), CustomerOptions(), {"it": field})
    batch = reader.read(Chunk([(2, ["ann", cell])]))
    if batch.problems:
        return batch.problems[0].code
    value = said(batch)["ann"].get("it")
    return value and exact.loads(value)


def test_what_was_refused_is_let_go_of():
    """A refusal that is its own cause would keep the whole chunk until garbage is collected."""
    gc.collect()
    gc.disable()
    try:
        assert through_a_file("number", "oops") == "not_a_number"
        assert not [each for each in gc.get_objects() if type(each) is FieldValueError]
    finally:
        gc.enable()


def over_the_api(kind, text):
    try:
        value = fields.parse_value(CustomerField(name="it", type=kind), text)
    except FieldValueError as error:
        return error.code
    return value if value is None else exact.loads(exact.dumps(value))


@given(st.sampled_from(FieldType.values), CELLS)
@example("boolean", "x")
@example("boolean", "Nein")
def test_cell_means_what_the_text_means_over_the_api(kind, cell):
    text = unescaped(cell.strip(fields.SPACES))
    if kind == "boolean":  # tables say it in the languages of the country
        text = boolean_reader()(text)
    assert through_a_file(kind, cell) == over_the_api(kind, text)


@given(CELLS)
def test_escaped_cell_means_what_it_did(cell):
    assert unescaped(escaped(cell)) == unescaped(cell)


def test_columns_are_read_by_their_name_alone():
    known = {"it": CustomerField(name="it", type="number")}
    reader = Reader(Layout(0, 1, 2, {}), CustomerOptions(), known)
    rows = [(2, ["ann", " it ", "1"]), (3, ["ann", "'=it", "1"]), (4, ["ann", "IT", "1"])]
    batch = reader.read(Chunk(rows))
    assert said(batch) == {"ann": {"it": "1"}}
    assert [(p.line, p.code, p.about) for p in batch.problems] == [
        (3, "unknown_field", "=it"),
        (4, "unknown_field", "IT"),
    ]
    assert 'Did you mean "it"?' in batch.problems[1].message


LINES = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(["C1", "7", "a@b.ch", "Test", "0", "00", "-1", " C2", "nil", "C0"]),
            st.from_regex(r"[A-Za-z0-9_.:@-]{1,8}", fullmatch=True),
        ),
        st.sampled_from(["text", "number", "time", "flag", "Text", "nope", "mapped", " text"]),
        st.one_of(CELLS, st.sampled_from(["", "Anna", "1.50", "1980-05-01", "31.12.1999", "no"])),
    ),
    max_size=12,
)
FIELDS = {
    name: CustomerField(name=name, type=kind)
    for name, kind in zip(["text", "number", "time", "flag"], FieldType.values, strict=True)
}
OPTIONS = st.builds(
    CustomerOptions,
    numbers=st.sampled_from(["1234.5", "1'234.50"]),
    dates=st.sampled_from(["iso", "dd.mm.yyyy"]),
    empty=st.sampled_from(["leave", "clear"]),
    fields=st.just({"mapped": "text"}),
)


def read(lines, columns, options, delimiter, *, by_runs):
    """What a chunk of these lines says, with runs or cell by cell."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(lines)
    layout = layouts.find(columns)
    runs = Runs(columns, delimiter, layout, options, FIELDS)
    header = Header(columns, delimiter, 0, 1)
    pattern = runs.pattern if by_runs else None
    content = io.BytesIO(file.getvalue().replace("\r", " ").encode())
    chunk = read_chunk(content, header, 0, 1, 1 << 20, pattern)
    spread = chunk.without_runs(delimiter)
    batch = Reader(layout, options, FIELDS, runs=runs if by_runs else None).read(chunk)
    problems = [(p.line, p.code, p.message, [*p.cells], p.about) for p in batch.problems]
    result = (said(batch), problems, batch.lines, batch.repeated, +batch.unknown)
    return result, spread.records


@given(LINES, OPTIONS, st.sampled_from(",;|"))
def test_runs_of_lines_mean_what_their_cells_do(lines, options, delimiter):
    columns = ["customerId", "fieldName", "fieldValue"]
    assert read(lines, columns, options, delimiter, by_runs=True) == read(
        lines, columns, options, delimiter, by_runs=False
    )


@given(LINES, OPTIONS, st.sampled_from(",;|"))
def test_runs_of_lines_mean_what_their_cells_do_in_a_wide_file(lines, options, delimiter):
    columns = ["text", "number", "customerId", "flag", "nope"]
    rows = [
        (value, number, who, flag, name)
        for (who, name, value), (_, _, number), (_, _, flag) in zip(
            lines, lines[::-1], lines[1:] + lines[:1], strict=True
        )
    ]
    assert read(rows, columns, options, delimiter, by_runs=True) == read(
        rows, columns, options, delimiter, by_runs=False
    )


def test_most_lines_are_read_in_runs():
    columns = ["customerId", "fieldName", "fieldValue"]
    options = CustomerOptions()
    runs = Runs(columns, ",", layouts.find(columns), options, FIELDS)
    text = 'C1,text,Zoë Müller\n7,number,1.50\nC1,time,1980-05-01\n"C2","flag",yes\n'
    file = io.BytesIO((text + "C3,number,oops\n" + text).encode())
    chunk = read_chunk(file, Header(columns, ",", 0, 1), 0, 1, 1 << 20, runs.pattern)
    assert [(run.before, run.line, run.text) for run in chunk.runs] == [(0, 1, text), (1, 6, text)]
    assert chunk.records == [(5, ["C3", "number", "oops"])]


def test_wrong_date_is_refused_in_the_words_of_the_file():
    field = CustomerField(name="it", type="datetime")
    options = CustomerOptions(dates="dd.mm.yyyy")
    reader = Reader(Layout(0, None, None, {1: "it"}), options, {"it": field})
    (problem,) = reader.read(Chunk([(2, ["ann", "31.02.2026"])])).problems
    assert problem.message == "it: “31.02.2026” is not a date like dd.mm.yyyy."

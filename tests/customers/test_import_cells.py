"""Cells of a file mean what the same text means over the API."""

from hypothesis import given
from hypothesis import strategies as st

from customers import exact, fields
from customers.fields import FieldValueError
from customers.imports.cells import Layout, Reader
from customers.imports.columns import escaped, unescaped
from customers.imports.options import CustomerOptions
from customers.imports.records import Chunk
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


def through_a_file(kind, cell):
    field = CustomerField(name="it", type=kind)
    reader = Reader(Layout(0, None, None, {1: "it"}), CustomerOptions(), {"it": field})
    batch = reader.read(Chunk([(2, ["ann", cell])]))
    if batch.problems:
        return batch.problems[0].code
    value = batch.customers["ann"].get("it")
    return value and exact.loads(value)


def over_the_api(kind, text):
    try:
        value = fields.parse_value(CustomerField(name="it", type=kind), text)
    except FieldValueError as error:
        return error.code
    return value if value is None else exact.loads(exact.dumps(value))


@given(st.sampled_from(FieldType.values), CELLS)
def test_cell_means_what_the_text_means_over_the_api(kind, cell):
    assert through_a_file(kind, cell) == over_the_api(kind, unescaped(cell.strip(fields.SPACES)))


@given(CELLS)
def test_escaped_cell_means_what_it_did(cell):
    assert unescaped(escaped(cell)) == unescaped(cell)


def test_columns_are_read_by_their_name_alone():
    known = {"it": CustomerField(name="it", type="number")}
    reader = Reader(Layout(0, 1, 2, {}), CustomerOptions(), known)
    rows = [(2, ["ann", " it ", "1"]), (3, ["ann", "'=it", "1"]), (4, ["ann", "IT", "1"])]
    batch = reader.read(Chunk(rows))
    assert batch.customers == {"ann": {"it": "1"}}
    assert [(p.line, p.code, p.about) for p in batch.problems] == [
        (3, "unknown_field", "=it"),
        (4, "unknown_field", "IT"),
    ]
    assert 'Did you mean "it"?' in batch.problems[1].message

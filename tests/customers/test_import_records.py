"""Damaged files: each record has its verdict, and none hides another."""

import io

import pytest

from customers.imports import records
from customers.imports.records import Header

HEADER = Header(["a", "b", "c"], ",", 0, 1)


def read(text, size=records.CHUNK_BYTES, header=HEADER):
    """All records and problems of a file, read in chunks of about so many bytes."""
    content = text if isinstance(text, bytes) else text.encode()
    file, offset, line = io.BytesIO(content), 0, 1
    found, problems = [], []
    while True:
        chunk = records.read_chunk(file, header, offset, line, size)
        found += chunk.records
        problems += [(problem.line, problem.code) for problem in chunk.problems]
        assert chunk.next_offset > offset or chunk.is_last
        offset, line = chunk.next_offset, chunk.next_line
        if chunk.is_last:
            assert offset == len(content)
            return found, problems


def lines(found):
    return [line for line, _ in found]


SIZES = pytest.mark.parametrize("size", [1, 7, 16, 100, records.CHUNK_BYTES])


@SIZES
def test_records_are_the_same_however_the_file_is_cut(size):
    text = '1,2,3\n"4",é,"6 ""x"""\n\n7,"8\n8\n",9\n,,\n1,2\n1,2,3,4\n1,2,3,,\n"1"x,2,3\nend,",",'
    found, problems = read(text, size)
    assert found == [
        (1, ["1", "2", "3"]),
        (2, ["4", "é", '6 "x"']),
        (4, ["7", "8\n8\n", "9"]),
        (7, ["", "", ""]),
        (10, ["1", "2", "3"]),
        (12, ["end", ",", ""]),
    ]
    assert problems == [(8, "short_row"), (9, "long_row"), (11, "bad_quote")]


@SIZES
def test_quote_that_is_never_closed_costs_its_own_line_only(size):
    found, problems = read('1,2,3\n4,"5,6\n7,8,9\n1,2,3', size)
    assert problems == [(2, "unclosed_quote")]
    assert lines(found) == [1, 3, 4]


def test_unclosed_quote_far_from_the_end_swallows_nothing():
    text = '1,"2,3\n' + "4,5,6\n" * 5_000
    found, problems = read(text, 4_096)
    assert problems == [(1, "unclosed_quote")]
    assert lines(found) == [*range(2, 5_002)]


def test_unclosed_quote_meets_the_next_quote_and_only_damaged_lines_are_lost():
    found, problems = read('1,"2,3\n4,5,6\n7,"8",9\n1,2,3\n')
    assert problems == [(1, "bad_quote")]
    assert lines(found) == [2, 3, 4]


def test_every_line_with_an_unclosed_quote_is_a_problem_and_takes_no_longer():
    found, problems = read('a,"b,c\n' * 20_001 + "1,2,3\n")
    assert found == [(20_002, ["1", "2", "3"])]
    assert problems[-2:] == [(20_000, "bad_quote"), (20_001, "unclosed_quote")]
    assert len(problems) == 20_001


def test_quote_within_a_text_is_just_a_quote():
    found, problems = read('1,5" screen,3\n1, "x" ,3\n')
    assert [cells[1] for _, cells in found] == ['5" screen', ' "x" ']
    assert problems == []


@SIZES
def test_nul_and_unreadable_bytes_are_problems_of_their_line(size):
    found, problems = read(b'1,2,3\n1,\0,3\n1,\xff,3\n1,"\xff\n",3\n1,\xc3\xa9,3\n', size)
    assert problems == [(2, "nul_character"), (3, "bad_encoding"), (4, "bad_encoding")]
    assert found == [(1, ["1", "2", "3"]), (6, ["1", "é", "3"])]


def test_large_cells_are_read_and_huge_lines_are_problems():
    huge = "x" * (3 << 20)
    found, problems = read(f"1,{'x' * 200_000},3\n1,{huge},3\n4,5,6\n{huge}")
    assert lines(found) == [1, 3]
    assert problems == [(2, "line_too_long"), (4, "line_too_long")]


def test_cells_of_a_problem_are_those_of_the_line():
    chunk = records.read_chunk(io.BytesIO(b'1,"x"\n1,"2,3\n'), HEADER, 0, 1)
    assert [(p.cells, p.message) for p in chunk.problems] == [
        (["1", "x"], "The line has 2 cells, the header 3."),
        (['1,"2,3'], "A quote is opened and never closed."),
    ]

"""Arrays written by us are read by PostgreSQL as what they were."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from customers import arrays

pytestmark = pytest.mark.django_db
AGAIN = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Not the two things that no text column can hold.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def read(array, type_):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{type_}[]", [array])
        return cursor.fetchone()[0]


@AGAIN
@given(st.lists(TEXT | st.none() | st.sampled_from(["NULL", "null", "", "{}", "a,b", '\\"', " "])))
def test_texts(values):
    assert read(arrays.of_texts(values), "text") == values


def test_numbers():
    values = [1, -(2**63), None, 2**63 - 1]
    assert read(arrays.of_numbers(values), "bigint") == values


def test_times():
    noon = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    values = [noon, None, noon + timedelta(microseconds=1)]
    assert read(arrays.of_times(values), "timestamptz") == values

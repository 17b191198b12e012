"""Chunks of imports that are too slow for the queue become smaller."""

import pytest

from customers import imports
from customers.imports import pace, records, reports, running
from customers.models import ImportState
from tests.customers.uploading import upload

LINES = "customerId\n" + "".join(f"c{number:06}\n" for number in range(1_000))


@pytest.fixture
def run(db, monkeypatch):
    monkeypatch.setattr(pace, "LEAST", 200)
    monkeypatch.setattr(records, "CHUNK_BYTES", 3_200)
    return upload(LINES)


def killed(*args):
    raise SystemExit  # as the queue ends a task that takes too long


def test_chunk_that_its_task_does_not_survive_is_tried_in_quarters(run, monkeypatch):
    imports.start_apply(run.pk)
    sizes = []
    with monkeypatch.context() as patch:
        patch.setattr(reports, "add", killed)
        for _ in range(4):
            with pytest.raises(SystemExit):
                imports.apply(run.pk)
            run.refresh_from_db()
            sizes.append(pace.size(run, records.CHUNK_BYTES))
    assert sizes == [3_200, 800, 200, 200]
    imports.apply(run.pk)
    run.refresh_from_db()
    assert (run.state, run.rows_ok, run.customers_created) == (ImportState.DONE, 1_000, 1_000)


def test_slow_chunks_are_halved_and_quick_ones_grow_again(run, monkeypatch):
    monkeypatch.setattr(running, "SLICE", -1)
    imports.start_apply(run.pk)
    seen = []
    for slow, quick in ((-1, -2), (-1, -2), (99, 98), (99, 98), (99, 98)):
        monkeypatch.setattr(pace, "SLOW", slow)
        monkeypatch.setattr(pace, "QUICK", quick)
        imports.apply(run.pk)
        run.refresh_from_db()
        seen.append(pace.size(run, records.CHUNK_BYTES))
    assert seen == [1_600, 800, 1_600, 3_200, 3_200]

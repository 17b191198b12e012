"""Files that are read again in other characters, by the queue, a piece at a time."""

import pytest
from django.core.files.storage import default_storage

from customers import imports
from customers.imports import erasing, recoding, running
from customers.imports.options import CustomerOptions
from customers.models import Import, ImportState
from tests.customers.uploading import checked

LINES = "".join(f"c{number};Zürich {number};Genève\n" for number in range(40))


@pytest.fixture
def run(db, make_field, monkeypatch, settings, tmp_path):
    """A file in code page 850, checked as what it seemed to be, to be rewritten in small pieces."""
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(recoding, "PIECE", 200)
    make_field("city")
    make_field("town")
    return checked(("customerId;city;town\n" + LINES).encode("cp850"), encoding="cp1252")


def read_again(run, encoding):
    imports.start_check_again(run.pk, {**run.options, "encoding": encoding})
    run.refresh_from_db()


def steps(run, count, monkeypatch):
    """Let a task take so many steps."""
    with monkeypatch.context() as patch:
        patch.setattr(running, "SLICE", -1)  # every task ends behind its first step
        for _ in range(count):
            imports.check(run.pk)
    run.refresh_from_db()


def files():
    return default_storage.listdir("imports")[1]


def test_file_is_rewritten_piece_by_piece_and_then_checked(
    run, monkeypatch, django_capture_on_commit_callbacks
):
    read_again(run, "cp850")
    assert (run.state, run.format["encoding"]) == (ImportState.CHECKING, "DOS (code page 850)")
    steps(run, 2, monkeypatch)
    assert 0 < run.progress < 1
    imports.stop(run.pk)
    imports.resume(run.pk)
    with django_capture_on_commit_callbacks(execute=True):
        imports.check(run.pk)
    run.refresh_from_db()
    assert (run.state, run.rows_ok) == (ImportState.CHECKED, 40)
    assert run.summary["fields"]["city"]["example"] == "Zürich 0"
    with default_storage.open(run.file.name, "rb") as file:
        assert file.read().decode() == "customerId;city;town\n" + LINES
    assert "recoding" not in run.format
    assert len(files()) == 1


def test_what_a_failed_step_has_written_is_written_anew(run, monkeypatch):
    read_again(run, "cp850")
    steps(run, 2, monkeypatch)
    with default_storage.open(run.format["recoding"]["file"], "ab") as file:
        file.write(b"half a li" * 100)
    imports.check(run.pk)
    run.refresh_from_db()
    with default_storage.open(run.file.name, "rb") as file:
        assert file.read().decode() == "customerId;city;town\n" + LINES


def test_who_is_erased_meanwhile_is_in_neither_file(run, monkeypatch):
    read_again(run, "cp850")
    steps(run, 3, monkeypatch)
    assert erasing.forget({"c0": 7}, []) == {7: 1}
    for name in files():
        with default_storage.open(f"imports/{name}", "rb") as file:
            assert b"c0;" not in file.read()
    imports.check(run.pk)
    run.refresh_from_db()
    assert (run.state, run.rows_ok) == (ImportState.CHECKED, 39)


def test_another_separator_needs_no_rewriting(run):
    read_again(run, "cp1252")
    before = run.file.name
    imports.check(run.pk)
    run.refresh_from_db()
    assert run.file.name == before
    assert CustomerOptions.read(run.options).encoding == "cp1252"


def test_half_a_file_is_removed_with_its_import(
    run, monkeypatch, django_capture_on_commit_callbacks
):
    read_again(run, "cp850")
    steps(run, 2, monkeypatch)
    assert len(files()) == 2
    with django_capture_on_commit_callbacks(execute=True):
        imports.discard(run.pk)
    assert files() == []
    assert not Import.objects.exists()

"""Imports that are cut short, stopped, or fail."""

import io

import psycopg
import pytest
from django.db import OperationalError, connection
from django_q.models import OrmQ

from customers import imports
from customers.imports import records, running, sql, values
from customers.models import Customer, FieldChange, ImportState

HEADER = "customerId,fieldName,fieldValue\n"
LINES = "".join(f"c{n},{field},{n}\n" for n in range(20) for field in ("city", "points", "nope"))


@pytest.fixture(autouse=True)
def _fields(make_field):
    make_field("city")
    make_field("points", "number")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 100)


def upload(text=HEADER + LINES, **options):
    return imports.create(io.BytesIO(text.encode()), name="some.csv", options=options)


def result(run):
    run.refresh_from_db()
    return (
        run.state,
        (run.rows_ok, run.rows_failed, run.customers_created, run.customers_updated),
        run.lines_done,
        {c.external_id: dict(c.fields) for c in Customer.objects.all()},
        [*run.problems.order_by("line").values_list("line", "code")],
        FieldChange.objects.count() > 0,
    )


WHOLE = (
    ImportState.DONE,
    (40, 20, 20, 0),
    61,
    {f"c{n}": {"city": f"{n}", "points": n} for n in range(20)},
    [(line, "unknown_field") for line in range(4, 62, 3)],
    True,
)


class Killed(BaseException):
    """As when the process dies: nobody catches it."""


def run_queue():
    """Work off the tasks of the queue as its workers would; return how many there were."""
    works = {"customers.imports.check": imports.check, "customers.imports.apply": imports.apply}
    count = 0
    while task := OrmQ.objects.order_by("id").first():
        task.delete()
        works[task.func()](*task.task["args"])
        count += 1
    return count


@pytest.mark.parametrize("dying", [1, 2, 5])
def test_import_goes_on_behind_the_last_chunk_committed(monkeypatch, dying):
    run = upload()
    calls = []

    def apply(run):
        work = values.apply(run)

        def handle(chunk, said):
            tally = work.handle(chunk, said)
            calls.append(chunk.next_offset)
            if len(calls) == dying:
                raise Killed
            return tally

        return work._replace(handle=handle)

    with pytest.raises(Killed):
        running.work(run.pk, running.APPLY, apply)
    run.refresh_from_db()
    assert run.offset == [run.format["offset"], *calls][-2]
    imports.apply(run.pk)
    assert result(run) == WHOLE


def test_chunks_make_no_difference_to_the_result(monkeypatch):
    run = upload()
    imports.apply(run.pk)
    assert result(run) == WHOLE


def test_task_leaves_the_rest_to_another_when_its_time_is_over(monkeypatch):
    monkeypatch.setattr(running, "SLICE", 0)
    run = upload()
    imports.start_apply(run.pk)
    progress = []
    while task := OrmQ.objects.first():
        task.delete()
        imports.apply(*task.task["args"])
        run.refresh_from_db()
        progress.append(run.progress)
    assert len(progress) > 5
    assert progress == sorted(set(progress))
    assert result(run) == WHOLE


def test_rest_is_queued_once_the_import_is_let_go_of(monkeypatch):
    monkeypatch.setattr(running, "SLICE", 0)
    held = []

    def enqueue(run, phase):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND classid = %s",
                [sql.IMPORTS],
            )
            held.append(cursor.fetchone()[0])

    monkeypatch.setattr(running, "enqueue", enqueue)
    imports.apply(upload().pk)
    assert held == [0]


def test_import_whose_worker_was_killed_is_given_to_another(monkeypatch):
    monkeypatch.setattr(running, "SLICE", 0)
    run = upload()
    imports.start_apply(run.pk)
    OrmQ.objects.all().delete()  # a worker has it
    imports.wake_idle()
    assert not OrmQ.objects.exists(), "it stands here for the first time"
    imports.apply(run.pk)
    OrmQ.objects.all().delete()
    imports.wake_idle()
    assert not OrmQ.objects.exists(), "it has moved"
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_lock(%s, %s::int)", [sql.IMPORTS, run.pk])
        imports.wake_idle()
        imports.wake_idle()
        assert not OrmQ.objects.exists(), "somebody works on it"
        other.execute("SELECT pg_advisory_unlock_all()")
    imports.wake_idle()
    imports.wake_idle()
    imports.wake_idle()
    assert OrmQ.objects.count() == 1
    run_queue()
    assert result(run) == WHOLE
    imports.wake_idle()
    assert not OrmQ.objects.exists()


def test_stopped_import_goes_on_when_resumed(monkeypatch):
    monkeypatch.setattr(running, "SLICE", 0)
    run = upload()
    imports.start_apply(run.pk)
    OrmQ.objects.all().delete()
    imports.apply(run.pk)
    imports.stop(run.pk)
    created = Customer.objects.count()
    run_queue()
    run.refresh_from_db()
    assert (run.state, Customer.objects.count()) == (ImportState.STOPPED, created)
    imports.resume(run.pk)
    run_queue()
    assert result(run) == WHOLE


def test_stopped_check_goes_on_as_a_check(monkeypatch):
    monkeypatch.setattr(running, "SLICE", 0)
    run = upload()
    imports.start_check(run.pk)
    imports.stop(run.pk)
    imports.resume(run.pk)
    run_queue()
    run.refresh_from_db()
    assert (run.state, run.rows_total) == (ImportState.CHECKED, 60)
    assert run.summary["customers"] == {"new": {"count": 20}}


def test_deadlock_is_tried_again(monkeypatch):
    monkeypatch.setattr(running.time, "sleep", lambda seconds: None)
    run = upload()
    troubles = [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure]

    def apply(run):
        if troubles:
            raise OperationalError from troubles.pop()()
        return values.apply(run)

    running.work(run.pk, running.APPLY, apply)
    assert result(run) == WHOLE


def test_loss_of_the_database_is_left_to_the_next_task():
    run = upload()

    def apply(run):
        raise OperationalError("the connection is lost")

    with pytest.raises(OperationalError):
        running.work(run.pk, running.APPLY, apply)
    imports.apply(run.pk)
    assert result(run) == WHOLE


def test_failure_is_said_and_can_be_tried_again(caplog):
    run = upload()
    running.work(run.pk, running.APPLY, lambda run: 1 / 0)
    run.refresh_from_db()
    assert run.state == ImportState.FAILED
    assert "unforeseen" in run.error
    assert "ZeroDivisionError" in caplog.text
    imports.resume(run.pk)
    run_queue()
    assert result(run) == WHOLE


def test_finished_import_is_not_done_again():
    run = upload()
    imports.apply(run.pk)
    imports.apply(run.pk)
    imports.check(run.pk)
    assert result(run) == WHOLE
    for act in (imports.stop, imports.resume, imports.start_apply, imports.start_check):
        with pytest.raises(imports.StateError):
            act(run.pk)


def test_task_of_a_discarded_import_ends():
    run = upload()
    imports.start_apply(run.pk)
    imports.discard(run.pk)
    assert run_queue() == 1


def test_repetitions_are_counted_across_chunks():
    run = upload(HEADER + "ann,city,1\n" * 30)
    imports.apply(run.pk)
    run.refresh_from_db()
    assert run.summary["warnings"] == {"repeated": {"count": 29}}
    assert (run.customers_created, run.customers_updated) == (1, 0)


def test_customer_is_counted_as_updated_once(make_customer):
    make_customer("ann")
    run = upload(HEADER + "".join(f"ann,points,{n}\n" for n in range(30)))
    imports.apply(run.pk)
    run.refresh_from_db()
    assert (run.customers_created, run.customers_updated) == (0, 1)


def test_number_of_queries_does_not_depend_on_the_number_of_lines(
    monkeypatch, django_assert_max_num_queries
):
    monkeypatch.setattr(records, "CHUNK_BYTES", 1 << 20)

    def count(lines):
        run = upload(HEADER + "".join(f"c{n},city,{lines}\nd{n},x,1\n" for n in range(lines)))
        with django_assert_max_num_queries(44) as queries:
            imports.apply(run.pk)
        return len(queries)

    count(1)
    assert count(10) == count(500)


def test_only_some_problems_are_kept_but_all_are_counted(monkeypatch):
    monkeypatch.setattr("customers.imports.reports.KEPT_PROBLEMS", 10)
    run = upload(HEADER + "".join(f"c{n},points,x\n" for n in range(50)))
    imports.apply(run.pk)
    run.refresh_from_db()
    assert (run.rows_failed, run.problems.count()) == (50, 10)
    (error,) = run.summary["errors"]
    assert (error["count"], error["lines"]) == (50, [2, 3, 4, 5, 6])


def test_reasons_are_grouped_up_to_a_limit():
    run = upload(HEADER + "".join(f"c,x{n},1\n" for n in range(300)))
    imports.check(run.pk)
    run.refresh_from_db()
    assert len(run.summary["errors"]) <= 101
    assert sum(error["count"] for error in run.summary["errors"]) == 300

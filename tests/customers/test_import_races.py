"""Imports that run at the same time as others, or meet other writers."""

import io
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from customers import identity, imports
from customers.imports import records, running, values
from customers.models import Customer, CustomerField, Identifier, Import, ImportState

HEADER = "customerId,fieldName,fieldValue\n"


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 400)


@pytest.fixture(autouse=True)
def _fields(transactional_db):
    CustomerField.objects.create(name="city")
    CustomerField.objects.create(name="points", type="number")


def upload(lines):
    content = (HEADER + "".join(lines)).encode()
    return imports.create(io.BytesIO(content), name="some.csv")


def at_once(*works):
    """Run functions in threads, each with its own connection; return what they return."""

    def run(work):
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(run, work) for work in works]]


def test_second_worker_of_an_import_stands_back():
    run = upload(f"c{n},city,Bern\n" for n in range(100))

    def apply(run):
        at_once(lambda: imports.apply(run.pk))
        return values.apply(run)

    running.work(run.pk, running.APPLY, apply)
    run.refresh_from_db()
    assert (run.state, run.rows_ok, run.customers_created) == (ImportState.DONE, 100, 100)


def test_imports_of_the_same_customers_at_the_same_time_both_arrive():
    lines = [f"c{n},{field},{n}\n" for n in range(50) for field in ("city", "points")]
    runs = []
    for seed in range(3):
        random.Random(seed).shuffle(lines)
        runs.append(upload(lines))
    at_once(*(lambda pk=run.pk: imports.apply(pk) for run in runs))
    done = Import.objects.filter(pk__in=[run.pk for run in runs])
    assert {run.state for run in done} == {ImportState.DONE}
    assert sum(run.customers_created for run in done) == 50
    assert Identifier.objects.count() == Customer.objects.count() == 50
    assert all(
        c.fields == {"city": str(c.fields["points"]), "points": c.fields["points"]}
        for c in Customer.objects.all()
    )


def test_import_and_identity_resolution_agree_who_is_who():
    ids = [f"c{n}" for n in range(200)]
    run = upload(f"{each},city,Bern\n" for each in ids)

    def resolve():
        order = random.Random(1).sample(ids, len(ids))
        for start in range(0, len(order), 10):
            people = [
                identity.Person((("customer_id", each), ("anonymous_id", f"a-{each}")))
                for each in order[start : start + 10]
            ]
            with transaction.atomic():
                identity.resolve(people)

    at_once(lambda: imports.apply(run.pk), resolve)
    run.refresh_from_db()
    assert run.state == ImportState.DONE
    assert Customer.objects.current().filter(fields={"city": "Bern"}).count() == 200
    assert Customer.objects.current().count() == 200
    owners = dict(Identifier.objects.values_list("value", "customer_id"))
    assert all(owners[each] == owners[f"a-{each}"] for each in ids)


def test_customer_merged_while_the_import_waits_keeps_its_values():
    survivor = Customer.objects.create()
    ann = Customer.objects.create(external_id="ann")
    Identifier.objects.create(kind="customer_id", value="ann", customer=ann)
    run = upload(["ann,city,Bern\n"])
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Customer.objects.filter(pk=ann.pk).update(merged_into=survivor)
            Identifier.objects.filter(value="ann").update(customer=survivor)
            future = pool.submit(lambda: (imports.apply(run.pk), connection.close()))
            wait_for_a_lock()
        future.result()
    survivor.refresh_from_db()
    assert survivor.fields == {"city": "Bern"}


def wait_for_a_lock():
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return
            time.sleep(0.01)
    pytest.fail("nobody waits")

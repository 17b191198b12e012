"""The lanes of the river side by side, with real threads and connections."""

import json
import random
import threading
import time
from datetime import UTC, datetime

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client

from activation.models import Delivery, Destination, Trigger
from cdp import health, lanes, pipeline
from cdp.models import Heartbeat
from cdp.pipeline import Lane, Stage
from customers import fields, merging, survivors
from customers.models import Change, Customer, Merge
from events.models import Inbox
from segments import evaluation, sql
from segments.compiled import EVERYBODY, clock
from segments.models import MembershipChange

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 60.0  # seconds


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture
def run(monkeypatch):
    """Run lanes until the test ends."""
    monkeypatch.setattr(lanes, "FAULT_SECONDS", 0.05)
    started = []

    def start(*those):
        running = lanes.Lanes(those)
        started.append(running)
        running.start()
        return running

    yield start
    for running in started:
        running.stop()
        running.wait()


@pytest.fixture
def in_another_thread():
    """Run work in a thread with a connection of its own; returns the thread."""
    threads = []

    def begin(work):
        def whole():
            try:
                with transaction.atomic():
                    work()
            finally:
                connection.close()

        threads.append(threading.Thread(target=whole))
        threads[-1].start()
        return threads[-1]

    yield begin
    for thread in threads:
        thread.join(PATIENCE)


def is_at_rest():
    return not Inbox.objects.exists() and not Change.objects.exists()


def test_members_are_right_and_nobody_is_told_twice_while_people_turn_out_to_be_one(
    run, make_source, make_segment, make_field
):
    """Events, traits and sign-ins pour in while both lanes work in batches of a few."""
    make_field("city")
    visited = make_segment({"event": "Page Viewed"}, key="visited")
    often = make_segment({"event": "Page Viewed", "op": "at_least", "value": 4}, key="often")
    in_bern = make_segment({"field": "city", "op": "is", "value": "Bern"}, key="bern")
    key, chance, client = make_source().write_key, random.Random(7), Client()
    shown = Destination.objects.create(
        key="d", name="D", config={"url": "https://example.com/"}, secret="whsec_MDEyMw=="
    )
    Trigger.objects.create(key="t", name="T", segment=visited, destination=shown, is_enabled=True)
    small = [
        lane._replace(stages=tuple(stage._replace(batch=5) for stage in lane.stages))
        for lane in pipeline.LANES
    ]
    running = run(*small)
    for n in range(120):
        user, browser = f"u{chance.randrange(12)}", f"a{chance.randrange(24)}"
        if n % 4:
            call, body = "track", {"anonymousId": browser, "event": "Page Viewed"}
        else:
            traits = {"city": chance.choice(["Bern", "Basel"])}
            call, body = "identify", {"userId": user, "anonymousId": browser, "traits": traits}
        answer = client.post(
            f"/v1/{call}",
            json.dumps(body),
            content_type="application/json",
            headers={"X-Write-Key": key},
        )
        assert answer.status_code == 200
    wait_for(is_at_rest)
    running.stop()
    running.wait()
    for segment in (visited, often, in_bern):
        assert differing(segment) == (0, 0), segment.key
    assert Merge.objects.exists()
    # Whoever became a member as two people was told of twice, before anybody could know.
    entered = MembershipChange.objects.filter(segment=visited, entered=True)
    told = Delivery.objects.filter(trigger__key="t")
    assert told.count() == entered.count()
    assert not entered.filter(entry_no__gt=1).exists()


def differing(segment):
    program = evaluation.compile_segments([segment])
    ((_, truth),) = program.truths
    now = datetime.now(UTC)
    source = program.out.source(EVERYBODY)
    parameters = program.out.parameters | clock(now, evaluation.zone())
    return sql.differences(source, truth.holds, parameters, segment.pk)


def test_lane_that_fails_does_not_hold_up_the_other(run):
    worked = []

    def fail(limit):
        raise ValueError("a fault")

    def work(limit):
        worked.append(limit)
        return 0

    run(
        Lane("faulty", "cdp_test_one", (Stage("fail", fail),)),
        Lane("sound", "cdp_test_two", (Stage("work", work),)),
    )
    wait_for(lambda: len(worked) > 1)


def test_pipeline_shows_the_last_sign_of_life_of_a_lane_that_hangs(run):
    hanging, end = threading.Event(), threading.Event()
    since = []

    def hang(limit):
        if since:
            hanging.set()
            end.wait(PATIENCE)
        since.append(datetime.now(UTC))
        return 1

    def work(limit):
        return 0

    try:
        run(
            Lane("stuck", "cdp_test_one", (Stage("hang", hang),)),
            Lane("sound", "cdp_test_two", (Stage("work", work),)),
        )
        assert hanging.wait(PATIENCE)
        hung_at = datetime.now(UTC)
        rounds = Heartbeat.objects.filter(name="pipeline")
        wait_for(rounds.exists)
        assert rounds.get().at <= hung_at
    finally:
        end.set()


def test_lane_that_the_database_refuses_does_not_count_as_working(run, monkeypatch):
    """As with a full disk: it goes on with what it can, and /readyz must not call that well."""
    monkeypatch.setattr(lanes, "PAUSE_SECONDS", 0)
    refused, others = [], []

    def refuse(limit):
        connection.ensure_connection()
        refused.append(limit)
        raise OperationalError("could not extend file: No space left on device")

    def other(limit):
        others.append(limit)
        return 0

    health.forget("pipeline")
    running = run(
        Lane("refusing", "cdp_test_one", (Stage("refused", refuse), Stage("other", other)))
    )
    wait_for(lambda: len(refused) > 2 and len(others) > 2)
    running.stop()
    running.wait()
    assert not Heartbeat.objects.filter(name="pipeline").exists()
    run(Lane("sound", "cdp_test_one", (Stage("other", other),)))
    wait_for(Heartbeat.objects.filter(name="pipeline").exists)


def test_lane_that_dies_ends_all_so_that_they_are_started_again(run):
    def die(limit):
        raise KeyboardInterrupt

    running = lanes.Lanes(
        [
            Lane("dying", "cdp_test_one", (Stage("die", die),)),
            Lane("sound", "cdp_test_two", (Stage("work", lambda limit: 0),)),
        ]
    )
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        running.start()
        with pytest.raises(SystemExit):
            running.wait()
    finally:
        threading.excepthook = hook


def test_values_are_written_while_segments_are_evaluated(
    make_customer, make_field, in_another_thread
):
    make_field("city")
    ann = make_customer("ann")
    with transaction.atomic():
        survivors.hold([ann.pk])
        writer = in_another_thread(
            lambda: fields.write({ann.pk: {"city": '"Bern"'}}, source="test")
        )
        writer.join(PATIENCE)
        assert not writer.is_alive()
    ann.refresh_from_db()
    assert ann.fields == {"city": "Bern"}


def test_merge_waits_for_the_evaluation_of_whom_it_concerns(make_customer, in_another_thread):
    ann, visitor = make_customer("ann"), make_customer()
    with transaction.atomic():
        assert survivors.hold([ann.pk, visitor.pk]) == {ann.pk: ann.pk, visitor.pk: visitor.pk}
        merger = in_another_thread(lambda: merging.join(ann.pk, visitor.pk, by="Anna"))
        merger.join(0.3)
        assert merger.is_alive()
        assert Customer.objects.current().count() == 2
    merger.join(PATIENCE)
    assert Customer.objects.current().count() == 1

"""The watchdog of the queue, told by hand what the cluster's processes would tell it."""

import logging
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django_q.models import OrmQ
from django_q.signals import post_execute, post_execute_in_worker, pre_execute

from cdp import watchdog
from cdp.models import Heartbeat

pytestmark = pytest.mark.django_db


def begin_task():
    pre_execute.send(sender="django_q", func=None, task={})


def end_task():
    post_execute_in_worker.send(sender="django_q", func=None, task={})


def acknowledge_task():
    post_execute.send(sender="django_q", task={})


def test_idle_queue_gets_one_canary_at_a_time():
    guard, now = watchdog.Watchdog(), time.monotonic()
    assert all(guard.look(now + seconds) for seconds in range(5))
    assert OrmQ.objects.count() == 1


def test_queue_counts_as_working_only_once_a_task_was_served():
    guard, now = watchdog.Watchdog(), time.monotonic()
    guard.look(now)
    assert not Heartbeat.objects.filter(name="queue").exists()
    acknowledge_task()
    guard.look(now + 1)
    assert Heartbeat.objects.filter(name="queue").exists()


def test_queue_hangs_when_a_task_waits_while_no_worker_is_busy():
    guard, now = watchdog.Watchdog(), time.monotonic()
    assert guard.look(now)
    assert guard.look(now + 7)
    assert not guard.look(now + 9)


def test_queue_is_tried_at_once_when_one_of_its_processes_was_found_dead():
    guard, now = watchdog.Watchdog(), time.monotonic()
    acknowledge_task()
    assert guard.look(now)
    logging.getLogger("django-q").critical("reincarnated worker after death")
    assert guard.look(now + 1)
    assert OrmQ.objects.count() == 1
    assert guard.look(now + 3)
    assert not guard.look(now + 5)


def test_queue_that_serves_tasks_after_a_death_does_not_hang():
    guard, now = watchdog.Watchdog(), time.monotonic()
    logging.getLogger("django-q").critical("reincarnated worker after death")
    guard.look(now + 1)
    acknowledge_task()
    assert guard.look(now + 5)


def test_queue_does_not_hang_while_a_worker_is_busy_as_long_as_it_may():
    guard, now = watchdog.Watchdog(), time.monotonic()
    guard.look(now)
    begin_task()
    assert all(guard.look(now + seconds) for seconds in range(0, 60, 5))
    end_task()
    assert guard.look(now + 61)
    assert not guard.look(now + 70)


def test_queue_hangs_when_a_worker_is_busy_for_longer_than_a_task_may_take():
    guard, now = watchdog.Watchdog(), time.monotonic()
    guard.look(now)
    begin_task()
    assert all(guard.look(now + seconds) for seconds in range(0, 75, 5))
    assert not guard.look(now + 85)
    end_task()


def test_worker_that_was_killed_at_work_does_not_count_as_busy():
    guard, now = watchdog.Watchdog(), time.monotonic()
    guard._busy[0], guard._began_at[0] = 2**22 + 1, now  # no process has such a number
    guard.look(now)
    assert not guard.look(now + 9)


def test_next_canary_is_sent_after_the_last_was_served():
    guard, now = watchdog.Watchdog(), time.monotonic()
    guard.look(now)
    acknowledge_task()
    guard.look(now + 2)
    assert OrmQ.objects.count() == 1
    guard.look(now + 5)
    assert OrmQ.objects.count() == 2


@pytest.fixture
def taken():
    """Make a task that some cluster took so many seconds ago."""

    def take(seconds_ago):
        retried_at = datetime.now(UTC) + timedelta(seconds=300 - seconds_ago)
        return OrmQ.objects.create(key="cdp", payload="", lock=retried_at)

    return take


def is_due(task):
    task.refresh_from_db()
    return task.lock <= datetime.now(UTC)


def test_tasks_of_a_killed_cluster_are_due_at_once_and_our_own_are_not(taken):
    theirs, ours = taken(seconds_ago=20), taken(seconds_ago=5)
    began_at = datetime.now(UTC) - timedelta(seconds=10)
    assert watchdog.release_orphans(began_at) == 1
    assert is_due(theirs)
    assert not is_due(ours)


def test_tasks_of_another_living_cluster_are_left_alone(taken):
    theirs = taken(seconds_ago=20)
    options = settings.DATABASES["default"] | {"NAME": connection.settings_dict["NAME"]}
    with psycopg.connect(
        dbname=options["NAME"], user=options["USER"], **options["OPTIONS"]
    ) as other:
        other.execute("SELECT pg_advisory_lock_shared(7103001, hashtext('cdp'))")
        assert watchdog.release_orphans(datetime.now(UTC)) == 0
    assert not is_due(theirs)

"""The supervisor, over small programs of the shell."""

import io
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from cdp import process
from cdp.supervisor import Child, Supervisor


def shell(script):
    """Start a program of the shell."""
    return lambda out: process.spawn(["/bin/sh", "-c", script], out=out)


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def boss(out):
    boss = Supervisor(out)
    yield boss
    boss._is_urgent = True  # whatever the test has left goes at once
    boss.stop()


def run_until(boss, condition, seconds=60):
    """Run the supervisor until the condition holds, then tell it to stop."""
    deadline = time.monotonic() + seconds

    def check():
        if condition() or time.monotonic() > deadline:
            os.kill(os.getpid(), signal.SIGTERM)

    boss.run(check)
    assert condition()


def lines_of(out, name):
    return [
        line.partition("|")[2].strip()
        for line in out.getvalue().splitlines()
        if line.split("|")[0].strip() == name
    ]


def wait_until_gone(pids, seconds=5):
    deadline = time.monotonic() + seconds
    while any(map(psutil.pid_exists, pids)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.02)


def test_every_line_carries_the_name_of_its_child(boss, out):
    boss.add(Child("web", shell(r"echo one; printf 't\377o'; sleep 60 & wait")))
    boss.add(Child("queue", shell("echo three >&2; sleep 60")))
    run_until(boss, lambda: lines_of(out, "web") and lines_of(out, "queue"))
    assert lines_of(out, "web") == ["one", "t\N{REPLACEMENT CHARACTER}o"]
    assert lines_of(out, "queue") == ["three"]


@pytest.mark.parametrize("end", ["exit 0", "exit 3", "kill -9 $$"])
def test_child_is_started_again_however_it_ends(boss, out, end):
    boss.add(Child("web", shell(f"echo begun; {end}")))
    run_until(boss, lambda: len(lines_of(out, "web")) == 2)


def fails_after_the_first_time(starts):
    """Start a program that ends at once, and that is gone by then."""

    def start(out):
        starts.append(time.monotonic())
        if len(starts) > 1:
            raise OSError("no such program")
        return shell("exit 1")(out)

    return start


def test_pause_before_the_next_start_doubles(boss):
    starts = []
    boss.add(Child("web", fails_after_the_first_time(starts)))
    run_until(boss, lambda: len(starts) == 4)
    pauses = [after - before for before, after in itertools.pairwise(starts)]
    # At least 0.25, 0.5 and 1 second: a busy machine makes all of them longer.
    assert all(pause > least for pause, least in zip(pauses, (0.2, 0.45, 0.9), strict=True))


def test_child_that_cannot_start_again_holds_up_no_other(boss, out):
    boss.add(Child("web", fails_after_the_first_time([])))
    boss.add(Child("queue", shell("echo begun; exit 1")))
    run_until(boss, lambda: len(lines_of(out, "queue")) == 3)
    assert "web cannot be started: no such program" in lines_of(out, "up")


def test_child_that_cannot_start_at_all_is_an_error(boss):
    with pytest.raises(FileNotFoundError):
        boss.add(Child("web", lambda out: process.spawn(["/no/such/program"], out=out)))


def test_child_for_once_is_not_started_again_after_it_has_succeeded(boss, out):
    boss.add(Child("demo", shell("echo loaded"), is_once=True))
    boss.add(Child("web", shell("echo begun; exit 1")))
    run_until(boss, lambda: len(lines_of(out, "web")) == 3)
    assert lines_of(out, "demo") == ["loaded"]
    assert "demo is done" in lines_of(out, "up")


@pytest.mark.parametrize("end", ["exit 1", "kill -9 $$"])
def test_child_for_once_that_failed_is_tried_again(boss, out, tmp_path, end):
    loads = f"echo loading; [ -e {tmp_path}/tried ] || {{ touch {tmp_path}/tried; {end}; }}"
    boss.add(Child("demo", shell(loads), is_once=True))
    run_until(boss, lambda: "demo is done" in lines_of(out, "up"))
    assert lines_of(out, "demo") == ["loading", "loading"]


def test_child_for_once_that_fails_every_time_is_given_up(boss, out):
    demo = Child("demo", shell("exit 1"), is_once=True)
    demo.failures = 4
    boss.add(demo)
    run_until(boss, lambda: "demo has failed for good" in lines_of(out, "up"))
    assert demo.due_at is None


def test_what_a_child_leaves_behind_is_killed_before_it_starts_again(boss, out):
    boss.add(Child("web", shell("sleep 60 & echo $!; exit 1")))
    run_until(boss, lambda: len(lines_of(out, "web")) == 2)
    wait_until_gone([int(pid) for pid in lines_of(out, "web")])


def test_children_are_stopped_in_the_opposite_order(boss, out):
    for name in ("database", "queue", "web"):
        boss.add(Child(name, shell("trap 'echo bye; exit' TERM; echo on; sleep 60 & wait")))
    run_until(boss, lambda: out.getvalue().count("on\n") == 3)
    farewells = [line.split()[0] for line in out.getvalue().splitlines() if "bye" in line]
    assert farewells == ["web", "queue", "database"]


def test_children_of_a_group_are_told_to_stop_together(boss, out):
    words = shell("trap 'echo bye; exit' TERM; echo on; sleep 60 & wait")
    for name, group in (("queue", "clusters"), ("sending", "clusters"), ("web", "")):
        boss.add(Child(name, words, group=group))
    run_until(boss, lambda: out.getvalue().count("on\n") == 3)
    lines = [line for line in out.getvalue().splitlines() if "stopping" in line or "bye" in line]
    assert [line.split()[0] for line in lines[:2]] == ["up", "web"]
    assert [line.split()[-1] for line in lines[2:4]] == ["sending", "queue"]
    assert {line.split()[0] for line in lines[4:]} == {"queue", "sending"}


def test_child_that_will_not_stop_is_killed_in_time(boss, out):
    boss.add(
        Child("web", shell("trap '' TERM; echo on; while :; do sleep 1; done"), stop_seconds=0.3)
    )
    run_until(boss, lambda: lines_of(out, "web"))
    assert "killing web, which does not stop" in lines_of(out, "up")


def test_another_signal_a_second_later_stops_at_once(boss, out):
    stubborn = shell("trap '' TERM; echo on; while :; do sleep 1; done")
    boss.add(Child("web", stubborn, stop_seconds=600))
    impatience = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    impatience.start()
    began_at = time.monotonic()
    run_until(boss, lambda: lines_of(out, "web"))
    impatience.join()
    assert time.monotonic() - began_at < 300


def test_signal_that_arrives_twice_counts_once(boss, out):
    boss.add(Child("web", shell("trap 'sleep 0.5; echo bye; exit' TERM; echo on; sleep 60 & wait")))
    boss.run(lambda: lines_of(out, "web") and [os.kill(os.getpid(), signal.SIGTERM) for _ in "ab"])
    assert lines_of(out, "web") == ["on", "bye"]


def test_nothing_survives_a_killed_supervisor_not_even_grandchildren():
    family = """
        import os, sys, time
        from cdp import process
        process.hold_children()
        for generation in range(3):
            if os.fork():
                break
        os.write(1, b"%d\\n" % os.getpid())
        time.sleep(60)
    """
    script = f"""
        import sys
        from cdp import process
        from cdp.supervisor import Child, Supervisor
        argv = [sys.executable, "-c", {textwrap.dedent(family)!r}]
        boss = Supervisor(sys.stdout)
        boss.add(Child("web", lambda out: process.spawn(argv, out=out)))
        boss.run()
    """
    argv = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as boss:
        try:
            pids = [int(boss.stdout.readline().split("|")[1]) for _ in range(4)]
            assert all(map(psutil.pid_exists, pids))
        finally:
            boss.kill()
        wait_until_gone(pids)

"""What the workers of the crash loop do, and the places at which they die."""

import contextlib
import os
import sys
import time
from datetime import timedelta

import httpcore2
from django.db import Error, connection

from activation import carriers, dispatch, outbox, retries, webhook
from activation.sql import causes, sending, waking
from cdp import lanes, pipeline
from customers import changes
from events import inbox
from segments import memberships
from tests.crash.mutants import BREAK

DIED = 9
ODDS = 0.06  # of dying, at each place that is passed


def work(role, chance, mutant, is_calm):
    connection.close()
    # Only who lives until a late answer can note it although the lease is lost.
    is_spared = is_calm or (role == "sender" and mutant == "no-lease-check")
    die = (lambda: None) if is_spared else (lambda: chance.random() < ODDS and os._exit(DIED))
    hurry()
    BREAK.get(mutant, lambda die: None)(die)
    try:
        (run_pipeline if role == "pipeline" else run_sender)(die)
    except BaseException as error:
        sys.stderr.write(f"{role}: {type(error).__name__}: {error}\n")
        time.sleep(0.1)
        os._exit(1)


def hurry():
    """Make waits short, so that much happens in little time."""
    retries.SCHEDULE = (0.05,) * 500
    retries.FAILURES_TO_OPEN = 10_000
    retries.TRIES_IF_REFUSED = 10_000
    carriers.SECONDS = 3.0
    dispatch.LEASE = timedelta(seconds=0.6)
    dispatch.LINGER, dispatch.LOOK_EVERY = 0.0, 0.01
    dispatch.QUIET_AFTER, dispatch.STOP_AFTER = 2.0, 4.0
    lanes.PAUSE_SECONDS = lanes.REST_SECONDS = lanes.CARE_SECONDS = 0.02


def after(module, name, die):
    """Pass a failpoint whenever this function has done something."""
    real = getattr(module, name)

    def passed(*args, **options):
        done = real(*args, **options)
        if done:
            die()
        return done

    setattr(module, name, passed)


def midway(die):
    """Pass a failpoint between the head of a request and its body, which are written apart."""
    real = httpcore2.SyncBackend.connect_tcp

    def connect(*args, **options):
        stream = real(*args, **options)
        write = stream.write

        def passed(*args, **options):
            write(*args, **options)
            die()

        stream.write = passed
        return stream

    httpcore2.SyncBackend.connect_tcp = connect


def run_pipeline(die):
    after(inbox, "process", die)
    after(changes, "claim", die)
    after(memberships, "refresh", die)
    after(causes, "claim_turns", die)
    after(causes, "insert_deliveries", die)
    after(waking, "ask_to_wake", die)
    after(outbox, "enqueue", die)
    running = lanes.Lanes([lane._replace(stages=stages(lane, die)) for lane in pipeline.LANES])
    running.start()
    running.wait()


def stages(lane, die):
    """The stages of a lane as the mutants left them, in small batches; each may be the last."""

    def mortal(work):
        def passed(limit):
            moved = work(limit)
            if moved:
                die()
            return moved

        return passed

    return [
        stage._replace(work=mortal(getattr(pipeline, stage.name)), batch=20)
        for stage in lane.stages
    ]


def run_sender(die):
    after(sending, "lease_due", die)
    after(sending, "keep_words", die)
    after(sending, "note_attempts", die)
    after(webhook.Webhooks, "send", die)
    midway(die)
    while True:
        with contextlib.suppress(Error):
            outbox.deliver_due()
        if connection.connection and connection.connection.broken:
            connection.close()
        time.sleep(0.01)

"""Whatever dies, nothing is lost and nothing comes twice; and we would notice if it did.

CDP_CRASH_SEED repeats a run, CDP_CRASH_MESSAGES makes it longer: see `make soak`.
"""

import os
import random
import sys
from itertools import count
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

from activation import destinations, triggers
from activation.models import Destination, Trigger
from events import inbox
from tests.activation.receivers import Receiver
from tests.crash.loop import EVENT, Loop, Workers, defer_what_was_acknowledged

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.live]

MESSAGES = int(os.environ.get("CDP_CRASH_MESSAGES", "75"))
NEVER_THE_SAME = '{"now": {{ "now" | date: "%s%f" }}, "customer": {{ customer.id }}}'
ROUNDS = 10  # in which a mutant must be found; most are in the first


@pytest.fixture(scope="module")
def workers(django_db_setup):
    found = Workers(url())
    yield found
    found.close()


@pytest.fixture
def make_loop(workers, make_source, make_segment, monkeypatch):
    monkeypatch.setattr(settings, "DEMO", True)  # opens loopback
    receiver = Receiver()
    receiver.taken = set()
    source = make_source("shop")
    segment = make_segment({"event": EVENT})
    for number, (at_most, more) in enumerate(
        (("every_entry", {"template": NEVER_THE_SAME}), ("once", {}))
    ):
        config = {"url": receiver.url, **more}
        destination = Destination(key=f"d{number}", name=f"D{number}", config=config)
        destinations.save(destination)
        trigger = Trigger(
            key=f"t{number}",
            name=f"T{number}",
            segment=segment,
            destination=destination,
            at_most=at_most,
            is_enabled=True,
        )
        triggers.save(trigger)

    seeds = count(int(os.environ.get("CDP_CRASH_SEED", "0")) or random.randrange(1, 10**9))

    def make(mutant="none"):
        seed = next(seeds)  # another each round: messages sent before would be duplicates
        sys.stderr.write(f"CDP_CRASH_SEED={seed}\n")
        return Loop(seed, workers, receiver, source.write_key, mutant)

    yield make
    receiver.close()


def url():
    """The address of the tests' database."""
    given = urlsplit(os.environ["DATABASE_URL"])
    return given._replace(path="/" + connection.settings_dict["NAME"]).geturl()


def test_nothing_is_lost_or_doubled_whatever_dies(make_loop):
    loop = make_loop()
    assert loop.run(MESSAGES) == []
    assert len(loop.acked) == MESSAGES // 3 * 3


@pytest.mark.parametrize(
    ("mutant", "what"),
    [
        ("commit-halfway", "deliveries: "),
        ("new-key", "under a number that is nobody's"),
        ("late-words", "had other bytes"),
        ("no-lease-check", "attempts: "),
        ("any-answer", "were never taken"),
    ],
)
def test_fault_is_found(make_loop, mutant, what):
    for _ in range(ROUNDS):
        found = make_loop(mutant).run(45)
        if any(what in problem for problem in found):
            return
    pytest.fail(f"nobody noticed {mutant}: {found}")


def test_acknowledging_before_storing_is_found(make_loop, monkeypatch):
    loop = make_loop()
    monkeypatch.setattr(inbox, "accept", defer_what_was_acknowledged(loop.chance))
    found = loop.run(45)
    assert any(problem.startswith("events") for problem in found)

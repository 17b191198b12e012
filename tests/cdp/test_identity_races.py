"""Several processes take in, merge and separate the same people at the same time."""

import json
import multiprocessing
import random
from collections import Counter

import pytest
from django.db import OperationalError, connections

from cdp import identities, pipeline
from customers.models import Customer, Identifier, Merge
from customers.unmerging import CannotSeparateError
from events import inbox
from events.models import Event, Inbox, Quarantine

PEOPLE = 4
ROUNDS = 8
FORK = multiprocessing.get_context("fork")


def messages(chance):
    """Calls of a few people with two devices each, many of which tell who somebody is."""
    devices = [(person, device) for person in range(PEOPLE) for device in range(2)]
    calls = [*devices * ROUNDS]
    chance.shuffle(calls)
    for number, (person, device) in enumerate([*calls, *devices]):
        ids = {"userId": f"u{person}", "anonymousId": f"a{person}-{device}"}
        named = chance.choice([["userId"], ["anonymousId"], ["anonymousId"], [*ids]])
        if number >= len(calls):
            named = [*ids]  # in the end everybody has said who they are
        call = {"type": "track", "event": "A", "messageId": str(number)}
        yield call | {name: ids[name] for name in named}


def until_done(step, failures):
    """Repeat a step in a process of its own until it returns False; a lost race is run again."""
    while True:
        try:
            if not step():
                return
        except OperationalError:
            continue
        except Exception as error:
            failures.put(repr(error))
            return


def separate(chance):
    """Undo a merge or detach a device, whatever is there; False once nothing is left to take in."""
    merge = Merge.objects.filter(undone_at=None).order_by("?").first()
    device = Identifier.objects.filter(kind="anonymous_id").order_by("?").first()
    try:
        if merge is not None and chance.random() < 0.7:
            identities.undo(merge, by="Anna")
        elif device is not None:
            identities.detach(device.customer_id, (device.kind, device.value), by="Anna")
    except CannotSeparateError:
        pass
    return Inbox.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_separated", [False, True], ids=["merges", "merges and undos"])
def test_nothing_is_lost_or_doubled_and_everybody_is_who_they_are(make_source, is_separated):
    chance = random.Random(7)
    source = make_source("shop", kind="server")
    sent = [*messages(chance)]
    for call in sent:
        inbox.accept_for(source, "track", json.dumps(call).encode())
    steps = [lambda: pipeline.ingest(2)] * 3
    if is_separated:
        steps += [lambda: separate(chance)] * 2
    failures = FORK.SimpleQueue()
    connections.close_all()
    workers = [FORK.Process(target=until_done, args=(step, failures)) for step in steps]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures.empty(), failures.get()
    assert not Quarantine.objects.exists()
    _assert_sound(sent)
    if not is_separated:
        assert Customer.objects.current().count() == PEOPLE
        assert {e.customer.external_id for e in Event.objects.all()} == {"u0", "u1", "u2", "u3"}


def _assert_sound(sent):
    events = [*Event.objects.select_related("customer")]
    assert Counter(e.message_id for e in events) == Counter(c["messageId"] for c in sent)
    assert all(e.customer.merged_into_id is None for e in events), "an event of an absorbed one"
    owners = {(i.kind, i.value): i.customer for i in Identifier.objects.select_related("customer")}
    assert all(c.merged_into_id is None for c in owners.values())
    for (kind, value), customer in owners.items():
        if kind == "customer_id":
            assert customer.external_id == value
    for event in events:
        kind, _, value = event.came_by.partition(":")
        if kind == "customer_id":
            assert event.customer == owners[kind, value], "an event went without its identifier"
        else:
            allowed = {None, f"u{value[1]}"}
            assert event.customer.external_id in allowed, "an event of somebody else"

"""What the tests of activation share: receivers, triggers, and entries into segments."""

import itertools

import pytest
from django.db import connection, transaction
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from activation import destinations, dispatch, outbox, triggers
from activation.models import Delivery, Destination, Trigger
from customers import clock
from segments import sql as segment_sql
from segments.memberships import Transition
from segments.models import Membership, MembershipChange, Segment
from tests.activation.receivers import Receiver

_serial = itertools.count(1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch, settings):
    settings.DEMO = True  # opens loopback
    settings.WEBHOOK_ALLOW_PRIVATE = []
    monkeypatch.setattr(dispatch, "LINGER", 0)
    monkeypatch.setattr(dispatch, "LOOK_EVERY", 0.01)


@pytest.fixture
def make_receiver():
    receivers = []

    def make(behaves=None, **more):
        receivers.append(Receiver(behaves, **more))
        return receivers[-1]

    yield make
    for receiver in receivers:
        receiver.close()


@pytest.fixture
def receiver(make_receiver):
    return make_receiver()


@pytest.fixture
def make_destination():
    def make(receiver=None, key=None, **more):
        key = key or f"destination-{next(_serial)}"
        url = receiver.url if receiver else "https://receiver.example/hook"
        options = {"config": {"url": url}} | more
        destination = Destination(key=key, name=key.title(), **options)
        destinations.save(destination)
        return destination

    return make


@pytest.fixture
def make_by_hand(db):
    """A segment kept by hand."""

    def make():
        key = f"segment-{next(_serial)}"
        return Segment.objects.create(key=key, name=key.title(), kind="static", rule=None)

    return make


@pytest.fixture
def by_hand(make_by_hand):
    return make_by_hand()


@pytest.fixture
def make_trigger(make_destination, by_hand):
    """A trigger that is switched on; `to` is where it sends: a receiver or a destination."""

    def make(to=None, segment=None, on="enter", key=None, **more):
        key = key or f"trigger-{next(_serial)}"
        destination = to if isinstance(to, Destination) else make_destination(to)
        options = {"is_enabled": True, "name": key.title()} | more
        trigger = Trigger(
            key=key,
            segment=segment or by_hand,
            on=on,
            destination=destination,
            **options,
        )
        triggers.save(trigger)
        return trigger

    return make


def entry(trigger, customer, entry_no=1, *, entered=True, **more):
    options = {"at": clock.now(), "cause": "event"} | more
    return Transition(
        trigger.segment_id, customer.pk, entered=entered, entry_no=entry_no, **options
    )


def enqueue(*transitions):
    with transaction.atomic():
        outbox.enqueue([*transitions])


@pytest.fixture
def enter(make_customer):
    """Have customers enter the segment of a trigger; returns its deliveries, oldest first."""

    def run(trigger, count=1, **more):
        customers = [make_customer() for _ in range(count)]
        enqueue(*[entry(trigger, customer, **more) for customer in customers])
        return [*Delivery.objects.filter(trigger=trigger).order_by("created_at", "id")]

    return run


@pytest.fixture
def join(make_customer):
    """Make somebody a member of a segment, without anybody being told."""

    def run(segment, customer=None, at=None, entry_no=1, event_id=None):
        customer, at = customer or make_customer(), at or clock.now()
        same = {"customer": customer, "segment": segment, "entry_no": entry_no, "cause": "event"}
        Membership.objects.create(entered_at=at, **same)
        MembershipChange.objects.create(entered=True, at=at, event_id=event_id, **same)
        segment_sql.change_sizes({segment.pk: 1})
        return customer

    return run


def tasks(name="deliver_due"):
    """How many tasks of this name wait in the queue."""
    return sum(row.task["func"] == f"activation.outbox.{name}" for row in OrmQ.objects.all())


def run_tasks():
    """Do what the queue does: take the tasks out one after the other, and run them."""
    while row := OrmQ.objects.order_by("id").first():
        row.delete()
        assert row.task["func"].startswith("activation.")
        import_string(row.task["func"])(*row.task["args"])


def state_of(delivery):
    return Delivery.objects.with_state(clock.now()).get(pk=delivery.pk).state


def make_due(**more):
    """Let the time pass that waiting deliveries and destinations wait for."""
    Delivery.objects.waiting().update(due_at=clock.now(), **more)
    Destination.objects.update(held_until=None)


class InAnotherSession:
    def __init__(self, statement, parameters=()):
        self.statement, self.parameters = statement, parameters

    def __enter__(self):
        self.session = connection.copy()
        self.session.cursor().execute(self.statement, self.parameters)

    def __exit__(self, *_):
        self.session.close()


@pytest.fixture
def trigger(make_trigger, receiver):
    return make_trigger(receiver, is_enabled=False, name="Thank them")


@pytest.fixture
def make_delivery(trigger, make_customer):
    """A delivery as it stands in the log."""

    def make(customer=None, **more):
        customer = customer or make_customer()
        body = '{"type":"segment.entered","data":{"points":1.50}}'
        options = {"trigger": trigger, "entry_no": 1, "body": body} | more
        return Delivery.objects.create(
            customer_id=customer.pk, destination=options["trigger"].destination, **options
        )

    return make

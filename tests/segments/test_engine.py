"""The engine against an oracle in plain Python: full, as-of, incremental and by time alone."""

import itertools
import os
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from customers import changes
from customers import clock as database_clock
from customers.models import (
    Change,
    Consent,
    Customer,
    CustomerField,
    FieldChange,
    Identifier,
    Merge,
)
from events.models import Event, EventName, Source
from segments import definitions, filling, memberships, preview
from segments.models import Membership, MembershipChange, PastSize, Recheck, Segment, Size
from tests.makers import NOON
from tests.segments import histories, oracle

ZONE = ZoneInfo("Europe/Zurich")
EXAMPLES = int(os.environ.get("CDP_EXAMPLES", "60"))
thorough = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # Shrinking takes minutes with a database beneath; the seed is printed, and a case is small.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LATE = NOON + timedelta(days=3650)
HistoricalSegment = Segment.versions.model
TABLES = [
    *(MembershipChange, Membership, Recheck, Size, PastSize, Change, Event, Consent, Merge),
    *(FieldChange, Identifier, Customer, Segment, HistoricalSegment),
]


@pytest.fixture
def vocabulary(db):
    for name, kind in histories.FIELDS.items():
        CustomerField.objects.create(name=name, type=kind)
    for key, channel in histories.SOURCES.items():
        Source.objects.create(key=key, name=key, write_key=key, channel=channel, currency="CHF")
    for name in histories.NAMES:
        EventName.objects.create(name=name)


serial = itertools.count()


def clear():
    for table in TABLES:
        table.objects.all().delete()


def store(people, received_at=LATE):
    """Store people as the river would; return {customer id: person as the oracle wants it}."""
    stored = {}
    for n, person in enumerate(people):
        customer = Customer.objects.create(external_id=f"c{n}" if person["known"] else None)
        put_fields(customer.pk, person["fields"])
        stored[customer.pk] = {
            "customer_id": customer.external_id,
            "fields": dict(person["fields"]),
            "events": [],
        }
        for event in person["events"]:
            add_event(customer.pk, stored[customer.pk], event, received_at)
    return stored


def put_fields(customer_id, values):
    """Lay down a customer's fields, and the decisions that rules read like fields."""
    own = {k: as_json(v) for k, v in values.items() if not k.startswith("@")}
    Customer.objects.filter(pk=customer_id).update(fields=own)
    Consent.objects.filter(customer=customer_id).delete()
    Consent.objects.bulk_create(
        Consent(customer_id=customer_id, purpose=k.removeprefix("@consent."), granted=v, at=NOON)
        for k, v in values.items()
        if k.startswith("@")
    )


def as_json(value):
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else value


def add_event(customer_id, person, event, received_at):
    source = Source.objects.get(key=event["source"])
    row = Event.objects.create(
        customer_id=customer_id,
        name=EventName.objects.get(name=event["name"]),
        source=source,
        message_id=str(next(serial)),
        came_by=f"anonymous_id:{customer_id}",
        occurred_at=event["at"],
        received_at=received_at,
        amount=event["amount"],
        currency=event["currency"],
        properties=event["properties"],
    )
    seen = min(event["at"], received_at)
    person["events"].append(event | {"order": row.id, "channel": source.channel, "seen": seen})
    known = [at for at in person.get("seen", ()) if at] + [e["seen"] for e in person["events"]]
    first, last = min(known), max(known)
    if "seen" in person:
        person["seen"] = (first, last)
    Customer.objects.filter(pk=customer_id).update(first_seen_at=first, last_seen_at=last)
    return row.id


def expected(rule, audience, people, now):
    return sorted(
        pk for pk, person in people.items() if oracle.belongs(rule, audience, person, now, ZONE)
    )


@thorough
@given(
    people=st.lists(histories.people, min_size=1, max_size=4),
    rule=histories.rules,
    audience=histories.audiences,
    now=histories.instants,
)
def test_every_rule_finds_whom_the_oracle_finds_at_any_instant(
    vocabulary, people, rule, audience, now
):
    clear()
    stored = store(people)
    found = preview.preview(rule, audience, as_of=now, members=True)
    assert found.members == expected(rule, audience, stored, now)
    assert found.count == len(found.members)
    assert found.total == len(people)


def instants_of_interest(people, rule):
    """Where anything at all could turn: just before, at and just after each boundary."""
    spans = {timedelta(0), *_spans_in(rule)}
    bases = {e["at"] for p in people.values() for e in p["events"]}
    bases |= {v for p in people.values() for v in p["fields"].values() if hasattr(v, "hour")}
    for p in people.values():
        for e in p["events"]:
            if "ship" in e["properties"]:
                bases.add(oracle._instant(e["properties"]["ship"], ZONE))
    moments = {b + sign * s for b in bases for s in spans for sign in (1, -1)}
    midnight = NOON.astimezone(ZONE).replace(hour=0)
    moments |= {midnight + timedelta(days=n) for n in range(-14, 40)}
    tick = timedelta(microseconds=1)
    return sorted({m + d for m in moments for d in (-tick, timedelta(0), tick)})


def _spans_in(rule):
    if isinstance(rule, list):
        for inner in rule:
            yield from _spans_in(inner)
    if isinstance(rule, dict):
        for word in ("last", "next", "at_most", "except_last"):
            if isinstance(rule.get(word), int) and "unit" in rule:
                yield timedelta(seconds=rule[word] * oracle.UNITS[rule["unit"]])
        for inner in rule.values():
            yield from _spans_in(inner)


@thorough
@given(
    people=st.lists(histories.people, min_size=1, max_size=3),
    rule=histories.rules,
    audience=histories.audiences,
)
def test_time_alone_moves_members_exactly_when_the_oracle_says(
    vocabulary, monkeypatch, people, rule, audience
):
    """Jump from re-check to re-check, and compare at every instant at which anything could turn."""
    clear()
    start = NOON - timedelta(days=3)
    stored = store(people, start)
    monkeypatch.setattr(database_clock, "now", lambda: start)
    segment = Segment(key="s", name="S", rule=rule, audience=audience)
    definitions.save(segment)
    while filling.fill_next():
        pass
    for now in [m for m in instants_of_interest(stored, rule) if m > start][:60]:
        monkeypatch.setattr(database_clock, "now", lambda now=now: now)
        settle(now)
        members = sorted(Membership.objects.values_list("customer_id", flat=True))
        assert members == expected(rule, audience, stored, now), now


def settle(now):
    """Run the stages until nothing is waiting."""
    for _ in range(50):
        ticked = memberships.recheck_due(now, 100)
        facts = changes.claim(100)
        with transaction.atomic():
            memberships.refresh(facts)
        if not ticked and not facts:
            return
    raise AssertionError("the re-checks never come to rest")

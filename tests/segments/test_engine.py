"""The engine against an oracle in plain Python: full, as-of, incremental and by time alone."""

import os
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from customers import changes
from customers import clock as database_clock
from customers.models import Change, Consent, Customer, CustomerField
from events.models import Event, EventName, Source
from segments import definitions, filling, memberships, preview
from segments.models import Membership, MembershipChange, Recheck, Segment
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
TABLES = [MembershipChange, Membership, Recheck, Change, Event, Consent, Customer, Segment]


@pytest.fixture
def vocabulary(db):
    for name, kind in histories.FIELDS.items():
        CustomerField.objects.create(name=name, type=kind)
    for key, channel in histories.SOURCES.items():
        Source.objects.create(key=key, name=key, write_key=key, channel=channel, currency="CHF")
    for name in histories.NAMES:
        EventName.objects.create(name=name)


def clear():
    for table in TABLES:
        table.objects.all().delete()


def store(people):
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
            add_event(customer.pk, stored[customer.pk], event)
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


def add_event(customer_id, person, event):
    source = Source.objects.get(key=event["source"])
    row = Event.objects.create(
        customer_id=customer_id,
        name=EventName.objects.get(name=event["name"]),
        source=source,
        message_id=str(len(person["events"])),
        came_by="anonymous_id:x",
        occurred_at=event["at"],
        amount=event["amount"],
        currency=event["currency"],
        properties=event["properties"],
    )
    person["events"].append(event | {"order": row.id, "channel": source.channel})
    times = [e["at"] for e in person["events"]]
    Customer.objects.filter(pk=customer_id).update(
        first_seen_at=min(times), last_seen_at=max(times)
    )
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
    stored = store(people)
    start = NOON - timedelta(days=3)
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


operations = st.one_of(
    st.tuples(st.just("event"), st.integers(0, 2), histories.events),
    st.tuples(st.just("fields"), st.integers(0, 2), histories.field_values),
    st.tuples(st.just("wait"), st.sampled_from([1, 12, 24, 36, 60]), st.none()),
    st.tuples(st.just("rule"), histories.rules, histories.audiences),
)


@thorough
@given(
    people=st.lists(histories.people, min_size=3, max_size=3),
    rules=st.lists(st.tuples(histories.rules, histories.audiences), min_size=2, max_size=3),
    steps=st.lists(operations, min_size=1, max_size=6),
)
def test_membership_follows_every_change_and_the_clock(
    vocabulary, monkeypatch, people, rules, steps
):
    clear()
    stored = store(people)
    ids = list(stored)
    now = NOON - timedelta(days=4)
    monkeypatch.setattr(database_clock, "now", lambda: now)
    segments = []
    for n, (rule, audience) in enumerate(rules):
        segments.append(Segment(key=f"s{n}", name=f"S{n}", rule=rule, audience=audience))
        definitions.save(segments[-1])
    for kind, what, more in steps:
        if kind == "event":
            row_id = add_event(ids[what], stored[ids[what]], more)
            changes.record([changes.Fact(ids[what], changes.event(more["name"]), row_id)])
        elif kind == "fields":
            change_fields(ids[what], stored[ids[what]], more)
        elif kind == "wait":
            now += timedelta(hours=what)
        else:
            segments[0].rule, segments[0].audience = what, more
            definitions.save(segments[0])
        while filling.fill_next():
            pass
        settle(now)
        for segment in segments:
            members = Membership.objects.filter(segment=segment)
            found = sorted(members.values_list("customer_id", flat=True))
            assert found == expected(segment.rule, segment.audience, stored, now)


def change_fields(customer_id, person, values):
    old = person["fields"]
    changed = {n for n in old.keys() | values.keys() if old.get(n) != values.get(n)}
    person["fields"] = dict(values)
    put_fields(customer_id, values)
    changes.record(changes.Fact(customer_id, changes.field(name)) for name in sorted(changed))

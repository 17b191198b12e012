"""The engine through random histories: whatever happens, and whatever time it is, it is exact.

After every step: what was kept up step by step equals a full evaluation, an evaluation as of now,
and the oracle; sizes equal the members there are; and no re-check is late.
"""

import contextlib
from datetime import timedelta

from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp import identities
from customers import changes, merging, unmerging
from customers import clock as database_clock
from customers.models import Consent, Customer, Identifier, Merge
from events.models import Event, Source
from segments import definitions, erasure, filling, memberships, preview
from segments.models import Membership, MembershipChange, Recheck, Segment
from tests.makers import NOON
from tests.segments import histories, oracle
from tests.segments.test_engine import (
    EXAMPLES,
    ZONE,
    add_event,
    clear,
    instants_of_interest,
    put_fields,
    store,
    thorough,
    vocabulary,
)

assert vocabulary
TICK = timedelta(microseconds=1)
who = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("event"), who, histories.events),
    st.tuples(st.just("same"), who, histories.events),
    st.tuples(st.just("fields"), who, histories.field_values),
    st.tuples(st.just("clear"), who, st.sampled_from([*histories.FIELDS])),
    st.tuples(st.just("wait"), st.sampled_from([1, 12, 24, 36, 60]), st.none()),
    st.tuples(st.just("boundary"), st.integers(0, 5), st.sampled_from([-TICK, TICK, 0 * TICK])),
    st.tuples(st.just("rule"), histories.rules, histories.audiences),
    st.tuples(st.just("join"), who, who),
    st.tuples(st.just("separate"), st.integers(0, 1), st.none()),
    st.tuples(st.just("channel"), st.sampled_from([*histories.SOURCES]), st.none()),
    st.tuples(st.just("forget"), who, st.none()),
    st.tuples(st.just("by hand"), who, st.booleans()),
)


class World:
    """Three people, the segments, and what should be true of them."""

    def __init__(self, people, monkeypatch):
        clear()
        Source.objects.filter(key="web").update(channel="online")
        Source.objects.filter(key="till").update(channel="offline")
        definitions._looked_at.clear()
        self.now = NOON - timedelta(days=4)
        monkeypatch.setattr(database_clock, "now", lambda: self.now)
        self.people = store(people, self.now)
        self.ids = list(self.people)
        for pk in self.ids:
            Identifier.objects.create(kind="anonymous_id", value=str(pk), customer_id=pk)
            if name := self.people[pk]["customer_id"]:
                Identifier.objects.create(kind="customer_id", value=name, customer_id=pk)
        self.segments = []
        self.by_hand = Segment(key="by-hand", name="By hand", kind="static")
        definitions.save(self.by_hand)

    def add(self, rule, audience):
        key = f"s{len(self.segments)}"
        segment = Segment(key=key, name=key, rule=rule, audience=audience)
        definitions.save(segment)
        self.segments.append(segment)

    def current(self, n):
        """The customer who is now the nth of those there were, if not forgotten."""
        customer = Customer.objects.filter(pk=self.ids[n]).first()
        while customer and customer.merged_into_id:
            customer = Customer.objects.get(pk=customer.merged_into_id)
        return customer and customer.pk

    # What may happen

    def event(self, n, event):
        if pk := self.current(n):
            row_id = add_event(pk, self.people[pk], event, self.now)
            changes.record([changes.Fact(pk, changes.event(event["name"]), row_id)])

    def same(self, n, event):
        """An event at the very instant of another."""
        pk = self.current(n)
        if pk and self.people[pk]["events"]:
            self.event(n, event | {"at": self.people[pk]["events"][-1]["at"]})

    def fields(self, n, values):
        if pk := self.current(n):
            self._write(pk, dict(values))

    def clear(self, n, name):
        if pk := self.current(n):
            self._write(pk, {k: v for k, v in self.people[pk]["fields"].items() if k != name})

    def _write(self, pk, values):
        old = self.people[pk]["fields"]
        self.people[pk]["fields"] = values
        put_fields(pk, values)
        changed = sorted(n for n in old.keys() | values.keys() if old.get(n) != values.get(n))
        changes.record(changes.Fact(pk, changes.field(name)) for name in changed)

    def wait(self, hours, _):
        self.now += timedelta(hours=hours)

    def boundary(self, n, distance):
        """Jump to where something may turn: on it, just before it, just after it."""
        due = [*Recheck.objects.order_by("due_at").values_list("due_at", flat=True)[: n + 1]]
        if due:
            self.now = max(self.now, due[-1] + distance)

    def rule(self, rule, audience):
        self.segments[0].refresh_from_db()
        self.segments[0].rule, self.segments[0].audience = rule, audience
        definitions.save(self.segments[0])

    def join(self, n, m):
        one, other = self.current(n), self.current(m)
        if one and other and one != other:
            one, other = Customer.objects.get(pk=one), Customer.objects.get(pk=other)
            with contextlib.suppress(merging.CannotJoinError):
                identities.join(one, other, by="a test")
            self.read()

    def separate(self, n, _):
        merges = [*Merge.objects.filter(undone_at=None).order_by("at", "id")]
        if merges:
            with contextlib.suppress(unmerging.CannotSeparateError):
                identities.undo(merges[min(n, len(merges) - 1)], by="a test")
            self.read()

    def channel(self, key, _):
        source = Source.objects.get(key=key)
        source.channel = "offline" if source.channel == "online" else "online"
        source.save()
        self.read()

    def forget(self, n, _):
        pk = self.current(n)
        if pk and not Customer.objects.filter(merged_into=pk).exists():
            with transaction.atomic():
                erasure.forget([pk])
                Event.objects.filter(customer=pk).delete()
                Identifier.objects.filter(customer=pk).delete()
                Customer.objects.filter(pk=pk).delete()
            del self.people[pk]

    def by_hand_(self, n, enters):
        if pk := self.current(n):
            act = definitions.add_members if enters else definitions.remove_members
            act(self.by_hand, [pk])

    def read(self):
        """Read people anew from the tables of identities and events, which others test."""
        old = {e["order"]: e for person in self.people.values() for e in person["events"]}
        old |= getattr(self, "every", {})
        self.every = old
        channel_of = dict(Source.objects.values_list("key", "channel"))
        self.people = {
            customer.pk: {
                "customer_id": customer.external_id,
                "seen": (customer.first_seen_at, customer.last_seen_at),
                "fields": {
                    name: oracle._instant(value, ZONE) if name == "renewal" else value
                    for name, value in [*customer.fields.items(), *consents(customer)]
                },
                "events": [
                    old[e.id] | {"channel": channel_of[old[e.id]["source"]]}
                    for e in customer.events.order_by("id")
                ],
            }
            for customer in Customer.objects.filter(merged_into=None)
        }

    # What must be true

    def belongs(self, segment, pk, moment):
        known = {one.key: {"rule": one.rule, "audience": one.audience} for one in self.segments}
        person = self.people[pk]
        return oracle.belongs(segment.rule, segment.audience, person, moment, ZONE, known)

    def settle(self):
        """Run the stages until nothing is waiting."""
        for _ in range(50):
            filled = filling.fill_next()
            ticked = memberships.recheck_due(self.now, 100)
            facts = changes.claim(100)
            with transaction.atomic():
                memberships.refresh(facts)
            if not (filled or ticked or facts):
                return
        raise AssertionError("the re-checks never come to rest")

    def check(self):
        sizes = memberships.sizes([s.pk for s in [*self.segments, self.by_hand]])
        for segment in self.segments:
            members = Membership.objects.filter(segment=segment)
            found = sorted(members.values_list("customer_id", flat=True))
            wanted = [pk for pk in sorted(self.people) if self.belongs(segment, pk, self.now)]
            assert found == wanted, (segment.rule, self.now)
            as_of = preview.preview(segment.rule, segment.audience, as_of=self.now, members=True)
            assert as_of.members == wanted
            assert sizes[segment.pk] == len(wanted)
            self.check_rechecks(segment, wanted)
        assert sizes[self.by_hand.pk] == Membership.objects.filter(segment=self.by_hand).count()
        self.check_history()

    def check_rechecks(self, segment, members):
        """No later than the next instant at which the oracle changes its mind."""
        due = dict(Recheck.objects.filter(segment=segment).values_list("customer_id", "due_at"))
        assert all(at > self.now for at in due.values())
        for pk, person in self.people.items():
            for moment in self.instants(person, segment.rule):
                if self.belongs(segment, pk, moment) != (pk in members):
                    assert pk in due, (pk, moment)
                    assert due[pk] <= moment, (pk, moment)
                    break

    def instants(self, person, rule):
        later = instants_of_interest({0: person}, rule)
        return [moment for moment in later if moment > self.now][:12]

    def check_history(self):
        """Whoever is in has entered once more often than left."""
        balance = {}
        for row in MembershipChange.objects.all():
            key = row.customer_id, row.segment_id
            balance[key] = balance.get(key, 0) + (1 if row.entered else -1)
        members = {*Membership.objects.values_list("customer_id", "segment_id")}
        assert {key for key, n in balance.items() if n == 1} == members
        assert set(balance.values()) <= {0, 1}


def consents(customer):
    for purpose, granted in Consent.objects.filter(customer=customer).values_list(
        "purpose", "granted"
    ):
        yield f"@consent.{purpose}", granted


@settings(thorough, max_examples=1 + EXAMPLES * 6 // 10)  # each of them is many steps
@given(
    people=st.lists(histories.people, min_size=3, max_size=3),
    rules=st.lists(st.tuples(histories.rules, histories.audiences), min_size=2, max_size=3),
    history=st.lists(steps, min_size=1, max_size=8),
)
def test_memberships_are_exact_after_whatever_happens(
    vocabulary, monkeypatch, people, rules, history
):
    world = World(people, monkeypatch)
    for rule, audience in rules:
        world.add(rule, audience)
    world.add({"all": [{"not": {"segment": "s0"}}, {"segment": "s1"}]}, "everyone")
    for kind, what, more in history:
        getattr(world, "by_hand_" if kind == "by hand" else kind)(what, more)
        world.settle()
        world.check()

"""The text of each message, written once, when the membership changes."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from activation.models import On, Trigger
from activation.sql import causes
from customers import exact
from customers.models import ConsentPurpose
from segments.memberships import Transition


class Wish(NamedTuple):
    """What of a trigger stands in its messages, where they go, and what keeps them back."""

    trigger_id: int
    key: str
    on: str
    is_enabled: bool
    destination_id: int
    segment_id: int
    segment_key: str
    segment_name: str
    stay_for: int | None
    stay_unit: str
    at_most: str
    purpose: str
    quiet_from: time | None
    quiet_until: time | None
    quiet_zone_field: str
    quiet_then: str
    destination_kind: str
    channel: str  # of the purpose

    @property
    def stay(self) -> timedelta | None:
        return timedelta(**{self.stay_unit: self.stay_for}) if self.stay_for else None

    def wants(self, transition: Transition) -> bool:
        """Whether it waits for this change; nobody stays by a change: see `stays`."""
        on = On.ENTER if transition.entered else On.LEAVE
        return self.is_enabled and self.on == on and self.segment_id == transition.segment_id


class Occasion(NamedTuple):
    """A reason to send a message: a trigger, and the change of membership it waited for.

    With `stay`, the change is the entry, at the instant at which it has lasted long enough.
    """

    wish: Wish
    transition: Transition


class Written(NamedTuple):
    """A message; `caused_at` is when its event was received, or when it became true by time."""

    occasion: Occasion
    body: str
    caused_at: datetime


def wish_of(trigger: Trigger) -> Wish:
    segment = trigger.segment
    purpose = (
        ConsentPurpose.objects.filter(key=trigger.purpose).first() if trigger.purpose else None
    )
    return Wish(
        trigger.pk,
        trigger.key,
        trigger.on,
        trigger.is_enabled,
        trigger.destination_id,
        segment.pk,
        segment.key,
        segment.name,
        trigger.stay_for,
        trigger.stay_unit,
        trigger.at_most,
        trigger.purpose,
        trigger.quiet_from,
        trigger.quiet_until,
        trigger.quiet_zone_field,
        trigger.quiet_then,
        trigger.destination.kind,
        purpose.channel if purpose else "",
    )


def write(occasions: Sequence[Occasion], *, is_test: bool = False) -> Iterator[Written]:
    """Write the bodies for these occasions, leaving out customers that no longer exist.

    Reads everything at once, in a number of queries that does not grow with the occasions.
    Numbers keep all their digits.
    """
    transitions = [occasion.transition for occasion in occasions]
    customers = _customers({transition.customer_id for transition in transitions})
    events = _events(transitions)
    entered_at = _entered_at(transitions)
    for occasion in occasions:
        transition = occasion.transition
        if transition.customer_id in customers:
            data = {
                "trigger": exact.dumps(occasion.wish.key),
                "segment": exact.dumps(
                    {"key": occasion.wish.segment_key, "name": occasion.wish.segment_name}
                ),
                "customer": customers[transition.customer_id],
                "membership": _membership(occasion, entered_at),
                "event": events.get(transition.event_id, _NO_EVENT).text,
            }
            if occasion.wish.purpose:
                data["consent"] = exact.dumps(occasion.wish.purpose)
            if is_test:
                data["test"] = "true"
            body = envelope(_type(occasion), transition.at, data)
            yield Written(occasion, body, _caused_at(occasion, events))


def envelope(kind: str, at: datetime, data: dict[str, str]) -> str:
    """Write a message around members that are JSON text already."""
    return _object(
        {"type": exact.dumps(kind), "timestamp": exact.dumps(_utc(at)), "data": _object(data)}
    )


def _type(occasion: Occasion) -> str:
    if occasion.wish.stay:
        return "segment.stayed"
    return "segment.entered" if occasion.transition.entered else "segment.left"


def _caused_at(occasion: Occasion, events: "dict[int | None, _Told]") -> datetime:
    transition = occasion.transition
    received_at = events.get(transition.event_id, _NO_EVENT).received_at
    return transition.at if occasion.wish.stay else received_at or transition.at


def _customers(customer_ids: Collection[int]) -> dict[int, str]:
    """Write each customer, as the JSON that stands in all their messages."""
    known_by: dict[int, list[Any]] = defaultdict(list)
    for customer_id, kind, value in causes.read_identifiers([*customer_ids]):
        known_by[customer_id].append({"kind": kind, "value": value})
    return {
        customer_id: _object(
            {
                "id": str(customer_id),
                "customer_id": exact.dumps(external_id),
                "identifiers": exact.dumps(known_by[customer_id]),
                "fields": fields,
            }
        )
        for customer_id, external_id, fields in causes.read_customers([*customer_ids])
    }


class _Told(NamedTuple):
    text: str
    received_at: datetime | None


_NO_EVENT = _Told("null", None)


def _events(transitions: Sequence[Transition]) -> dict[int | None, _Told]:
    wanted = [(t.customer_id, t.event_id) for t in transitions if t.event_id is not None]
    if not wanted:
        return {}
    rows = causes.read_events([c for c, _ in wanted], [e for _, e in wanted])
    events = [_Event(*row) for row in rows]
    return {event.id: _Told(_event(event), event.received_at) for event in events}


class _Event(NamedTuple):
    id: int
    message_id: str
    name: str
    occurred_at: datetime
    received_at: datetime
    source: str | None
    channel: str | None
    amount: Decimal | None
    currency: str | None
    properties: str  # JSON


def _event(event: _Event) -> str:
    plain = event._asdict() | {
        "occurred_at": _utc(event.occurred_at),
        "received_at": _utc(event.received_at),
    }
    del plain["properties"]
    members = {key: exact.dumps(value) for key, value in plain.items()}
    return _object(members | {"properties": event.properties})


def _entered_at(transitions: Sequence[Transition]) -> dict[tuple[int, int, int], datetime]:
    """Find out since when those who left had been in."""
    left = [(t.segment_id, t.customer_id, t.entry_no) for t in transitions if not t.entered]
    if not left:
        return {}
    segment_ids, customer_ids, entry_nos = zip(*left, strict=True)
    rows = causes.read_entries(segment_ids, customer_ids, entry_nos)
    return {(segment, customer, entry_no): at for segment, customer, entry_no, at in rows}


def _membership(occasion: Occasion, entered_at: dict[tuple[int, int, int], datetime]) -> str:
    transition, stay = occasion.transition, occasion.wish.stay
    members: dict[str, Any] = {"entry_no": transition.entry_no, "cause": str(transition.cause)}
    if transition.entered:
        began_at = transition.at - stay if stay else transition.at
        return exact.dumps({"entered_at": _utc(began_at), **members})
    since = entered_at.get((transition.segment_id, transition.customer_id, transition.entry_no))
    span = {"entered_at": since and _utc(since), "left_at": _utc(transition.at)}
    return exact.dumps({**span, **members})


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f'"{key}":{text}' for key, text in members.items()) + "}"


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

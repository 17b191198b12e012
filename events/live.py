"""The live view: what arrives at this moment, taken or rejected."""

import heapq
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from django.db.models import Q

from customers import identity, masking
from customers.models import Identifier
from events.models import Event, EventName, Quarantine, Source

SHOWN = 100
AMONG = 20_000  # of the latest events those of one source or name are looked for


class Line(NamedTuple):
    """Something that arrived. `problem` says why it was rejected; taken events have a customer."""

    at: datetime
    name: str
    source: str
    payload: str
    customer: Any = None
    amount: Any = None
    currency: str | None = None
    problem: str = ""
    rejected_id: int = 0


def lines(source: str = "", name: str = "", state: str = "", customer: str = "") -> list[Line]:
    """Return what arrived last, the newest first.

    `source` is the key of a source, `name` that of an event, `customer` a CustomerId or an e-mail
    address; `state` is "", "taken" or "rejected". What was rejected has neither name nor customer.
    """
    taken = iter(()) if state == "rejected" else _taken(source, name, customer.strip())
    rejected = iter(()) if state == "taken" or name or customer.strip() else _rejected(source)
    merged = heapq.merge(taken, rejected, key=lambda line: line.at, reverse=True)
    return [*islice(merged, SHOWN)]


def _taken(source: str, name: str, customer: str) -> Iterator[Line]:
    rows = Event.objects.order_by("-id").select_related("name", "source", "customer")
    if customer:
        rows = rows.filter(customer__in=_who(customer))
    elif source or name:
        latest = Event.objects.order_by("-id").values_list("id", flat=True)[:1]
        rows = rows.filter(id__gt=(latest[0] if latest else 0) - AMONG)
    if source:
        rows = rows.filter(source__in=[*Source.objects.filter(key=source).values_list("pk")])
    if name:
        rows = rows.filter(name__in=[*EventName.objects.filter(name=name).values_list("pk")])
    for row in rows[:SHOWN]:
        told = {"messageId": row.message_id, "properties": row.properties, "context": row.context}
        yield Line(
            row.received_at,
            row.name.name,
            row.source.name,
            _pretty(masking.current().json(told, inside=True)),
            row.customer,
            row.amount,
            row.currency,
        )


def _who(customer: str) -> list[int]:
    """Return who has this CustomerId or e-mail address."""
    kinds = (identity.CUSTOMER_ID, identity.EMAIL)
    keys = ((kind, identity.normalise(kind, customer)) for kind in kinds)
    known = Q(pk__in=[])
    for kind, key in keys:
        known |= Q(kind=kind, value=key or "")
    return [*Identifier.objects.filter(known).values_list("customer_id", flat=True)]


def _rejected(source: str) -> Iterator[Line]:
    rows = Quarantine.objects.order_by("-id").filter(replayed_at=None).prefetch_related("source")
    if source:
        rows = rows.filter(source__key=source)
    for row in rows[:SHOWN]:
        name = row.source.name if row.source else "a deleted source"
        yield Line(
            *(row.received_at, name_of(row.body), name, readable(masking.current().raw(row.body))),
            problem=row.message,
            rejected_id=row.pk,
        )


def name_of(body: str) -> str:
    """Say which event it was, as far as one can tell."""
    try:
        event = json.loads(body)
    except ValueError:
        return "could not be read"
    if not isinstance(event, dict):
        return "is no event"
    return str(event.get("event") or event.get("type") or "")[:80]


def readable(body: str) -> str:
    """Lay JSON out for people; anything else as it is."""
    try:
        return _pretty(json.loads(body))
    except ValueError:
        return body


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)

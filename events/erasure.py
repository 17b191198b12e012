"""Forgetting: what this floor keeps of customers, and sources with all that came from them."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from django.db.models import Exists, OuterRef

from customers import changes, identity, tombstones
from customers.erasure import Traces
from events import cleaning, payload
from events.models import (
    Allowance,
    DiscoveredField,
    Event,
    EventName,
    EventProperty,
    Inbox,
    Quarantine,
    Receipt,
    Source,
    Waiting,
)
from events.sql import quarantined, queue, vocabulary

TELLING: Final = 8  # characters of an identifier that is somebody's wherever it stands
EVERYTHING = "everything"  # the fact that all segments of a customer must be looked at


def forget(customer_ids: Collection[int]) -> None:
    """Remove the events of these customers. A late copy of one is still known as a copy.

    Call it inside a transaction, after the floors above have forgotten them.
    """
    vocabulary.forget_examples(sorted(customer_ids))
    Event.objects.filter(customer__in=customer_ids).delete()


def forget_traces(traces: Traces) -> int:
    """Remove what waits or was set aside and is of somebody who is erased; return how many events.

    What others are receiving at this moment is theirs to leave out.
    """
    texts = sorted({form for text in traces.addresses for form in _written(text)})
    found = 0
    for row_id, call, body in queue.lock_inbox_with([text.encode() for text in texts]):
        kept, removed = _without(bytes(body), call, traces)
        found += removed
        if kept is None:
            Inbox.objects.filter(pk=row_id).delete()
        elif removed:
            Inbox.objects.filter(pk=row_id).update(body=kept)
    guilty = [
        row_id
        for row_id, call, body in quarantined.select_quarantined_with(texts)
        if _without(body.encode(), call, traces)[1]
    ]
    Quarantine.objects.filter(pk__in=guilty).delete()
    told = [json.dumps(value, ensure_ascii=False) for value in traces.values]
    DiscoveredField.objects.filter(example__in=[*traces.values, *told]).update(example="")
    return found + len(guilty)


def _written(text: str) -> set[str]:
    """Return how JSON may write a text: with its characters, or with escapes."""
    return {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (False, True)}


def _without(body: bytes, call: str, traces: Traces) -> tuple[bytes | None, int]:
    """Return a request without the events of somebody, None if nothing is left; and how many."""
    try:
        value, _ = payload.read(body)
    except payload.MalformedError:
        return None, 1
    if not isinstance(value, dict) or not isinstance(value.get("batch"), list):
        return (None, 1) if _is_of(value, call, traces) else (body, 0)
    kept = [event for event in value["batch"] if not _is_of(event, call, traces)]
    removed = len(value["batch"]) - len(kept)
    return (payload.write({**value, "batch": kept}) if kept else None), removed


def _is_of(event: Any, call: str, traces: Traces) -> bool:
    """Whether an event is somebody's: it names them, or speaks of an address of theirs."""
    if not isinstance(event, dict):
        return False
    keys = cleaning.identifiers(event, str(event.get("type") or call))
    if tombstones.is_barred(keys, traces.keys):
        return True
    if any(kind == identity.CUSTOMER_ID for kind, _ in keys):
        return False
    text = payload.write(payload.scrub(event)).decode()
    return any(
        f'"{form}"' in text
        for address in traces.addresses
        if len(address) >= TELLING
        for form in _written(address)
    )


def forget_sources(source_ids: Collection[int]) -> None:
    """Remove sources with everything that came from them; their keys are refused from now on.

    Customers stay, and those who lose events are queued for the segments. Call it inside a
    transaction.
    """
    Source.objects.filter(pk__in=source_ids).delete()
    events = Event.objects.filter(source__in=source_ids)
    losers = {*events.values_list("customer_id", flat=True)}
    events.delete()
    for model in (Allowance, Inbox, Receipt, Quarantine, DiscoveredField, Waiting):
        model.objects.filter(source__in=source_ids).delete()
    changes.record(changes.Fact(customer_id, EVERYTHING) for customer_id in sorted(losers))


def forget_unused_names(since: datetime) -> None:
    """Take out of the catalogue what was learned since then, but names that events bear.

    Properties that still come are learned again within the hour.
    """
    EventProperty.objects.filter(first_seen_at__gte=since).delete()
    is_used = Exists(Event.objects.filter(name=OuterRef("pk")))
    EventName.objects.filter(~is_used, first_seen_at__gte=since).delete()

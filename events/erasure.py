"""Forgetting: what this floor keeps of customers, and sources with all that came from them."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
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


def forget_traces(of_each: Mapping[int, Traces]) -> Counter[int]:
    """Remove what waits or was set aside and is of persons who are erased.

    Returns how many events that were of each. What others are receiving at this moment is theirs to
    leave out.
    """
    addresses = {text for traces in of_each.values() for text in traces.addresses}
    texts = sorted({form for text in addresses for form in _written(text)})
    found: Counter[int] = Counter()
    for row_id, call, body in queue.lock_inbox_with([text.encode() for text in texts]):
        kept, removed = _without(bytes(body), call, of_each)
        found += removed
        if kept is None:
            Inbox.objects.filter(pk=row_id).delete()
        elif removed:
            Inbox.objects.filter(pk=row_id).update(body=kept)
    guilty = {}
    for row_id, call, body in quarantined.select_quarantined_with(texts):
        if removed := _without(body.encode(), call, of_each)[1]:
            guilty[row_id] = next(iter(removed))
    found += Counter(guilty.values())
    Quarantine.objects.filter(pk__in=guilty).delete()
    values = {text for traces in of_each.values() for text in traces.values}
    told = [json.dumps(value, ensure_ascii=False) for value in values]
    DiscoveredField.objects.filter(example__in=[*values, *told]).update(example="")
    return found


def _written(text: str) -> set[str]:
    """Return how JSON may write a text: with its characters, or with escapes."""
    return {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (False, True)}


def _without(
    body: bytes, call: str, of_each: Mapping[int, Traces]
) -> tuple[bytes | None, Counter[int]]:
    """Return a request without the events of persons, None if nothing is left; and how many."""
    try:
        value, _ = payload.read(body)
    except payload.MalformedError:
        return None, Counter([_named_in(body, of_each)])
    if not isinstance(value, dict) or not isinstance(value.get("batch"), list):
        owner = _owner(value, call, of_each)
        return (body, Counter()) if owner is None else (None, Counter([owner]))
    owners = [_owner(event, call, of_each) for event in value["batch"]]
    kept = [event for event, owner in zip(value["batch"], owners, strict=True) if owner is None]
    removed = Counter(owner for owner in owners if owner is not None)
    return (payload.write({**value, "batch": kept}) if kept else None), removed


def _named_in(body: bytes, of_each: Mapping[int, Traces]) -> int:
    """Return the first of whom an address stands in a request that cannot be read."""
    found = (
        person
        for person, traces in of_each.items()
        if any(form.encode() in body for text in traces.addresses for form in _written(text))
    )
    return next(found, next(iter(of_each)))


def _owner(event: Any, call: str, of_each: Mapping[int, Traces]) -> int | None:
    """Return whose an event is: whom it names, or of whose address it speaks."""
    if not isinstance(event, dict):
        return None
    keys = cleaning.identifiers(event, str(event.get("type") or call))
    for person, traces in of_each.items():
        if tombstones.is_barred(keys, traces.keys):
            return person
    if any(kind == identity.CUSTOMER_ID for kind, _ in keys):
        return None
    text = payload.write(payload.scrub(event)).decode()
    for person, traces in of_each.items():
        if any(f'"{form}"' in text for form in _telling(traces)):
            return person
    return None


def _telling(traces: Traces) -> Iterator[str]:
    """Yield addresses that are somebody's wherever they stand, as JSON may write them."""
    for address in traces.addresses:
        if len(address) >= TELLING:
            yield from _written(address)


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

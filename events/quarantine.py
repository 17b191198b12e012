"""Events we could not take: kept with the reason, and sent through again once that is mended."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from django.db import transaction

from events import cleaning, payload
from events.cleaning import Envelope
from events.sql import quarantined, queue

FIELD_TYPE: Final = "field_type"
WITHHELD: Final = "withheld"
OF_A_TRAIT: Final = (FIELD_TYPE, WITHHELD)  # the call was taken, but for one trait


class Rejected(NamedTuple):
    """An event, or what of it, that cannot be taken, and why."""

    source_id: int
    received_at: datetime
    call: str
    code: str
    message: str
    event: Any


def reject(raw: Any, envelope: Envelope, code: str, message: str) -> Rejected:
    """Say why an event is not taken, and keep with it what its envelope said."""
    event = raw
    if isinstance(raw, dict):
        event = {"context": envelope.context, "sentAt": envelope.sent_at, **raw}
        if envelope.call in cleaning.CALLS:
            event = {"type": envelope.call, **event}
    call = cleaning.HISTORICAL if envelope.is_historical else envelope.call
    return Rejected(envelope.source.pk, envelope.received_at, call, code, message, event)


def add(rejected: Sequence[Rejected]) -> None:
    """Set these events aside, for people to see, in the caller's transaction.

    One that is there already and names the same messageId is a copy, and left out.
    """
    if rejected:
        rows = [(*row[:5], _written(row.event), _digest(row)) for row in rejected]
        quarantined.insert_quarantined(rows)


def _digest(row: Rejected) -> int | None:
    """Return what copies of an event have in common; None where they cannot be told from others."""
    if not isinstance(row.event, dict) or not row.event.get("messageId"):
        return None
    event = {name: value for name, value in row.event.items() if name != "sentAt"}
    content = payload.write(payload.scrub([row.call, row.code, event]))
    return int.from_bytes(blake2b(content, digest_size=8).digest(), signed=True)


def _written(event: Any) -> str:
    if isinstance(event, bytes):
        return str(payload.scrub(event.decode(errors="replace")))
    return payload.write(payload.scrub(event)).decode()


def replay(ids: Sequence[int]) -> int:
    """Send these events through the pipeline again; return how many had not been yet.

    They keep the time at which they were received. What still cannot be taken comes back with a
    new reason.
    """
    with transaction.atomic():
        rows = quarantined.take_quarantined(ids)
        for quarantine_id, source_id, received_at, call, code, body in rows:
            request = _request(body, f"replay-{quarantine_id}" if code in OF_A_TRAIT else None)
            queue.insert_inbox(source_id, call, request, received_at)
    return len(rows)


def _request(body: str, message_id: str | None) -> bytes:
    """Return a batch of the one event; with a new id where the event itself was taken before."""
    try:
        event = payload.read(body.encode()).value
    except payload.MalformedError:
        return body.encode()
    if message_id and isinstance(event, dict):
        event |= {"messageId": message_id}
    return payload.write({"batch": [event]})

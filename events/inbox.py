"""Requests as they came: accepted at once, turned into events by the pipeline."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from django.db import Error

from events import cleaning, limits, mail, mapping, payload, quarantine, store
from events.cleaning import Envelope, Message, RefusedError
from events.mail import recipients, reports
from events.models import Source
from events.quarantine import Rejected
from events.sql import queue

MAX_BYTES: Final = 4 * 1024 * 1024  # of requests that one batch takes, or one request if larger
AT_ONCE: Final = 1_000  # events that are stored together

logger = logging.getLogger(__name__)


def accept(write_key: str, call: str, body: bytes) -> bool:
    """Put a request into the inbox of the source with this key; False if no source has it.

    One statement: outside a transaction, the request is durable on return. `body` is JSON.
    """
    is_known = queue.insert_inbox_by_key(write_key, call, body)
    if is_known:
        _wake()
    return is_known


def _wake() -> None:
    """Wake the pipeline, apart from the request: transactions that notify commit one by one.

    Within the request's own, that would cost nine tenths of what the disk can do.
    """
    try:
        queue.notify()
    except Error:
        # The request is stored and must be answered so; the pipeline looks every second.
        logger.warning("the pipeline could not be woken", exc_info=True)


def accept_for(source: Source, call: str, body: bytes, received_at: datetime | None = None) -> None:
    """Put a request into the inbox on behalf of a source, in the caller's transaction."""
    queue.insert_inbox(source.pk, call, body, received_at)


def process(limit: int) -> int:
    """Turn up to `limit` waiting requests into events; return how many were taken.

    Each event is stored once or, with the reason, set aside; none holds up another. Call it
    inside a transaction: the requests leave the inbox when it commits.
    """
    requests = [_Request(*row) for row in queue.take_inbox(limit, MAX_BYTES)]
    if not requests:
        return 0
    sources = Source.objects.in_bulk({request.source_id for request in requests})
    senders = {pk: _Sender(source, mapping.of(source.mapping)) for pk, source in sources.items()}
    events = (event for request in requests for event in _unpack(request, senders))
    while chunk := [*islice(events, AT_ONCE)]:
        _process(chunk)
    return len(requests)


def set_aside(error: str) -> None:
    """Keep the oldest request out of the queue, with the error that it met."""
    queue.set_inbox_aside(error or "unknown")


class _Request(NamedTuple):
    source_id: int
    received_at: datetime
    call: str
    body: bytes


class _Sender(NamedTuple):
    source: Source
    mapper: mapping.Mapper


class _Event(NamedTuple):
    """One event of a request as it came; without an envelope, why it cannot be taken."""

    raw: Any
    envelope: Envelope | Rejected


def _unpack(request: _Request, senders: Mapping[int, _Sender]) -> Iterator[_Event]:
    """Yield the events of a request, or the request itself as something to set aside."""
    source_id, received_at, call, body = request
    sender = senders.get(source_id)
    try:
        value, is_plain = payload.read(body)
    except payload.MalformedError as error:
        reason = ("malformed", str(error))
        yield _Event(body, Rejected(source_id, received_at, call, *reason, bytes(body)))
        return
    if sender is None:
        reason = ("source_deleted", "The source was deleted.")
        yield _Event(value, Rejected(source_id, received_at, call, *reason, value))
        return
    if call == mail.REPORT:
        yield from _report(request, sender.source, value)
        return
    outer = value if isinstance(value, dict) and isinstance(value.get("batch"), list) else {}
    context = outer.get("context")
    envelope = Envelope(
        source=sender.source,
        call=call,
        received_at=received_at,
        is_plain=is_plain,
        is_small=is_plain and limits.are_kept(body),
        is_historical=cleaning.HISTORICAL in (call, outer.get("type")),
        sent_at=outer.get("sentAt"),
        context=context if isinstance(context, dict) else {},
        mapper=sender.mapper,
    )
    for raw in outer.get("batch", [value]):
        yield _Event(raw, envelope)


def _report(request: _Request, source: Source, packed: Any) -> Iterator[_Event]:
    """Yield the events that an e-mail tool reports, or the report as something to set aside."""
    envelope = Envelope(source=source, call=mail.EVENTS, received_at=request.received_at)
    try:
        for raw in reports.events(source, packed):
            yield _Event(raw, envelope)
        code, reason = "confirm", reports.confirmation(packed)
        if not reason:
            return
        reason = f"Amazon reports nothing before somebody opens this link: {reason}"
    except reports.UnreadableError as error:
        code, reason = "unreadable", str(error)
    yield _Event(
        packed, Rejected(source.pk, request.received_at, mail.REPORT, code, reason, packed)
    )


def _process(events: Iterable[_Event]) -> None:
    """Clean a few events and store them; set aside those that cannot be taken."""
    messages: list[Message] = []
    rejected: list[Rejected] = []
    for raw, envelope in events:
        if isinstance(envelope, Rejected):
            rejected.append(envelope)
            continue
        try:
            messages.append(_clean(raw, envelope))
        except RefusedError as error:
            rejected.append(quarantine.reject(raw, envelope, error.code, str(error)))
        except Exception as error:
            # A fault of ours, found by this event: its neighbours must not suffer from it.
            logger.exception("an event of source %s cannot be read", envelope.source.pk)
            fault = f"{type(error).__name__}: {str(error)[:300]}"
            rejected.append(quarantine.reject(raw, envelope, "unreadable", fault))
    quarantine.add(rejected)
    ready = recipients.settle(messages)
    if ready:
        store.store(ready)


def _clean(raw: Any, envelope: Envelope) -> Message:
    if not envelope.source.is_enabled:
        raise RefusedError("source_disabled", "The source is switched off.")
    return cleaning.clean(raw, envelope)

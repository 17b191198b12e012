"""What is sent, settled before it is sent: so every attempt sends the same bytes, whatever dies.

A text with gaps is filled by the sender, in a thread, and stored under the lease; only then is it
sent. What goes out as it was queued needs no more than a mark, which the lease writes.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from activation import destinations, flights
from activation.carriers import Message
from activation.flights import Flight
from activation.sql import sending

logger = logging.getLogger(__name__)


class Worded(NamedTuple):
    """A flight and its messages, one for each request, to a kind of destination."""

    kind: str
    flight: Flight
    messages: Sequence[Message]


def is_settled(message: Message) -> bool:
    """Whether it is known what is sent. Of a batch nothing is kept: other bytes, another id."""
    return len(message.parts) > 1 or bool(message.parts[0].sent)


def write(worded: Worded) -> list[str]:
    """Write the texts of a flight's messages, in a thread; fewer if that takes long."""
    texts: list[str] = []
    for message in worded.messages:
        if texts and time.monotonic() - worded.flight.began > flights.SECONDS:
            break
        texts.append("" if is_settled(message) else _words(worded.kind, message))
    return texts


def _words(kind: str, message: Message) -> str:
    try:
        return destinations.KINDS[kind].words(message)
    except Exception:  # the attempt will fail as well, and say why
        logger.debug("delivery %s has no words", message.id, exc_info=True)
        return ""


def settle(written: Sequence[tuple[Worded, Sequence[str]]]) -> Iterator[Worded]:
    """Store the texts of flights; return what of these may be sent now.

    The rest is given back, but for what is leased to another by now.
    """
    ours = _keep(written) if written else set()
    for worded, texts in written:
        kept = [
            (request, message if is_settled(message) else _with(message, text))
            for request, message, text in zip(
                worded.flight.requests, worded.messages, texts, strict=False
            )
            if len(request) > 1 or request[0].id in ours
        ]
        if kept:
            requests, messages = zip(*kept, strict=True)
            yield Worded(worded.kind, worded.flight._replace(requests=requests), messages)


@transaction.atomic
def _keep(written: Sequence[tuple[Worded, Sequence[str]]]) -> set[UUID]:
    rows, left = [], []
    for worded, texts in written:
        requests = worded.flight.requests
        for request, text in zip(requests, texts, strict=False):
            rows += [(one.id, one.token, text) for one in request if len(request) == 1]
        left += [one for request in requests[len(texts) :] for one in request]
    if left:
        sending.give_back([(one.id, one.token, one.is_fresh) for one in left])
    return sending.keep_words(rows) if rows else set()


def _with(message: Message, text: str) -> Message:
    return message._replace(parts=(message.parts[0]._replace(sent=text),))

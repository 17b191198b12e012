"""Clean messages become events of known customers, once each."""

import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.db import Error, transaction

from customers import arrays, changes, consent, identity, tombstones
from events import catalogue, holders, learning, quarantine, rehoming, sources, traits
from events.cleaning import Message
from events.mail import refusals
from events.models import Source
from events.sql import history

# Classes of SQLSTATE that are not the fault of the rows: lost connections, rollbacks, no resources.
_NOT_OURS: Final = ("08", "25", "40", "53", "55", "57", "58", "XX")


logger = logging.getLogger(__name__)


class Known(NamedTuple):
    """A message and whose it is."""

    customer_id: int
    message: Message


def store(messages: Sequence[Message]) -> None:
    """Store a batch, in order, and record what became known; duplicates are dropped.

    If the database refuses the batch, halves of it are tried, until the guilty message is alone:
    that one is set aside, its neighbours are stored. Call it inside a transaction.
    """
    try:
        with transaction.atomic():
            _store(messages)
    except Error as error:
        if not _is_refusal(error):
            raise
        if len(messages) == 1:
            (message,) = messages
            first_line, _, _ = str(error).partition("\n")
            reason = f"The database refused it: {first_line[:300]}"
            rejected = quarantine.reject(message.event, message.envelope, "refused", reason)
            quarantine.add([rejected])
        else:
            middle = len(messages) // 2
            store(messages[:middle])
            store(messages[middle:])


def _is_refusal(error: Error) -> bool:
    """Tell whether the database disliked what it was given, rather than was in trouble itself."""
    state = getattr(error.__cause__, "sqlstate", None)
    return state is not None and not state.startswith(_NOT_OURS)


def _store(messages: Sequence[Message]) -> None:
    new = _without_erased(_drop_duplicates(messages))
    if not new:
        return
    resolution = identity.resolve(_people(new), sources.protective_origins, holders.of(new))
    if resolution.merged:
        rehoming.follow(resolution.merged)
    known = [Known(*row) for row in zip(resolution.customer_ids, new, strict=True)]
    _insert([row for row in known if row.message.name is not None])
    _note_seen({row.customer_id for row in known if row.message.name is None})
    refusals.apply(known)
    _note_consents([row for row in known if row.message.consents])
    traits.apply([traits.Told(*row) for row in known if row.message.traits])


def _drop_duplicates(messages: Iterable[Message]) -> list[Message]:
    """Keep the first of each message that we have not had yet."""
    first_by_key: dict[tuple[int, str], Message] = {}
    for message in messages:
        first_by_key.setdefault((message.envelope.source.id, message.message_id), message)
    new = history.insert_receipts(sorted(first_by_key))
    return [message for key, message in first_by_key.items() if key in new]


def _without_erased(messages: Sequence[Message]) -> Sequence[Message]:
    """Leave out messages of people who were erased, and identifiers that were theirs."""
    out = tombstones.erased({key for message in messages for key in message.identifiers})
    if not out:
        return messages
    kept = [m for m in messages if not tombstones.is_barred(m.identifiers, out)]
    for message in kept:
        message.identifiers = tuple(key for key in message.identifiers if key not in out)
    if len(kept) < len(messages):
        logger.info("%s late messages of erased people left out", len(messages) - len(kept))
    return kept


def _people(messages: Sequence[Message]) -> list[identity.Person]:
    source_by_id = {message.envelope.source.id: message.envelope.source for message in messages}
    origin_of = {pk: sources.describe(source) for pk, source in source_by_id.items()}
    return [
        identity.Person(
            message.identifiers,
            min(message.occurred_at, message.envelope.received_at),
            f"{message.call} {message.message_id} from {origin_of[message.envelope.source.id]}",
        )
        for message in messages
    ]


def _insert(known: Sequence[Known]) -> None:
    if not known:
        return
    id_of_name = catalogue.ids({str(row.message.name) for row in known})
    event_ids = history.reserve_event_ids(len(known))
    rows = sorted(zip(known, event_ids, strict=True), key=lambda row: row[0].customer_id)
    history.copy_events(
        "".join(_row(row, id_of_name[str(row.message.name)], event_id) for row, event_id in rows)
    )
    learning.note(
        (id_of_name[str(row.message.name)], _object(row.message.event.get("properties")))
        for row in known
    )
    changes.record(
        changes.Fact(row.customer_id, changes.event(str(row.message.name)), event_id)
        for row, event_id in zip(known, event_ids, strict=True)
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _note_seen(customer_ids: Collection[int]) -> None:
    """Tell the segments who was seen without an event."""
    seen = changes.field("@seen")
    changes.record(changes.Fact(customer_id, seen) for customer_id in sorted(customer_ids))


def _note_consents(told: Sequence[Known]) -> None:
    """Record what customers agreed to, source after source."""
    decisions: dict[Source, list[consent.Decision]] = {}
    for customer_id, message in told:
        decisions.setdefault(message.envelope.source, []).extend(
            consent.Decision(
                customer_id,
                purpose,
                answer,
                message.occurred_at,
                text_version=str(message.event.get("textVersion") or ""),
                via=str(message.event.get("via") or ""),
            )
            for purpose, answer in message.consents.items()
        )
    for source, made in decisions.items():
        consent.record(made, source=sources.describe(source))


def _row(known: Known, name_id: int, event_id: int) -> str:
    """Write an event as a row for COPY."""
    message = known.message
    columns = (
        str(known.customer_id),
        str(event_id),
        str(name_id),
        str(message.envelope.source.id),
        arrays.escaped(message.message_id),
        arrays.escaped(traits.came_by(message)),
        arrays.written(message.occurred_at),
        arrays.written(message.envelope.received_at),
        r"\N" if message.amount is None else format(message.amount, "f"),
        message.currency or r"\N",
        message.properties.decode().replace("\\", "\\\\"),
        message.context.decode().replace("\\", "\\\\"),
    )
    return "\t".join(columns) + "\n"

"""Clean messages become events of known customers, once each."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.db import Error, transaction

from customers import changes, identity
from events import catalogue, payload, quarantine, sources, sql, traits
from events.cleaning import Message

# Classes of SQLSTATE that are not the fault of the rows: lost connections, rollbacks, no resources.
_NOT_OURS: Final = ("08", "25", "40", "53", "55", "57", "58", "XX")


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
            reason = f"The database refused it: {str(error).splitlines()[0][:300]}"
            (message,) = messages
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
    new = _drop_duplicates(messages)
    if not new:
        return
    resolution = identity.resolve([_person(message) for message in new])
    if resolution.merged:
        sql.move_events(sorted(resolution.merged.items()))
    known = [Known(*row) for row in zip(resolution.customer_ids, new, strict=True)]
    _insert([row for row in known if row.message.name is not None])
    _note_seen({row.customer_id for row in known if row.message.name is None})
    traits.apply([traits.Told(*row) for row in known if row.message.traits])


def _drop_duplicates(messages: Iterable[Message]) -> list[Message]:
    """Keep the first of each message that we have not had yet."""
    first_by_key: dict[tuple[int, str], Message] = {}
    for message in messages:
        first_by_key.setdefault((message.envelope.source.pk, message.message_id), message)
    new = sql.insert_receipts(sorted(first_by_key))
    return [message for key, message in first_by_key.items() if key in new]


def _person(message: Message) -> identity.Person:
    envelope = message.envelope
    seen_at = min(message.occurred_at, envelope.received_at)
    cause = f"{message.call} {message.message_id} from {sources.describe(envelope.source)}"
    return identity.Person(message.identifiers, seen_at, cause)


def _insert(known: Sequence[Known]) -> None:
    if not known:
        return
    id_of_name = catalogue.ids({str(row.message.name) for row in known})
    name_of_id = {name_id: name for name, name_id in id_of_name.items()}
    rows = [_row(row, id_of_name[str(row.message.name)]) for row in known]
    stored = sql.insert_events(payload.write(rows).decode())
    changes.record(
        changes.Fact(customer_id, changes.event(name_of_id[name_id]), event_id)
        for event_id, customer_id, name_id in stored
    )


def _note_seen(customer_ids: Collection[int]) -> None:
    """Tell the segments who was seen without an event."""
    seen = changes.field("@seen")
    changes.record(changes.Fact(customer_id, seen) for customer_id in sorted(customer_ids))


def _row(known: Known, name_id: int) -> dict[str, Any]:
    message = known.message
    kind, value = message.identifiers[0]
    return {
        "customer_id": known.customer_id,
        "name_id": name_id,
        "source_id": message.envelope.source.pk,
        "message_id": message.message_id,
        "came_by": f"{kind}:{value}",
        "occurred_at": message.occurred_at,
        "received_at": message.envelope.received_at,
        "amount": message.amount,
        "currency": message.currency,
        "properties": payload.Written(message.properties),
        "context": payload.Written(message.context),
    }

"""Whose address a report is about; the events of addresses that nobody has yet wait."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from customers import lookups
from customers.changes import Fact
from customers.identity import EMAIL, Key
from customers.models import Identifier
from events import payload
from events.cleaning import Message
from events.mail import EVENTS, sql, waiting
from events.models import Waiting


def settle(messages: Sequence[Message]) -> list[Message]:
    """Return the messages whose recipients are customers, or may become some; keep the others."""
    addressed = {message.identifiers[0] for message in messages if _is_of_mail(message)}
    if not addressed:
        return [*messages]
    owned = Identifier.objects.filter(kind=EMAIL, value__in={email for _, email in addressed})
    unknown = addressed - {*owned.values_list("kind", "value")}
    unknown -= lookups.by_contact(unknown).keys() if unknown else set()
    kept = [_row(message) for message in messages if _must_wait(message, unknown)]
    if kept:
        sql.insert_waiting(kept)
    return [message for message in messages if not _must_wait(message, unknown)]


def _must_wait(message: Message, unknown: Collection[Key]) -> bool:
    is_unknown = _is_of_mail(message) and message.identifiers[0] in unknown
    return is_unknown and not _creates(message)


def _is_of_mail(message: Message) -> bool:
    return message.envelope.call == EVENTS and message.identifiers[0][0] == EMAIL


def _creates(message: Message) -> bool:
    return message.envelope.source.creates_recipients


def _row(message: Message) -> tuple[str, int, datetime, str]:
    envelope = message.envelope
    body = payload.write(message.event).decode()
    return message.identifiers[0][1], envelope.source.pk, envelope.received_at, body


def follow(facts: Iterable[Fact]) -> None:
    """Send what waited for an e-mail through the inbox, now that one of these customers has it.

    Call it inside a transaction.
    """
    changed = {fact.customer_id for fact in facts if _may_bring_email(fact.name)}
    if not changed or not Waiting.objects.exists():
        return
    waiting.release(sql.select_emails(sorted(changed)))


def _may_bring_email(fact: str) -> bool:
    return not fact.startswith(("event:", "segment:", "clock:", "rebuild:"))

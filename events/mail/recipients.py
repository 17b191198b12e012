"""Whose address a report is about; the events of addresses that nobody has yet wait."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from customers.changes import Fact
from customers.identity import CUSTOMER_ID, EMAIL
from customers.models import Identifier
from events import payload
from events import sql as events_sql
from events.cleaning import Message
from events.mail import EVENTS, sql
from events.models import Waiting


def settle(messages: Sequence[Message]) -> list[Message]:
    """Return the messages whose recipients are customers, or may become some; keep the others.

    Who has the address in a field only, as from a file of the CRM, is named by their CustomerId.
    """
    addressed = {message.identifiers[0][1] for message in messages if _is_of_mail(message)}
    if not addressed:
        return [*messages]
    known = Identifier.objects.filter(kind=EMAIL, value__in=addressed).values_list(
        "value", flat=True
    )
    unknown = addressed - {*known}
    customer_ids = sql.find_by_field(sorted(unknown)) if unknown else {}
    ready: list[Message] = []
    waiting: list[Message] = []
    for message in messages:
        email = message.identifiers[0][1]
        if _is_of_mail(message) and email in customer_ids:
            message.identifiers = ((CUSTOMER_ID, customer_ids[email]), *message.identifiers)
        elif _is_of_mail(message) and email in unknown and not _creates(message):
            waiting.append(message)
            continue
        ready.append(message)
    if waiting:
        sql.insert_waiting([_row(message) for message in waiting])
    return ready


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
    emails = sql.select_emails(sorted(changed))
    for source_id, received_at, body in sql.take_waiting(sorted(emails)) if emails else []:
        events_sql.insert_inbox(
            source_id, EVENTS, b'{"batch":[' + body.encode() + b"]}", received_at
        )


def _may_bring_email(fact: str) -> bool:
    return not fact.startswith(("event:", "segment:", "clock:", "rebuild:"))

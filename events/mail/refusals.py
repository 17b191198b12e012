"""Addresses that bounced, complained or unsubscribed are written to no more."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from customers import consent, suppression
from customers.identity import EMAIL
from customers.models import ConsentPurpose, Suppression
from events import sources
from events.cleaning import Message
from events.mail import EVENTS, reports

PURPOSE: Final = "email"  # refused beside every purpose whose channel is e-mail
_REASONS: Final = {
    reports.BOUNCED: Suppression.Reason.HARD_BOUNCE,
    reports.COMPLAINED: Suppression.Reason.COMPLAINT,
    reports.UNSUBSCRIBED: Suppression.Reason.UNSUBSCRIBE,
}


def apply(told: Iterable[tuple[int, Message]]) -> None:
    """Suppress the addresses of these (customer id, message), and note that they refuse e-mail.

    Of a bounce only if it is for good. Believed of the services' own reports alone: a write key
    must not silence anybody. Call it inside a transaction.
    """
    refusing = [(customer_id, message) for customer_id, message in told if _refuses(message)]
    if not refusing:
        return
    purposes = _purposes()
    by_origin: dict[str, list[tuple[int, Message]]] = {}
    for customer_id, message in refusing:
        origin = sources.describe(message.envelope.source)
        by_origin.setdefault(origin, []).append((customer_id, message))
    for origin, rows in by_origin.items():
        for name, reason in _REASONS.items():
            suppression.add(EMAIL, [*_addresses(rows, name)], reason, origin)
        consent.record([*_decisions(rows, purposes)], source=origin)


def _refuses(message: Message) -> bool:
    is_report = message.envelope.call == EVENTS and message.name in _REASONS
    return is_report and message.event["properties"].get("bounce_type") != "soft"


def _addresses(rows: Iterable[tuple[int, Message]], name: str) -> Iterator[str]:
    for _, message in rows:
        if message.name == name:
            yield from (value for kind, value in message.identifiers if kind == EMAIL)


def _decisions(
    rows: Iterable[tuple[int, Message]], purposes: Iterable[str]
) -> Iterator[consent.Decision]:
    for customer_id, message in rows:
        for purpose in purposes:
            at, via = message.occurred_at, message.name or ""
            yield consent.Decision(customer_id, purpose, False, at, via=via)


def _purposes() -> Sequence[str]:
    channel = ConsentPurpose.Channel.EMAIL
    found = ConsentPurpose.objects.filter(channel=channel).values_list("key", flat=True)
    return sorted({PURPOSE, *found})

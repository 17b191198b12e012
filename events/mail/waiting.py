"""Events of e-mail addresses that no customer has yet: looked at, given up, looked for again."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from customers import identity_rules, lookups
from customers.identity import EMAIL
from customers.models import Identifier
from events.mail import EVENTS, sql
from events.models import Source, Waiting
from events.sql import queue

MAX_WAITING: Final = 1_000_000  # events; the oldest give way
AT_ONCE: Final = 5_000  # events that one go gives up
LOOKED_FOR: Final = 500  # addresses that one go looks for
LATELY: Final = timedelta(hours=1)


def listed() -> QuerySet[Waiting]:
    """Return the events that wait, for people and programs; their sources may be gone."""
    return Waiting.objects.prefetch_related("source").order_by("-id")


def release(emails: Collection[str]) -> int:
    """Send what waits for these e-mails through the inbox; return how many events.

    Call it inside a transaction.
    """
    rows = sql.take_waiting(sorted(emails)) if emails else []
    for source_id, received_at, body in rows:
        queue.insert_inbox(source_id, EVENTS, b'{"batch":[' + body.encode() + b"]}", received_at)
    return len(rows)


@transaction.atomic
def tidy(now: datetime) -> None:
    """Give up what has waited for too long, and find whom others may have overlooked.

    A report that came in the very moment in which its customer did may have missed them; and a
    source may have been told since to create its recipients.
    """
    days = identity_rules.waiting_days()
    sql.forget_waiting(now - timedelta(days=days) if days > 0 else None, MAX_WAITING, AT_ONCE)
    lately = Waiting.objects.filter(received_at__gt=now - LATELY).order_by("-id")
    emails = {*lately.values_list("email", flat=True)[:LOOKED_FOR]}
    known = Identifier.objects.filter(kind=EMAIL, value__in=emails).values_list("value", flat=True)
    named = lookups.by_contact({(EMAIL, email) for email in emails})
    creating = Source.objects.filter(creates_recipients=True).values_list("pk", flat=True)
    welcome = Waiting.objects.filter(source__in=[*creating]).order_by("id")
    release({*known, *(email for _, email in named), *_first_emails(welcome)})


def _first_emails(rows: QuerySet[Waiting]) -> list[str]:
    return [*rows.values_list("email", flat=True)[:LOOKED_FOR]]

"""Forget a person: the top floor first, then down; keep them out, and prove it.

Every erasure is also a line of a file outside the database, so that it can be done again after a
restore from a backup that still knows the person.
"""

import json
import os
from collections.abc import Collection, Iterable
from typing import Any

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from activation import erasure as activation_erasure
from activation.models import Delivery
from cdp import exports
from cdp.demo.models import Message
from customers import erasure as customers_erasure
from customers import tombstones
from customers.models import (
    ConsentChange,
    Customer,
    Erasure,
    FieldChange,
    Identifier,
    Tombstone,
)
from events import erasure as events_erasure
from events.models import Event
from segments import erasure as segments_erasure
from segments.models import Membership, MembershipChange

AT_ONCE = 50_000  # identifiers that are hashed together, when erasures are done again


class NotLoggedError(Exception):
    """The file of erasures cannot be written; nobody was erased."""


def survey(customer_ids: Collection[int]) -> dict[str, int]:
    """Count what is known of customers and goes if they are erased: {what: how many}."""
    return _count(_everyone(customer_ids))


@transaction.atomic
def erase(customer_ids: Collection[int], *, by: str) -> Erasure:
    """Remove one person, whom these ids all mean, everywhere, and keep them out from now on.

    Raises `NotLoggedError`.
    """
    everyone = _everyone(customer_ids)
    customers_erasure.hold(everyone)
    everyone = _everyone(customer_ids)
    counts = _count(everyone)
    traces = customers_erasure.traces(everyone)
    _forget(everyone)
    counts["events set aside or waiting"] = events_erasure.forget_traces(traces)
    counts["lines of files"] = customers_erasure.forget_traces(traces)
    exports.forget_people()
    erasure = Erasure(by=by, counts=counts, digests=sorted(map(tombstones.digest, traces.keys)))
    tombstones.place(erasure.digests)
    erasure.save()
    erasure.refresh_from_db()
    _log(erasure)
    return erasure


@transaction.atomic
def forget(customer_ids: Collection[int]) -> None:
    """Remove customers, those merged into them, and all that every floor keeps of them.

    They may come back: this is for what was no person, such as the demo.
    """
    everyone = _everyone(customer_ids)
    customers_erasure.hold(everyone)
    _forget(everyone)


def _everyone(customer_ids: Collection[int]) -> list[int]:
    return [*customer_ids, *customers_erasure.absorbed_by(customer_ids)]


def _forget(everyone: Collection[int]) -> None:
    activation_erasure.forget(everyone)
    segments_erasure.forget(everyone)
    events_erasure.forget(everyone)
    customers_erasure.forget(everyone)
    of_customers = ContentType.objects.get_for_model(Customer)
    LogEntry.objects.filter(
        content_type=of_customers, object_id__in=[str(each) for each in everyone]
    ).delete()
    Message.objects.filter(body__data__customer__id__in=[*everyone]).delete()


def _count(everyone: Collection[int]) -> dict[str, int]:
    rows: dict[str, Any] = {
        "profiles": Customer.objects.filter(pk__in=everyone),
        "identifiers": Identifier.objects.filter(customer__in=everyone),
        "changes of values": FieldChange.objects.filter(customer__in=everyone),
        "consent decisions": ConsentChange.objects.filter(customer__in=everyone),
        "events": Event.objects.filter(customer__in=everyone),
        "places in segments": Membership.objects.filter(customer__in=everyone),
        "entries and exits of segments": MembershipChange.objects.filter(customer__in=everyone),
        "messages": Delivery.objects.filter(customer_id__in=everyone),
    }
    return {what: found.count() for what, found in rows.items()}


def _log(erasure: Erasure) -> None:
    """Append the erasure to the file, durably, before the database commits it."""
    line = {
        "id": str(erasure.pk),
        "at": erasure.at.isoformat(),
        "by": erasure.by,
        "counts": erasure.counts,
        "digests": erasure.digests,
    }
    path = settings.ERASURE_LOG
    try:
        path.touch(mode=0o600)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise NotLoggedError(f"Nobody was erased: {path} cannot be written.") from error


def reapply(lines: Iterable[str]) -> int:
    """Erase again, after a restore, whom these lines of the file name; return how many came back.

    Also keeps out everybody they name. Raises ValueError for what is no line of the file.
    """
    digests: dict[str, str] = {}
    for line in filter(str.strip, lines):
        try:
            erasure = json.loads(line)
            digests |= dict.fromkeys(erasure["digests"], str(erasure["by"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"This is no line of the file of erasures: {line[:60]}") from error
    back = _find(digests)
    for customer_id, by in sorted(back.items()):
        if Customer.objects.filter(pk=customer_id).exists():
            erase([customer_id], by=f"{by}, again after a restore")
    with transaction.atomic():
        known = Tombstone.objects.filter(digest__in=[*digests])
        tombstones.place({*digests} - {*known.values_list("digest", flat=True)})
    return len(back)


def _find(digests: dict[str, str]) -> dict[int, str]:
    """Return the customers who have one of these identifiers, with who had them erased."""
    found: dict[int, str] = {}
    rows = Identifier.objects.values_list("kind", "value", "customer_id")
    for kind, value, customer_id in rows.iterator(chunk_size=AT_ONCE):
        if by := digests.get(tombstones.digest((kind, value))):
            found[customer_id] = by
    return found

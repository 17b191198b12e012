"""Forget a person: the top floor first, then down; keep them out, and prove it.

Every erasure is also a line of a file outside the database, so that it can be done again after a
restore from a backup that still knows the person.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Count

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
_COUNTED: Final[Mapping[str, tuple[Any, str]]] = {  # what a proof counts, and whose each row is
    "profiles": (Customer, "pk"),
    "identifiers": (Identifier, "customer"),
    "changes of values": (FieldChange, "customer"),
    "consent decisions": (ConsentChange, "customer"),
    "events": (Event, "customer"),
    "places in segments": (Membership, "customer"),
    "entries and exits of segments": (MembershipChange, "customer"),
    "messages": (Delivery, "customer_id"),
}


class NotLoggedError(Exception):
    """The file of erasures cannot be written; nobody was erased."""


def survey(customer_ids: Collection[int]) -> dict[str, int]:
    """Count what is known of customers and goes if they are erased: {what: how many}."""
    person_of = customers_erasure.persons_of([customer_ids])
    return _count(person_of)[min(customer_ids)] if person_of else {}


def erase(customer_ids: Collection[int], *, by: str) -> Erasure:
    """Remove one person, whom these ids all mean, everywhere, and keep them out from now on.

    Raises `NotLoggedError`.
    """
    (proof,) = erase_each([customer_ids], by=by)
    return proof


@transaction.atomic
def erase_each(people: Sequence[Collection[int]], *, by: str) -> list[Erasure]:
    """Remove persons together, each of whom some ids mean; each has a proof of their own.

    Nobody is identified meanwhile: take a few dozen at a time. Raises `NotLoggedError`, and erases
    nobody then.
    """
    customers_erasure.hold(customers_erasure.persons_of(people))
    person_of = customers_erasure.persons_of(people)
    counts = _count(person_of)
    traces = customers_erasure.traces(person_of)
    _forget(person_of)
    waiting, lines = events_erasure.forget_traces(traces), customers_erasure.forget_traces(traces)
    exports.forget_people()
    proofs = []
    for person, count in counts.items():
        count["events set aside or waiting"] = waiting[person]
        count["lines of files"] = lines[person]
        digests = sorted(map(tombstones.digest, traces[person].keys))
        proofs.append(Erasure(by=by, counts=count, digests=digests))
    tombstones.place({digest for proof in proofs for digest in proof.digests})
    Erasure.objects.bulk_create(proofs)
    stored = Erasure.objects.in_bulk([proof.pk for proof in proofs])
    proofs = [stored[proof.pk] for proof in proofs]
    _log(proofs)
    return proofs


@transaction.atomic
def forget(customer_ids: Collection[int]) -> None:
    """Remove customers, those merged into them, and all that every floor keeps of them.

    They may come back: this is for what was no person, such as the demo.
    """
    everyone = customers_erasure.persons_of([[own] for own in customer_ids])
    customers_erasure.hold(everyone)
    _forget(everyone)


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


def _count(person_of: Mapping[int, int]) -> dict[int, dict[str, int]]:
    """Count what is known of persons, by the id that stands for each."""
    counts = {person: dict.fromkeys(_COUNTED, 0) for person in person_of.values()}
    for what, (model, whose) in _COUNTED.items():
        rows = model.objects.filter(**{f"{whose}__in": [*person_of]}).order_by()
        for customer_id, count in rows.values_list(whose).annotate(count=Count("*")):
            counts[person_of[customer_id]][what] += count
    return counts


def _log(proofs: Sequence[Erasure]) -> None:
    """Append erasures to the file, durably, before the database commits them."""
    lines = [
        {
            "id": str(proof.pk),
            "at": proof.at.isoformat(),
            "by": proof.by,
            "counts": proof.counts,
            "digests": proof.digests,
        }
        for proof in proofs
    ]
    path = settings.ERASURE_LOG
    try:
        path.touch(mode=0o600)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
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

"""Customers who may be one person: found in the queue, decided by people.

Everybody is read once and noted under a few keys, such as birth date and sound of the name; those
who share a key are compared. A task works for a while and leaves the rest to another.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import combinations
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from customers import clock
from customers.duplicates import likeness, sql
from customers.identity import Key
from customers.models import Customer, DuplicateSearch, PossibleDuplicate

SLICE: Final = 5.0  # seconds that one task works
READ_AT_ONCE: Final = 5_000  # customers
KEYS_AT_ONCE: Final = 500
PAIRS_AT_ONCE: Final = 10_000  # a second or so; a task of the queue may take a minute
MAX_BLOCK: Final = 50  # customers under one key; more have nothing in common
MAX_LISTED: Final = 100_000  # pairs
LOST_AFTER: Final = timedelta(hours=2)  # a search that has not ended is begun anew
NIGHT: Final = range(2, 5)  # hours of the workspace's clock in which the search begins by itself
EVERY: Final = timedelta(hours=20)  # at most
_LEAST: Final = -(2**63)


class BusyError(Exception):
    """The search is under way."""


@transaction.atomic
def start() -> None:
    """Look for duplicates in the queue. Raises `BusyError`."""
    search, _ = DuplicateSearch.objects.select_for_update().get_or_create(
        id=1, defaults={"finished_at": clock.now()}
    )
    now = clock.now()
    if search.finished_at is None and search.started_at > now - LOST_AFTER:
        raise BusyError("The search is under way.")
    sql.forget_keys()
    DuplicateSearch.objects.filter(id=1).update(
        started_at=now, finished_at=None, after_id=0, after_key=None
    )
    async_task("customers.duplicates.work")


def start_nightly(now: datetime) -> bool:
    """Look for duplicates if it is night and nobody has since the last; tell whether we do."""
    latest = DuplicateSearch.objects.filter(started_at__gt=now - EVERY)
    if timezone.localtime(now).hour not in NIGHT or latest.exists():
        return False
    if not Customer.objects.exists():
        return False
    start()
    return True


def work() -> None:
    """Go on with the search for a while; called without one under way, do nothing."""
    deadline = time.monotonic() + SLICE
    while _step():
        if time.monotonic() > deadline:
            async_task("customers.duplicates.work")
            return


@transaction.atomic
def _step() -> bool:
    search = DuplicateSearch.objects.select_for_update().filter(id=1, finished_at=None).first()
    if search is None:
        return False
    if search.after_key is None:
        _read(search)
    else:
        _compare(search)
    search.save()
    return search.finished_at is None


def _read(search: DuplicateSearch) -> None:
    """Note the next customers under their keys."""
    rows = Customer.objects.current().filter(id__gt=search.after_id).order_by("id")
    found = _traits(rows[:READ_AT_ONCE])
    sql.copy_keys(
        (_hash(key), customer_id)
        for customer_id, traits in found.items()
        for key in likeness.keys(traits)
    )
    if found:
        search.after_id = max(found)
    else:
        sql.analyze_keys()
        search.after_key = _LEAST


def _traits(rows: QuerySet[Customer]) -> dict[int, likeness.Traits]:
    """Return what is compared of each customer: fields, e-mails and phones they go by."""
    fields = dict(rows.values_list("id", "fields"))
    contacts: dict[int, list[Key]] = {}
    for customer_id, kind, value in sql.select_contacts([*fields]):
        contacts.setdefault(customer_id, []).append((kind, value))
    return {
        customer_id: likeness.read(values, contacts.get(customer_id, ()))
        for customer_id, values in fields.items()
    }


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), signed=True)


def _compare(search: DuplicateSearch) -> None:
    """Compare those who share one of the next keys."""
    assert search.after_key is not None  # noqa: S101 (for the type checker)
    found = sql.select_blocks(search.after_key, KEYS_AT_ONCE, MAX_BLOCK)
    blocks = _first(found)
    pairs = {pair for _, ids in blocks for pair in combinations(sorted(ids), 2)}
    if pairs and PossibleDuplicate.objects.count() < MAX_LISTED:
        _list(sorted(pairs))
    if blocks:
        search.after_key = blocks[-1][0]
    if len(found) < KEYS_AT_ONCE and len(blocks) == len(found):
        _finish(search)


def _first(blocks: Sequence[tuple[int, Sequence[int]]]) -> list[tuple[int, Sequence[int]]]:
    """Return the first of these, as many as one step may compare; one at least."""
    taken: list[tuple[int, Sequence[int]]] = []
    pairs = 0
    for key, ids in blocks:
        pairs += len(ids) * (len(ids) - 1) // 2
        if taken and pairs > PAIRS_AT_ONCE:
            break
        taken.append((key, ids))
    return taken


def _finish(search: DuplicateSearch) -> None:
    """End the search; pairs that it did not find again are alike no more."""
    search.finished_at = clock.now()
    sql.forget_keys()
    pairs = PossibleDuplicate.objects.all()
    if pairs.count() < MAX_LISTED:  # else some were not looked at
        pairs.filter(dismissed_at=None, found_at__lt=search.started_at).delete()


def _list(pairs: Sequence[tuple[int, int]]) -> None:
    ids = {customer_id for pair in pairs for customer_id in pair}
    traits = _traits(Customer.objects.current().filter(id__in=ids))
    found = [
        (pair, likeness.compare(traits[pair[0]], traits[pair[1]]))
        for pair in pairs
        if pair[0] in traits and pair[1] in traits
    ]
    listed = [(pair, like) for pair, like in found if like.score >= likeness.LISTED]
    separated = sql.select_separated([pair for pair, _ in listed]) if listed else set()
    PossibleDuplicate.objects.bulk_create(
        [
            PossibleDuplicate(
                one_id=one_id,
                other_id=other_id,
                score=round(like.score, 1),
                reasons=like.reasons,
                found_at=clock.now(),
            )
            for (one_id, other_id), like in listed
            if (one_id, other_id) not in separated
        ],
        update_conflicts=True,
        unique_fields=["one", "other"],
        update_fields=["score", "reasons", "found_at"],
    )


def open_pairs() -> QuerySet[PossibleDuplicate]:
    """Return the pairs that wait for a decision: both are there and are two."""
    return PossibleDuplicate.objects.filter(
        dismissed_at=None, one__merged_into=None, other__merged_into=None
    ).select_related("one", "other")


def dismiss(pairs: Iterable[PossibleDuplicate], by: str) -> int:
    """Note that these are two people each; they are not suggested again."""
    rows = PossibleDuplicate.objects.filter(pk__in=[pair.pk for pair in pairs], dismissed_at=None)
    return rows.update(dismissed_at=clock.now(), dismissed_by=by)


def forget(customer_ids: Iterable[int]) -> None:
    """Remove what is noted of these customers."""
    sql.forget_customers(sorted(customer_ids))

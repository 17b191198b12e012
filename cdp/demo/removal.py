"""Taking the demo away: all of it, and only it.

What belongs to the demo's customers goes with them, also what was added by hand. Customers who
were there before, or whom other sources know too, stay; so do segments, fields and destinations
of the demo that something else uses by now.
"""

import logging
from collections.abc import Iterator, Sequence

from django.db import OperationalError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from activation import destinations
from activation.models import Destination, Trigger
from cdp import erasure
from cdp.demo.models import Load, Message
from cdp.demo.purchases import PREFIX
from customers import definitions as field_definitions
from customers import imports
from customers.models import Customer, CustomerField, FieldChange, Import
from events import erasure as events_erasure
from events import sources
from events.models import Event, Source
from segments import definitions
from segments.models import Segment

logger = logging.getLogger(__name__)

CHUNK = 2_000  # customers that one transaction forgets
_BY = "the demo's removal"
_DEADLOCK = "40P01"
_TRIES = 5
_OWN_ID = rf"^{PREFIX}\d{{5}}$"


class RemovalError(Exception):
    """There is nothing to remove."""


def remove() -> Iterator[str]:
    """Take the demo away, telling line by line what was done.

    Works in transactions of their own; if it is interrupted, calling it again goes on. Raises
    `RemovalError`.
    """
    load = _begin()
    _stop(load)
    yield "stopped sending, importing and collecting for the demo"
    yield from _remove_segments(load)
    yield f"forgot {_forget_customers(load)} customers with their events"
    with transaction.atomic():
        events_erasure.forget_sources(load.made.get("sources", []))
        events_erasure.forget_unused_names(load.started_at)
    yield from _remove_destinations(load)
    yield from _remove_fields(load)
    with transaction.atomic():
        Message.objects.all().delete()
        Load.objects.update(removed_at=Now(), removing_at=None, ready_at=None, made={})
    yield "the demo is removed"


@transaction.atomic
def _begin() -> Load:
    load = Load.objects.select_for_update().filter(removed_at=None).first()
    if load is None:
        raise RemovalError("the demo is not here")
    load.removing_at = load.removing_at or Now()
    load.save(update_fields=["removing_at"])
    return load


def _stop(load: Load) -> None:
    """See that nothing new comes in or goes out."""
    with transaction.atomic():
        Trigger.objects.filter(pk__in=load.made.get("triggers", [])).delete()
        Source.objects.filter(pk__in=load.made.get("sources", [])).update(is_enabled=False)
    run_ids = [*load.made.get("people", []), *load.made.get("purchases", [])]
    for run in Import.objects.filter(pk__in=run_ids):
        imports.discard(run.pk)


def _remove_segments(load: Load) -> Iterator[str]:
    for segment in Segment.objects.filter(pk__in=load.made.get("segments", [])):
        try:
            definitions.delete(segment)
        except definitions.SegmentInUseError as error:
            yield f"kept a segment: {error}"
    definitions.forget_versions(load.made.get("segments", []))


def _forget_customers(load: Load) -> int:
    found, last_id = 0, load.customers_before
    while ids := [*_customers(load).filter(pk__gt=last_id).values_list("pk", flat=True)[:CHUNK]]:
        _forget(ids)
        found, last_id = found + len(ids), ids[-1]
    return found


def _customers(load: Load) -> QuerySet[Customer]:
    """The demo's customers, in order of id: from its file, or visitors of its shop only."""
    source_ids = load.made.get("sources", [])
    names = [sources.describe(each) for each in Source.objects.filter(pk__in=source_ids)]
    events = Event.objects.filter(customer=OuterRef("pk"))
    told = FieldChange.objects.filter(customer=OuterRef("pk"), source__in=names)
    visited = Exists(events.filter(source__in=source_ids)) | Exists(told)
    known_elsewhere = Exists(events.exclude(source__in=source_ids))
    return Customer.objects.filter(
        Q(external_id__regex=_OWN_ID) | (visited & ~known_elsewhere), merged_into=None
    ).order_by("pk")


def _forget(customer_ids: Sequence[int]) -> None:
    """Forget customers; where that runs into others' locks, once more."""
    for attempt in range(_TRIES):
        try:
            erasure.forget(customer_ids)
        except OperationalError as error:
            is_deadlock = getattr(error.__cause__, "sqlstate", None) == _DEADLOCK
            if not is_deadlock or attempt == _TRIES - 1:
                raise
            logger.info("Deadlock while %s customers are forgotten; once more", len(customer_ids))
        else:
            return


def _remove_destinations(load: Load) -> Iterator[str]:
    for destination in Destination.objects.filter(pk__in=load.made.get("destinations", [])):
        try:
            destinations.delete(destination)
        except destinations.DestinationError as error:
            yield f"kept the destination “{destination}”: {error}"


def _remove_fields(load: Load) -> Iterator[str]:
    for field in CustomerField.objects.filter(name__in=load.made.get("fields", [])):
        if definitions.using_field(field.name):
            yield f"kept the field “{field}”: segments use it"
        elif Customer.objects.current().filter(fields__has_key=field.name).exists():
            yield f"kept the field “{field}”: other customers have it"
        else:
            field_definitions.delete(field, source=_BY)

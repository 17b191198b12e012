"""Loading the demo: once, through the ways by which any data comes in, resumable.

What is loaded is files and requests; the queue and the pipeline do the rest, as for anybody's
data. One step follows the other: people, then their purchases and visits, then segments, and
triggers once the segments are filled, so that nobody is told of what happened before.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from cdp.demo import audience, people, purchases, sending, visitors
from cdp.demo.models import Load
from cdp.demo.purchases import ONLINE, TILL, Purchase
from cdp.demo.state import SHOP, TILLS
from customers import fields, imports
from customers.models import Change, Customer, CustomerField, Import, ImportState
from events import imports as event_imports
from events import inbox, sources
from events.models import Inbox, Source, SourceKind
from segments.models import Segment, SegmentState

_BY = "the demo"
_FEWEST_VISITORS = 40


class LoadError(Exception):
    """The demo cannot be loaded; says why and what to do."""


@transaction.atomic
def start(now: datetime, customers: int | None = None) -> bool:
    """Put the demo on its way: the first so many customers of the data, or all.

    Returns False, and changes nothing, if it is there or under way. Raises `LoadError`.
    """
    Load.objects.filter(removed_at__isnull=False).delete()
    last_id = Customer.objects.aggregate(last=Max("id"))["last"] or 0
    load, is_new = Load.objects.get_or_create(
        pk=1, defaults={"started_at": now, "customers_before": last_id}
    )
    if not is_new:
        return False
    bought = purchases.read(customers)
    load.made = {
        "fields": _create_fields(),
        "sources": [each.pk for each in _create_sources()],
        "people": [_upload_people(bought).pk],
        "purchases": [each.pk for each in _upload_purchases(bought, now)],
    }
    load.save(update_fields=["made"])
    for run_id in load.made["people"]:
        imports.start_apply(run_id)
    return True


def _create_fields() -> list[str]:
    """Create the customer fields that do not exist yet; return their names."""
    missing = people.FIELDS.keys() - fields.known().keys()
    for name in sorted(missing):
        CustomerField.objects.create(name=name, **people.FIELDS[name]._asdict())
    return sorted(missing)


def _create_sources() -> list[Source]:
    if Source.objects.filter(key__in=[SHOP, TILLS]).exists():
        raise LoadError(
            f"A source called {SHOP} or {TILLS} exists and is not the demo's: give it another key."
        )
    options = {"currency": settings.CURRENCY}
    return [
        sources.create("Online shop", SourceKind.WEBSITE, key=SHOP, **options),
        sources.create("Store tills", SourceKind.STORE, key=TILLS, **options),
    ]


def _upload_people(bought: Sequence[Purchase]) -> Import:
    text = io.StringIO()
    people.write(dict.fromkeys(purchase.customer for purchase in bought), text)
    return imports.create(_file(text), name="demo-customers.csv", created_by=_BY)


def _upload_purchases(bought: Sequence[Purchase], now: datetime) -> Iterator[Import]:
    zone = ZoneInfo(settings.TIME_ZONE)
    for channel, source in ((ONLINE, SHOP), (TILL, TILLS)):
        text = io.StringIO()
        some = (purchase for purchase in bought if purchase.channel == channel)
        purchases.write(some, text, now=now, zone=zone, currency=settings.CURRENCY)
        yield event_imports.create(
            _file(text),
            name=f"demo-purchases-{channel}.csv",
            options={"source": source},
            created_by=_BY,
        )


def _file(text: io.StringIO) -> io.BytesIO:
    return io.BytesIO(text.getvalue().encode())


def _send(messages: Sequence[visitors.Message]) -> None:
    """Send as a website does: requests with the write key."""
    write_key = Source.objects.values_list("write_key", flat=True).get(key=SHOP)
    for batch in visitors.in_batches(messages):
        inbox.accept(write_key, "batch", json.dumps({"batch": batch}).encode())


def proceed(now: datetime) -> bool:
    """Do what comes next if its time has come; return whether the demo is complete.

    To be called again and again. Raises `LoadError`.
    """
    with transaction.atomic():
        load = Load.objects.select_for_update().filter(removed_at=None, removing_at=None).first()
        if load is None:
            raise LoadError("The demo is not loaded, or is being removed.")
        if load.ready_at is None and (step := _next_step(load)):
            step(load, now)
            load.save(update_fields=["made", "ready_at"])
    return load.ready_at is not None


def _next_step(load: Load) -> Callable[[Load, datetime], None] | None:
    """Return what comes next, or None while that must wait for the queue or the pipeline."""
    if "visits" not in load.made:
        return _bring_purchases if _are_done(load.made["people"]) else None
    if "segments" not in load.made:
        return _create_audience if _have_arrived(load) else None
    return _open if _are_filled(load) else None


def _have_arrived(load: Load) -> bool:
    """Whether all purchases and visits are with their customers."""
    waiting = Inbox.objects.filter(source__in=load.made["sources"])
    return (
        _are_done(load.made["purchases"]) and not waiting.exists() and not Change.objects.exists()
    )


def _are_done(run_ids: Sequence[int]) -> bool:
    runs = [*Import.objects.filter(pk__in=run_ids)]
    for run in runs:
        if run.state in (ImportState.FAILED, ImportState.STOPPED):
            raise LoadError(
                f"The import of {run.file_name} has {run.state}: {run.error or 'by hand'}. "
                f"Resume it on the page of imports, or remove the demo and load it again."
            )
    return all(run.state == ImportState.DONE for run in runs)


def _are_filled(load: Load) -> bool:
    filling = Segment.objects.filter(pk__in=load.made["segments"], state=SegmentState.FILLING)
    return not filling.exists()


def _bring_purchases(load: Load, now: datetime) -> None:
    """Import the purchases, and let visitors have browsed in the last weeks."""
    uploads = Import.objects.filter(pk__in=load.made["purchases"], state=ImportState.WAITING)
    for run in uploads.order_by("pk"):
        event_imports.start_apply(run.pk)
    known = Customer.objects.filter(external_id__startswith=purchases.PREFIX).order_by("pk")
    customer_ids = [str(each.external_id) for each in known.only("external_id")]
    part = len(customer_ids) / purchases.CUSTOMERS
    visits = max(_FEWEST_VISITORS, round(visitors.VISITORS * part))
    currency = settings.CURRENCY
    _send(visitors.browse(customer_ids, now=load.started_at, currency=currency, visitors=visits))
    load.made["visits"] = visits


def _create_audience(load: Load, now: datetime) -> None:
    load.made["segments"] = [segment.pk for segment in audience.create()]


def _open(load: Load, now: datetime) -> None:
    """Switch the triggers on; then let some visitors arrive, so that there is something to see."""
    load.made["destinations"] = [each.pk for each in sending.create()]
    load.made["triggers"] = [each.pk for each in sending.switch_on()]
    load.ready_at = now
    _send(visitors.arrive(now=now, currency=settings.CURRENCY))


def describe() -> str:
    """Say in a few words how far the load is."""
    load = Load.objects.get()
    run_ids = [*load.made["people"], *load.made["purchases"]]
    runs = Import.objects.filter(pk__in=run_ids).order_by("pk")
    if unfinished := [run for run in runs if run.state != ImportState.DONE]:
        return ", ".join(f"{run.file_name} {run.progress:.0%}" for run in unfinished)
    if "segments" not in load.made:
        return f"{Inbox.objects.count()} requests and {Change.objects.count()} changes wait"
    return "segments are filling"

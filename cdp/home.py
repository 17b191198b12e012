"""Home: the figures, the chart, what to do first, and what wants attention."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from activation import destinations
from activation.models import Destination, Trigger
from cdp import figures, timeline
from cdp.models import Heartbeat
from customers import formats
from customers.models import Customer, CustomerField, Import, ImportState
from events.models import Event, Quarantine
from segments.models import Segment

STALE_AFTER = timedelta(minutes=2)
SILENT_AFTER = timedelta(minutes=2)
CHECKLIST_COOKIE = "cdp_checklist"
_WAITS_FOR = {
    "pipeline": "Events and segments wait",
    "queue": "Imports and exports wait",
    "sending": "Messages wait",
}
_LATEST = 8
_COLOURS = ("--color-primary-600", "--color-green-600", "--color-orange-500", "--color-red-500")
_OTHERS = "--color-base-400"


class Step(NamedTuple):
    """Something to do first, and whether it was done."""

    text: str
    href: str
    is_done: bool


class Alarm(NamedTuple):
    """Something that is wrong, and where to look."""

    text: str
    href: str = ""


class Tile(NamedTuple):
    """A figure with what has changed."""

    label: str
    value: str
    note: str
    tone: str = ""
    icon: str = ""
    href: str = ""


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the admin's index page."""
    shown = figures.current()
    steps = [] if request.COOKIES.get(CHECKLIST_COOKIE) else _checklist()
    if all(step.is_done for step in steps):
        steps = []
    return context | {
        "title": "Home",
        "tiles": list(_tiles(shown)),
        "chart": _chart(shown),
        "chart_options": _chart_options(),
        "figures": shown,
        "is_stale": timezone.now() - shown.at > STALE_AFTER,
        "latest": _latest(),
        "steps": steps,
        "steps_done": sum(step.is_done for step in steps),
        "alarms": list(_alarms()),
        "loading": _loading(),
        "is_empty": not (shown.customers or shown.events.now),
    }


def progress(request: HttpRequest) -> HttpResponse:
    """Answer with the bar of what is being loaded; asks again by itself until all is in."""
    return render(request, "cdp/loading.html", {"loading": _loading(), "was_loading": True})


@require_POST
def dismiss_checklist(request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    response.set_cookie(
        CHECKLIST_COOKIE, "hidden", max_age=timedelta(days=365), samesite="Lax", httponly=True
    )
    return response


def _tiles(shown: figures.Figures) -> Iterator[Tile]:
    new = f"+{formats.number(shown.new_customers)} in 30 days"
    yield Tile("Customers", formats.number(shown.customers), new, href=_url("customers_customer"))
    yield _compared("Active in 30 days", formats.number(shown.active.now), shown.active)
    yield _compared("Revenue in 30 days", formats.money(shown.revenue.now), shown.revenue)
    failed = f"{formats.number(shown.failed)} failed" if shown.failed else "none failed"
    yield Tile(
        "Messages sent in 30 days",
        formats.number(shown.sent),
        failed,
        tone="bad" if shown.failed else "",
        icon="error" if shown.failed else "",
        href=_url("activation_delivery"),
    )


def _compared(label: str, value: str, change: figures.Change) -> Tile:
    percent = change.percent
    if percent is None:
        return Tile(label, value, "nothing in the 30 days before")
    if percent == 0:
        return Tile(label, value, "as in the 30 days before", icon="trending_flat")
    note = f"{percent:+d} % vs the 30 days before".replace("-", "−")
    is_more = percent > 0
    return Tile(
        label,
        value,
        note,
        tone="good" if is_more else "warn",
        icon="trending_up" if is_more else "trending_down",
    )


def _chart(shown: figures.Figures) -> str:
    """Return the chart's data; its last day is unfinished."""
    datasets = []
    for number, name in enumerate(shown.lines):
        is_named = number < figures.CHARTED
        colour = f"var({_COLOURS[number] if is_named else _OTHERS})"
        datasets.append(
            {
                "label": name,
                "data": [day.counts[number] for day in shown.days],
                "borderColor": colour,
                "backgroundColor": colour,
                "borderDash": [] if is_named else [4, 4],
            }
        )
    labels = [f"{day.day:%d.%m.}" for day in shown.days]
    return json.dumps({"labels": labels, "datasets": datasets})


def _chart_options() -> str:
    ticks = {"precision": 0}
    return json.dumps(
        {
            "animation": False,
            "responsive": True,
            "maintainAspectRatio": False,
            "interaction": {"mode": "index", "intersect": False},
            "elements": {"point": {"radius": 0, "hitRadius": 12}, "line": {"borderWidth": 2}},
            "plugins": {
                "legend": {
                    "display": True,
                    "position": "top",
                    "align": "start",
                    "labels": {
                        "boxWidth": 8,
                        "boxHeight": 8,
                        "usePointStyle": True,
                        "pointStyle": "circle",
                        "padding": 16,
                    },
                }
            },
            "scales": {
                "x": {
                    "grid": {"display": False},
                    "ticks": {**ticks, "maxTicksLimit": 8, "maxRotation": 0},
                },
                "y": {"beginAtZero": True, "ticks": ticks, "border": {"display": False}},
            },
        }
    )


def _latest() -> list[Any]:
    """Return the events received last, with an icon and a few words each."""
    rows: list[Any] = list(
        Event.objects.select_related("name", "customer").defer("context").order_by("-id")[:_LATEST]
    )
    for row in rows:
        row.icon = timeline.ICONS.get(row.name.name, "radio_button_checked")
        row.note = timeline.summary(row.properties)
    return rows


def _checklist() -> list[Step]:
    return [
        Step(
            "Create a customer field",
            _url("customers_customerfield", "add"),
            CustomerField.objects.exists(),
        ),
        Step(
            "Import customers from a CSV file",
            _url("customers_import", "add"),
            Import.objects.filter(state=ImportState.DONE).exists(),
        ),
        Step("Receive the first event", _url("events_source"), Event.objects.exists()),
        Step("Build a segment", _url("segments_segment", "add"), Segment.objects.exists()),
        Step(
            "Switch on a trigger",
            _url("activation_trigger"),
            Trigger.objects.filter(is_enabled=True).exists(),
        ),
    ]


def _alarms() -> Iterator[Alarm]:
    """Name what is wrong now."""
    beaten_at = dict(Heartbeat.objects.values_list("name", "at"))
    for name, what in _WAITS_FOR.items():
        at = beaten_at.get(name)
        if at is None:
            yield Alarm(f"{what}: “{name}” has not started.", _url("django_q_ormq"))
        elif timezone.now() - at > SILENT_AFTER:
            yield Alarm(
                f"{what}: “{name}” was last heard of {formats.ago(at)}.", _url("django_q_ormq")
            )
    failing = Destination.objects.filter(Q(failures_in_a_row__gt=0) | ~Q(disabled_because=""))
    for destination in failing.filter(triggers__is_enabled=True).distinct():
        because = destinations.trouble(destination, timezone.now())
        yield Alarm(f"“{destination}” {because}", _url("activation_delivery"))
    if rejected := Quarantine.objects.filter(replayed_at=None)[:1_000].count():
        count = "1'000 or more" if rejected == 1_000 else formats.number(rejected)
        noun = "event was" if rejected == 1 else "events were"
        yield Alarm(f"{count} {noun} rejected.", _url("events_quarantine"))


def _loading() -> dict[str, Any] | None:
    """Say how far the imports under way are, taken together; None when there are none."""
    states = (ImportState.WAITING, ImportState.CHECKING, ImportState.IMPORTING)
    under_way = Import.objects.filter(state__in=states).defer("summary", "format", "options")
    runs = list(under_way.order_by("id")[:20])
    if not runs:
        return None
    size = sum(run.file_size for run in runs) or 1
    percent = int(sum(run.progress * run.file_size for run in runs) * 100 / size)
    return {
        "runs": runs,
        "percent": percent,
        "customers": Customer.objects.count() if percent < 100 else 0,
    }


def _url(model: str, page: str = "changelist") -> str:
    """Return the address of a page of the admin; "" where there is none."""
    try:
        return reverse(f"admin:{model}_{page}")
    except NoReverseMatch:
        return ""

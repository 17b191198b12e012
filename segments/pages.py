"""A segment's own page: who is in it, who came and went, and why."""

import json
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from customers import adminkit, clock, formats, forms, masking
from customers.adminkit import Use
from customers.models import Customer, CustomerField
from events.models import Event
from segments import definitions, growth, memberships
from segments import explain as explaining
from segments.models import (
    Cause,
    Membership,
    MembershipChange,
    PastSize,
    Segment,
    SegmentState,
)

MEMBERS = 25  # on a page
LATEST = 15  # entries and exits that are shown
DAYS = 30
FEW = 10  # members
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT")


class Day(NamedTuple):
    day: date
    entered: int
    left: int


class Trend(NamedTuple):
    """A small line of sizes: its points in a box of 100 by 24, and the change since yesterday."""

    points: str
    change: str
    says: str


class MemberPage(NamedTuple):
    """Members, newest first. `after` asks for the next page; empty at the end."""

    rows: Sequence[Membership]
    after: str


def trend(sizes: Sequence[int]) -> Trend | None:
    """Draw the sizes of some days, the last of them now; None where there are too few."""
    if len(sizes) < 3:
        return None
    low, high = min(sizes), max(sizes)
    step, height = 100 / (len(sizes) - 1), 20 / ((high - low) or 1)
    flat = 10 if low == high else 0
    points = [
        f"{n * step:.1f},{22 - flat - (size - low) * height:.1f}" for n, size in enumerate(sizes)
    ]
    change = sizes[-1] - sizes[-2]
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    shown = f"{sign}{formats.number(abs(change))}"
    says = f"From {formats.number(sizes[0])} to {formats.number(sizes[-1])}"
    return Trend(" ".join(points), shown, says)


def segment_url(segment_id: int) -> str:
    """Return the address of a segment's page."""
    return reverse("admin:segments_segment_page", args=[segment_id])


def show(
    request: HttpRequest, segment: Segment, uses: Sequence[Use], more: dict[str, Any]
) -> HttpResponse:
    """Show the page of a segment; `more` is what the template needs to know of permissions."""
    days = _days(segment)
    sizes = growth.of(segment)
    context = {
        "segment": segment,
        "uses": uses,
        "progress": progress(segment),
        "size": memberships.sizes([segment.pk])[segment.pk],
        "days": days[::-1],
        "chart": json.dumps(_chart(days)),
        "chart_options": json.dumps(CHART_OPTIONS),
        "entered_today": days[-1].entered,
        "left_today": days[-1].left,
        "entered": sum(day.entered for day in days),
        "left": sum(day.left for day in days),
        "latest": _latest(segment),
        "sizes": sizes[::-1],
        "growth": json.dumps(_growth(sizes)),
        "growth_options": json.dumps(_growth_options(sizes)),
        "versions": Segment.versions.filter(id=segment.pk).order_by("-history_id")[:LATEST],
        "page": _members(segment, ""),
        "may_see_customers": request.user.has_perm("customers.view_customer"),
        **more,
    }
    return adminkit.page(
        request,
        "admin/segments/segment.html",
        context,
        title=segment.name,
        model=Segment,
        original=segment,
    )


def progress(segment: Segment) -> int | None:
    """Return how many percent of the customers a fill has seen; None when it is not filling."""
    if segment.state != SegmentState.FILLING:
        return None
    return min(99, 100 * segment.fill_after // max(segment.fill_until, 1))


def filling(request: HttpRequest, segment: Segment) -> HttpResponse:
    """Answer with the bar of a fill; when it has ended, have the page loaded again."""
    percent = progress(segment)
    context = {"segment": segment, "progress": percent}
    response = render(request, "admin/segments/filling.html", context)
    if percent is None:
        response["HX-Refresh"] = "true"
    return response


def members(request: HttpRequest, segment: Segment, *, may_change: bool) -> HttpResponse:
    """Answer with the next members, for the button below the list."""
    page = _members(segment, request.GET.get("after", ""))
    context = {
        "segment": segment,
        "page": page,
        "may_change": may_change,
        "may_see_customers": request.user.has_perm("customers.view_customer"),
    }
    return render(request, "admin/segments/members.html", context)


def _members(segment: Segment, after: str) -> MemberPage:
    found = Membership.objects.filter(segment=segment).select_related("customer").newest_first()
    at, _, customer_id = after.partition("~")
    if (moment := _instant(at)) and customer_id.isdecimal():
        later = Q(entered_at__lt=moment) | Q(customer_id__lt=int(customer_id))
        found = found.filter(Q(entered_at__lte=moment) & later)
    rows = list(found[: MEMBERS + 1])
    last = rows[MEMBERS - 1] if len(rows) > MEMBERS else None
    return MemberPage(
        rows[:MEMBERS], f"{last.entered_at.isoformat()}~{last.customer_id}" if last else ""
    )


def _instant(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _days(segment: Segment) -> list[Day]:
    """Entries and exits of each of the last days, oldest first; fills are no news, so without."""
    today = timezone.localdate()
    first = today - timedelta(days=DAYS - 1)
    counted = (
        _news(segment)
        .filter(at__gte=timezone.make_aware(datetime(first.year, first.month, first.day)))  # noqa: DTZ001
        .annotate(day=TruncDate("at"))
        .values_list("day", "entered")
        .annotate(count=Count("id"))
    )
    count_of = {(day, entered): count for day, entered, count in counted}
    return [
        Day(day, count_of.get((day, True), 0), count_of.get((day, False), 0))
        for day in (first + timedelta(days=n) for n in range(DAYS))
    ]


def _news(segment: Segment) -> "QuerySet[MembershipChange]":
    return MembershipChange.objects.filter(segment=segment).exclude(cause=Cause.RULE)


def _chart(days: Sequence[Day]) -> dict[str, Any]:
    """Two bars a day, as the theme's charts want it."""
    shape = {"borderRadius": 2, "maxBarThickness": 12}
    return {
        "labels": [f"{day.day:%d.%m.}" for day in days],
        "datasets": [
            {
                "label": "Entered",
                "data": [day.entered for day in days],
                "backgroundColor": "var(--cdp-accent)",
                **shape,
            },
            {
                "label": "Left",
                "data": [day.left for day in days],
                "backgroundColor": "var(--color-base-400)",
                **shape,
            },
        ],
    }


def _growth(sizes: Sequence[PastSize]) -> dict[str, Any]:
    """A line of the members at the end of each day."""
    line = {
        "label": "Members",
        "data": [size.members for size in sizes],
        "borderColor": "var(--cdp-accent)",
        "backgroundColor": "var(--cdp-accent)",
        "borderWidth": 2,
        "pointRadius": 0,
    }
    return {"labels": [f"{size.day:%d.%m.}" for size in sizes], "datasets": [line]}


def _growth_options(sizes: Sequence[PastSize]) -> dict[str, Any]:
    """A line of few members begins at none; a long one would be flat that way."""
    few = max((size.members for size in sizes), default=0) <= FEW
    scales = CHART_OPTIONS["scales"]
    return CHART_OPTIONS | {"scales": scales | {"y": scales["y"] | ({"min": 0} if few else {})}}


CHART_OPTIONS: dict[str, Any] = {
    "animation": False,
    "maintainAspectRatio": False,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {
        "legend": {"align": "end", "labels": {"boxWidth": 10, "boxHeight": 10, "color": "#8b93a1"}}
    },
    "scales": {
        "x": {
            "grid": {"display": False},
            "ticks": {"autoSkip": True, "maxTicksLimit": 8, "maxRotation": 0, "color": "#8b93a1"},
        },
        "y": {
            "border": {"display": False},
            "grid": {"tickWidth": 0},
            "ticks": {"precision": 0, "maxTicksLimit": 6, "color": "#8b93a1"},
        },
    },
}


def _latest(segment: Segment) -> list[Any]:
    """The newest entries and exits, each with `happened`: what caused it, in words."""
    newest = MembershipChange.objects.filter(segment=segment).select_related("customer")
    rows: list[Any] = list(newest.order_by("-at", "-id")[:LATEST])
    pairs = [(row.customer_id, row.event_id) for row in rows if row.event_id is not None]
    events = {
        event.id: event for event in Event.objects.filter(pk__in=pairs).select_related("name")
    }
    for row in rows:
        row.happened = _happened(row, events.get(row.event_id))
    return rows


def _happened(change: MembershipChange, event: Event | None) -> str:
    if event is None:
        return CAUSES[change.cause]
    amount = f", {formats.money(event.amount, event.currency)}" if event.amount is not None else ""
    return f"{event.name}{amount}"


CAUSES: dict[str, str] = {
    Cause.EVENT: "An event",
    Cause.FIELD: "A field changed",
    Cause.TIME: "Time passed",
    Cause.RULE: "The rule was saved",
    Cause.MERGE: "Two profiles became one",
    Cause.MANUAL: "By hand",
}


# Why


class Reason(NamedTuple):
    """A condition of the rule and how this customer stands to it, under its “not” if it has one."""

    sentence: str
    value: str
    holds: bool
    is_negated: bool


def explain(request: HttpRequest, segment: Segment, customer: Customer) -> HttpResponse:
    """Say why a customer is in the segment or not: a fragment for htmx, else a page."""
    found = explaining.masked(explaining.explain(segment, customer.pk), masking.current())
    context = {
        "segment": segment,
        "customer": customer,
        "found": found,
        "reasons": [_reason(one) for one in found.conditions],
        "now": clock.now(),
    }
    if request.headers.get("HX-Request"):
        return render(request, "admin/segments/explain.html", context)
    return adminkit.page(
        request,
        "admin/segments/explain_page.html",
        context,
        title=f"{customer} and “{segment}”",
        model=Segment,
        original=segment,
    )


def _reason(condition: explaining.ExplainedCondition) -> Reason:
    is_negated = condition.path.split(".").count("not") % 2 == 1
    value = "" if condition.value is None else _shown(condition)
    return Reason(condition.sentence, value, condition.holds != is_negated, is_negated)


def _shown(condition: explaining.ExplainedCondition) -> str:
    """The customer's value as people write it."""
    is_instant = isinstance(condition.value, str) and INSTANT.match(condition.value)
    return forms.display(CustomerField(type="datetime") if is_instant else None, condition.value)


# Goodbye


def delete(request: HttpRequest, segment: Segment, uses: Sequence[Use]) -> HttpResponse:
    """Ask, then delete; refused while something uses the segment."""
    refused = ""
    if request.method == "POST":
        try:
            definitions.delete(segment)
        except definitions.SegmentInUseError as error:
            refused = str(error)
        else:
            messages.success(request, f"“{segment}” was deleted.")
            return adminkit.redirect(reverse("admin:segments_segment_changelist"))
    return adminkit.page(
        request,
        "admin/segments/delete.html",
        {
            "segment": segment,
            "uses": uses,
            "refused": refused,
            "size": memberships.sizes([segment.pk])[segment.pk],
        },
        title=f"Delete {segment}",
        model=Segment,
        original=segment,
    )

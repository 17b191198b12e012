"""Pages about one source: to install it until an event is there, and what it calls things."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse

from customers import adminkit, clock, exact, formats, masking
from events import live, mapping, quarantine, sources
from events.mapping import lines, presets, trial
from events.models import Event, Quarantine, Source, SourceKind, Waiting

SAMPLE = {
    "type": "track",
    "userId": "CH-10001",
    "event": "purchase",
    "properties": {
        "transaction_id": "T-1",
        "value": 129.9,
        "currency": "chf",
        "items": [{"item_id": "S1", "item_name": "Socks", "price": 12.9, "quantity": 2}],
    },
}
REPLAYED_AT_ONCE = 10_000
SILENT_AFTER = timedelta(days=1)
TITLES: Mapping[str, str] = {
    SourceKind.WEBSITE: "Install the tag",
    SourceKind.SERVER: "Send events",
    SourceKind.STORE: "Connect the till",
    SourceKind.EMAIL: "Connect the e-mail service",
}
LABELS = {
    "events": ("Event names", "Kauf = Order Completed"),
    "properties": ("Properties", "basket.sum = total"),
    "numbers": ("Numbers that are written as", "total = 1.234,50"),
    "dates": ("Dates that are written as", "paid_at = dd.mm.yyyy"),
    "values": ("Values", "status: 01 = paid"),
}


def urls() -> list[URLPattern]:
    wrap = admin.site.admin_view
    return [
        path("install/", wrap(install_any), name="events_source_install_any"),
        path("<int:source_id>/install/", wrap(install), name="events_source_install"),
        path("<int:source_id>/first/", wrap(first), name="events_source_first"),
        path("<int:source_id>/mapping/", wrap(mapping_page), name="events_source_mapping"),
        path("<int:source_id>/replay/", wrap(replay_all), name="events_source_replay"),
    ]


def install_any(request: HttpRequest) -> HttpResponse:
    """Go to the website there is, or make one of the name that was typed."""
    _require(request, "view")
    if request.method == "POST":
        _require(request, "add")
        try:
            made = sources.create(request.POST.get("name", ""), SourceKind.WEBSITE)
        except sources.BadNameError:
            messages.warning(request, "Give your website a name of 1 to 100 characters.")
            return adminkit.redirect(reverse("admin:events_source_install_any"))
        return adminkit.redirect(reverse("admin:events_source_install", args=[made.pk]))
    websites = Source.objects.filter(kind=SourceKind.WEBSITE).order_by("-pk")
    if (website := websites.first()) is not None:
        return adminkit.redirect(reverse("admin:events_source_install", args=[website.pk]))
    context = {"may_add": request.user.has_perm("events.add_source")}
    return adminkit.page(
        request, "events/install_new.html", context, title="Install the tag", model=Source
    )


def install(request: HttpRequest, source_id: int) -> HttpResponse:
    """Say how to send, with the real key, and wait for the first event."""
    source = _source(request, source_id, "view")
    address = request.build_absolute_uri("/").rstrip("/")
    script = f"{address}/cdp.js?key={source.write_key}"
    context = {
        "source": source,
        "address": address,
        "snippet": f'<script async src="{script}"></script>',
        "hook_address": hook_address(request, source),
        "others": Source.objects.exclude(pk=source.pk),
        **_first(source),
    }
    return adminkit.page(
        request,
        "events/install.html",
        context,
        title=TITLES[source.kind],
        model=Source,
        original=source,
    )


def hook_address(request: HttpRequest, source: Source) -> str:
    """Return where an e-mail service reports to; "" for other sources."""
    if source.kind != SourceKind.EMAIL or not source.hook_token:
        return ""
    return request.build_absolute_uri(f"/hooks/email/{source.hook_token}/")


def first(request: HttpRequest, source_id: int) -> HttpResponse:
    """Answer with the line that waits for the first event."""
    source = _source(request, source_id, "view")
    return render(request, "events/first.html", {"source": source, **_first(source)})


def _first(source: Source) -> dict[str, Any]:
    """Return the latest event of a source, or what of it was rejected."""
    latest = Event.objects.order_by("-id").values_list("id", flat=True)[:1]
    recent = Event.objects.filter(id__gt=(latest[0] if latest else 0) - live.AMONG)
    event = recent.filter(source=source.pk).select_related("name", "customer").order_by("-id")
    rejected = Quarantine.objects.filter(source=source.pk).order_by("-id")
    page = None
    if (found := event.first()) is not None:
        page = (found.context or {}).get("page") or {}
    url = page.get("url") if isinstance(page, dict) else None
    host = str(url).partition("//")[2].partition("/")[0] if url else ""
    is_mail = source.kind == SourceKind.EMAIL
    waits = Waiting.objects.filter(source=source.pk).order_by("-id") if is_mail else None
    return {
        "event": found,
        "is_silent": found is not None and clock.now() - found.received_at > SILENT_AFTER,
        "host": host,
        "waits": waits.first() if waits and not found else None,
        "rejected": None if found else rejected.first(),
    }


def mapping_page(request: HttpRequest, source_id: int) -> HttpResponse:
    """Show and change what a source calls things; an event can be tried out before."""
    source = _source(request, source_id, "view")
    texts, chosen = lines.write(source.mapping), source.mapping.get("presets", presets.EVERY)
    event = _example(request, source)
    errors: dict[str, str] = {}
    outcome = None
    given = source.mapping
    if request.method == "POST":
        texts = {part: request.POST.get(part, "") for part in lines.PARTS}
        chosen = [key for key in presets.EVERY if key in request.POST.getlist("presets")]
        event = request.POST.get("event", "")
        try:
            given = mapping.check(lines.read(texts, chosen))
        except mapping.MappingError as error:
            errors[error.part] = str(error)
    if not errors:
        if request.method == "POST" and "save" in request.POST:
            _require(request, "change")
            source.mapping = given
            sources.save(source)
            messages.success(request, f"From now on events of “{source}” are read like this.")
            return adminkit.redirect(request.get_full_path())
        outcome = _try(source, event, given, errors)
    return _show_mapping(request, source, texts, chosen, event, errors, outcome)


def _show_mapping(
    request: HttpRequest,
    source: Source,
    texts: dict[str, str],
    chosen: Any,
    event: str,
    errors: dict[str, str],
    outcome: Any,
) -> HttpResponse:
    waiting = Quarantine.objects.filter(source=source.pk, replayed_at=None)
    context = {
        "source": source,
        "parts": [
            (part, *LABELS[part], texts.get(part, ""), errors.get(part, "")) for part in lines.PARTS
        ],
        "presets": [(key, preset.label, key in chosen) for key, preset in presets.PRESETS.items()],
        "event": event,
        "event_error": errors.get("event", ""),
        "outcome": outcome,
        "after": live.readable(exact.dumps(outcome.after)) if outcome else "",
        "who": ", ".join(f"{kind} {value}" for kind, value in outcome.identifiers)
        if outcome
        else "",
        "waiting": formats.number(waiting[:REPLAYED_AT_ONCE].count()),
        "has_waiting": waiting.exists(),
        "may_change": request.user.has_perm("events.change_source"),
    }
    return adminkit.page(
        request, "events/mapping.html", context, title="Mapping", model=Source, original=source
    )


def _try(source: Source, event: str, given: Any, errors: dict[str, str]) -> Any:
    try:
        return trial.of(source, exact.loads(event), given)
    except (ValueError, RecursionError):
        errors["event"] = "This is not JSON."
        return None


def _example(request: HttpRequest, source: Source) -> str:
    """Return an event to begin with: the rejected one that was asked for, the last, or a sample."""
    asked = request.GET.get("rejected", "")
    rows = Quarantine.objects.filter(source=source.pk).order_by("-id")
    row = rows.filter(pk=int(asked)).first() if asked.isdecimal() and len(asked) < 19 else None
    if row is not None:
        return live.readable(masking.current().raw(row.body))
    return json.dumps(SAMPLE, indent=2)


def replay_all(request: HttpRequest, source_id: int) -> HttpResponse:
    """Send everything of a source that was rejected through again."""
    source = get_object_or_404(Source, pk=source_id)
    if request.method != "POST" or not request.user.has_perm("events.change_quarantine"):
        raise PermissionDenied
    waiting = Quarantine.objects.filter(source=source.pk, replayed_at=None).order_by("id")
    count = quarantine.replay([*waiting.values_list("pk", flat=True)[:REPLAYED_AT_ONCE]])
    noun = "event goes" if count == 1 else "events go"
    messages.success(
        request,
        f"{formats.number(count)} {noun} through again. What still cannot be taken comes back "
        "under Rejected events.",
    )
    return adminkit.redirect(reverse("admin:events_source_mapping", args=[source.pk]))


def _source(request: HttpRequest, source_id: int, right: str) -> Source:
    _require(request, right)
    return get_object_or_404(Source, pk=source_id)


def _require(request: HttpRequest, right: str) -> None:
    if not request.user.has_perm(f"events.{right}_source"):
        raise PermissionDenied

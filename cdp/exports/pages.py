"""Exports in the admin: ask for one, see how far it is, fetch the file."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.timezone import make_aware

from cdp import exports
from cdp.exports.api import answer
from cdp.exports.kinds import KINDS, Kind
from cdp.exports.writing import XLSX_ROWS
from cdp.models import Export
from customers import adminkit, formats, masking, spelling
from customers.adminkit import Button, Empty, ReadOnlyAdmin
from customers.models import CustomerField
from events.models import EventName

_PAGING = ("p", "o", "after", "before")  # parameters of a list that choose no rows
_WORDS = {"q": "search", "name": "event", "since": "from", "until": "before"}
_NAMES = 200  # of events, suggested
_OWN = ("what", "format")  # parameters that are ours, not the list's


class Column(NamedTuple):
    """A column that a file can have, and what people call it."""

    name: str
    label: str
    is_chosen: bool


class EventsForm(forms.Form):
    """Which events: of one kind, of some days. Without any of these, all of them."""

    name = forms.CharField(label="Event", required=False)
    first = forms.DateField(label="From", required=False)
    last = forms.DateField(label="Until", required=False)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        names = EventName.objects.values_list("name", flat=True)
        if name and not names.filter(name=name).exists():
            hint = spelling.suggestion(name, names)
            raise ValidationError(f"There is no event called “{name[:100]}”.{hint}")
        return name

    def query(self) -> dict[str, str]:
        """Return what was chosen as a query: the last day counts to its end."""
        found = {"name": self.cleaned_data["name"]}
        if first := self.cleaned_data["first"]:
            found["since"] = _midnight(first).isoformat()
        if last := self.cleaned_data["last"]:
            found["until"] = _midnight(last + timedelta(days=1)).isoformat()
        return {name: value for name, value in found.items() if value}


def _midnight(day: date) -> datetime:
    return make_aware(datetime.combine(day, time.min))


def button(request: HttpRequest, what: str, *, is_filtered: bool = True) -> list[Button]:
    """Return the button that exports a list, as it is filtered now, to who may."""
    if not request.user.has_perm("cdp.add_export") or not KINDS[what].may_read(request.user):
        return []
    query = request.GET.copy() if is_filtered else QueryDict(mutable=True)
    for name in _PAGING:
        query.pop(name, None)
    query["what"] = what
    href = f"{reverse('admin:cdp_export_add')}?{query.urlencode()}"
    return [Button("Export", href, "download", is_minor=True)]


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """The exports of whoever looks; superusers see all."""

    list_display: Any = ("shown_name", "shown_rows", "shown_state", "by", "made")
    list_display_links = ("shown_name",)
    actions = None
    sortable_by = ()
    empty = Empty(
        "download",
        "No exports",
        "Any list can be written to a file: here, or by the arrow above the list, as it is "
        "filtered. Files stay here for seven days.",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Export]:
        found = Export.objects.select_related("created_by", "api_key")
        return found if request.user.is_superuser else found.filter(created_by=request.user.pk)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("add/", wrap(self.ask), name="cdp_export_add"),
            path("<int:export_id>/", wrap(self.show), name="cdp_export_page"),
            path("<int:export_id>/change/", wrap(self.show), name="cdp_export_change"),
            path("<int:export_id>/status/", wrap(self.status), name="cdp_export_status"),
            path("<int:export_id>/file/", wrap(self.fetch), name="cdp_export_file"),
            path("<int:export_id>/remove/", wrap(self.remove), name="cdp_export_remove"),
        ]
        return own + super().get_urls()

    def header_buttons(self, request: HttpRequest) -> list[Button]:
        if not request.user.has_perm("cdp.add_export"):
            return []
        return [Button("New export", reverse("admin:cdp_export_add"), "add", is_primary=True)]

    def ask(self, request: HttpRequest) -> HttpResponse:
        """Show what would be exported; begin it once a format is chosen."""
        if not request.user.has_perm("cdp.add_export"):
            raise PermissionDenied
        what = request.GET.get("what", "")
        if not what:
            return self._offer(request)
        if what not in KINDS:
            raise Http404
        kind = KINDS[what]
        if not kind.may_read(request.user):
            raise PermissionDenied
        query = request.GET.copy()
        for name in _OWN:
            query.pop(name, None)
        form = _form(request, what, query)
        if request.method == "POST" and (export := _begin(request, what, query, form)):
            return adminkit.redirect(reverse("admin:cdp_export_page", args=[export.pk]))
        context = {
            "kind": kind,
            "form": form,
            "names": EventName.objects.order_by("name").values_list("name", flat=True)[:_NAMES],
            "filters": [] if form else _shown(query),
            "formats": Export.Format.choices,
            "columns": _columns(request, kind),
            "is_masked": not masking.current().is_clear,
            "days": exports.KEPT.days,
            "xlsx_rows": XLSX_ROWS,
        }
        title = f"Export {kind.label.lower()}"
        return adminkit.page(request, "cdp/export_ask.html", context, title=title, model=Export)

    def _offer(self, request: HttpRequest) -> HttpResponse:
        """Show all that can be exported, to choose from."""
        kinds = [(what, kind) for what, kind in KINDS.items() if kind.may_read(request.user)]
        return adminkit.page(
            request, "cdp/export_choose.html", {"kinds": kinds}, title="New export", model=Export
        )

    def show(self, request: HttpRequest, export_id: int) -> HttpResponse:
        export = self._own(request, export_id)
        return adminkit.page(
            request,
            "cdp/export.html",
            _context(export),
            title=str(export),
            model=Export,
            original=export,
        )

    def status(self, request: HttpRequest, export_id: int) -> HttpResponse:
        """Answer with how far it is, for a page that asks every second."""
        return render(request, "cdp/export_state.html", _context(self._own(request, export_id)))

    def fetch(self, request: HttpRequest, export_id: int) -> FileResponse:
        """Send the file to who asked for it, as long as it is kept."""
        export = self._own(request, export_id)
        if not export.finished_at or exports.is_expired(export):
            raise Http404
        return answer(export)

    def remove(self, request: HttpRequest, export_id: int) -> HttpResponse:
        export = self._own(request, export_id)
        if request.method == "POST":
            exports.remove(export)
        return adminkit.redirect(reverse("admin:cdp_export_changelist"))

    def _own(self, request: HttpRequest, export_id: int) -> Export:
        if not self.has_view_permission(request):
            raise PermissionDenied
        export = self.get_queryset(request).filter(pk=export_id).first()
        if export is None or not KINDS[export.what].may_read(request.user):
            raise Http404
        return export

    @admin.display(description="Export")
    def shown_name(self, export: Export) -> SafeString:
        label = KINDS[export.what].label
        return adminkit.stacked(label, ", ".join(_filters(export)) or "all")

    @admin.display(description="Rows")
    def shown_rows(self, export: Export) -> str:
        return formats.number(export.rows_done)

    @admin.display(description="State")
    def shown_state(self, export: Export) -> SafeString:
        if export.error:
            return adminkit.badge("Failed", "bad", "error")
        if export.finished_at:
            return adminkit.badge(export.get_format_display(), "good", "check")
        return adminkit.badge(f"{_percent(export)} %", "accent", "hourglass")

    @admin.display(description="By")
    def by(self, export: Export) -> str:
        if export.created_by is None:
            return f"API key “{export.api_key}”"
        return export.created_by.get_full_name() or export.created_by.get_username()

    @admin.display(description="Asked for")
    def made(self, export: Export) -> SafeString | str:
        return adminkit.when(export.created_at)


def _form(request: HttpRequest, what: str, query: QueryDict) -> EventsForm | None:
    if what != "events":
        return None
    is_sent = request.method == "POST"
    return EventsForm(request.POST if is_sent else None, initial={"name": query.get("name", "")})


def _begin(
    request: HttpRequest, what: str, query: QueryDict, form: EventsForm | None
) -> Export | None:
    """Begin an export, or say what is wrong with what was asked for."""
    chosen = request.POST.get("format", "")
    if form and not form.is_valid():
        return None
    if form:
        query = QueryDict(mutable=True)
        query.update(form.query())
    try:
        KINDS[what].rows_of(query, request.user)
    except (ValueError, ValidationError, IncorrectLookupParameters):
        messages.error(request, "The filters in the address cannot be read.")
        return None
    if chosen not in Export.Format.values:
        messages.error(request, "Choose a format.")
        return None
    wanted = [column.name for column in _columns(request, KINDS[what]) if column.is_chosen]
    if not wanted:
        messages.error(request, "Choose at least one column.")
        return None
    return exports.create(what, chosen, query.urlencode(), request.user, columns=wanted)


def _columns(request: HttpRequest, kind: Kind) -> list[Column]:
    """Return the columns that a file of this kind can have; all are chosen at first."""
    labels = {field.name: str(field) for field in CustomerField.objects.exclude(label="")}
    chosen = request.POST.getlist("column") if request.method == "POST" else None
    return [
        Column(name, labels.get(name, name), chosen is None or name in chosen)
        for name in kind.columns()
    ]


def _context(export: Export) -> dict[str, Any]:
    return {
        "export": export,
        "kind": KINDS[export.what],
        "filters": _filters(export),
        "percent": _percent(export),
        "size": exports.size(export) or 0,
        "until": export.created_at + exports.KEPT,
    }


def _percent(export: Export) -> int:
    if export.finished_at:
        return 100
    if not export.rows_total:
        return 0
    return min(99, 100 * export.rows_done // export.rows_total)


def _filters(export: Export) -> list[str]:
    return _shown(QueryDict(export.query) if export.filters is None else export.filters)


def _shown(query: Mapping[str, str]) -> list[str]:
    """Say what a list was filtered by."""
    return [_said(name, str(value)) for name, value in query.items() if value]


def _said(name: str, value: str) -> str:
    if name == "id__in":
        return f"chosen by hand: {value.count(',') + 1}"
    return f"{_WORDS.get(name, name)}: {value}"

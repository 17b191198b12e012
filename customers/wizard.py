"""Importing a file in four steps: choose, check, import, result. And the list of all imports.

Each page shows what `customers.imports` says and calls it; it refreshes itself while work goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.views.decorators.http import require_POST

from customers import adminkit, fields, formats, imports, masking
from customers.adminkit import BoundedPaginator, Empty, ProductAdmin
from customers.imports import consents
from customers.imports.options import AUTO, DATES, NUMBERS
from customers.imports.records import DELIMITERS
from customers.imports.uploads import ENCODINGS
from customers.models import CustomerField, FieldType, Import, ImportKind, ImportState

AT_WORK: Final = (
    ImportState.WAITING,
    ImportState.CHECKING,
    ImportState.IMPORTING,
    ImportState.UNDOING,
)
_NUMBER_CHOICES: Final = [(style, style) for style in NUMBERS]
_NAMED_DATES: Final = {"iso": "2026-01-31 (ISO)", "excel": "46053 (Excel’s number of a day)"}
_DATE_CHOICES: Final = [(style, _NAMED_DATES.get(style, style)) for style in DATES]
_FIND_OUT: Final = (AUTO, "find out")
_STEPS: Final = ("Choose", "Check", "Import", "Result")


class Kind(NamedTuple):
    """A kind of file that can be imported, and who takes it in.

    `create(file, name=…, options=…, created_by=…)` keeps it, `example()` is a file to begin with,
    `check_again(id, options)` reads it in another way, `undo(id)` takes back what it brought.
    `choices()` are the values of the option `option` that whoever uploads one must choose from,
    and `permission` is what they need besides. `target(import)` is what the file is for: its name
    and its page.
    """

    label: str
    text: str
    create: Callable[..., Import]
    example: Callable[[], str]
    check_again: Callable[[int, Mapping[str, Any]], None]
    is_undoable: Callable[[Import], bool]
    undo: Callable[[int], None]
    choices: Callable[[], list[tuple[str, str]]] | None = None
    option: str = ""
    permission: str = ""
    target: Callable[[Import], tuple[str, str]] | None = None


class ChooseForm(forms.Form):
    """A file, and how it is written."""

    kind = forms.CharField()
    file = forms.FileField(label="File")
    numbers = forms.ChoiceField(
        label="Numbers look like", choices=[_FIND_OUT, *_NUMBER_CHOICES], required=False
    )
    dates = forms.ChoiceField(
        label="Dates look like", choices=[_FIND_OUT, *_DATE_CHOICES], required=False
    )
    delimiter = forms.ChoiceField(
        label="Columns are separated by",
        choices=[("", "find out"), *DELIMITERS.items()],
        required=False,
    )
    encoding = forms.ChoiceField(
        label="Its characters are in",
        choices=[("", "find out"), *ENCODINGS.items()],
        required=False,
    )
    source = forms.CharField(label="Events of", required=False)
    segment = forms.CharField(label="Customers for", required=False)
    event = forms.CharField(label="Every line is", required=False, max_length=200)
    columns = forms.CharField(label="Columns called otherwise", required=False, max_length=20_000)

    def clean_columns(self) -> dict[str, str]:
        """Read lines of `name in the file = what it is`."""
        found = {}
        for line in self.cleaned_data["columns"].splitlines():
            name, equals, meaning = (part.strip() for part in line.partition("="))
            if line.strip() and not (name and equals):
                raise forms.ValidationError(f"“{line.strip()[:60]}” is not: column = what it is.")
            if name:
                found[name] = meaning
        return found

    def options(self, option: str) -> dict[str, Any]:
        """Return what was chosen as the options of an import."""
        chosen = {name: self.cleaned_data[name] or AUTO for name in ("numbers", "dates")}
        chosen |= {
            name: self.cleaned_data[name]
            for name in ("delimiter", "encoding")
            if self.cleaned_data[name]
        }
        if option:
            chosen[option] = self.cleaned_data[option]
        if option == "source":
            chosen |= {name: v for name in ("event", "columns") if (v := self.cleaned_data[name])}
        return chosen


class ImportAdmin(ProductAdmin):
    """All imports. To add one is a wizard, to look at one shows how far it is."""

    kinds: Mapping[str, Kind] = {
        ImportKind.CUSTOMER_FIELDS: Kind(
            "Customers and their fields",
            "One value a line, with the columns customerId, fieldName and fieldValue; or a table "
            "with one column for each field. A file with nothing but customerId creates customers.",
            imports.create,
            imports.example,
            imports.start_check_again,
            imports.is_undoable,
            imports.start_undo,
        )
    }
    list_display = ("shown_file", "shown_state", "lines", "customers", "uploaded_by", "started")
    list_filter = ("state", "kind")
    actions = None
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator
    empty = Empty(
        "upload_file",
        "Nothing was imported yet",
        "Upload a CSV file, see what is in it and what is wrong with it, and only then import it.",
    )
    add_text = "Import a file"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Import]:
        return Import.objects.defer("options", "format", "summary")

    @admin.display(description="File")
    def shown_file(self, run: Import) -> SafeString:
        return adminkit.stacked(run.file_name, run.get_kind_display())

    @admin.display(description="State")
    def shown_state(self, run: Import) -> SafeString:
        return render_to_string("customers/import_state.html", {"run": run})

    @admin.display(description="Lines")
    def lines(self, run: Import) -> SafeString | str:
        if not run.rows_total:
            return "–"
        failed = f"{formats.number(run.rows_failed)} with errors" if run.rows_failed else ""
        return adminkit.stacked(formats.number(run.rows_total), failed)

    @admin.display(description="Customers")
    def customers(self, run: Import) -> SafeString | str:
        if run.state not in (ImportState.DONE, ImportState.STOPPED, ImportState.IMPORTING):
            return "–"
        new = formats.number(run.customers_created)
        return adminkit.stacked(f"{new} new", f"{formats.number(run.customers_updated)} updated")

    @admin.display(description="Uploaded by", empty_value="–")
    def uploaded_by(self, run: Import) -> str | None:
        return run.created_by or None

    @admin.display(description="When")
    def started(self, run: Import) -> SafeString | str:
        return adminkit.when(run.created_at)

    def has_change_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("example/<slug:kind>.csv", wrap(self.example), name="customers_import_example"),
            path("<int:run_id>/status/", wrap(self.status), name="customers_import_status"),
            path("<int:run_id>/errors.csv", wrap(self.errors), name="customers_import_errors"),
            path("<int:run_id>/kept.csv", wrap(self.kept), name="customers_import_kept"),
            path("<int:run_id>/recheck/", wrap(self.recheck), name="customers_import_recheck"),
            path("<int:run_id>/<slug:verb>/", wrap(self.command), name="customers_import_command"),
        ]
        change = [url for url in super().get_urls() if url.name == "customers_import_change"]
        return change + own + super().get_urls()

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Step 1: take a file in, and have it checked."""
        self._require_add(request)
        is_sent = request.method == "POST"
        form = ChooseForm(request.POST, request.FILES) if is_sent else ChooseForm()
        if is_sent and form.is_valid():
            run = self._create(request, form)
            if run:
                return self._go_to(run)
        kinds = {key: kind for key, kind in self.kinds.items() if _may(request, kind)}
        asked = request.POST.get("kind") or request.GET.get("kind")
        context = {
            "form": form,
            "kinds": [
                (str(key), kind, kind.choices and kind.choices()) for key, kind in kinds.items()
            ],
            "chosen": asked if asked in kinds else next(iter(kinds)),
            "segment": request.POST.get("segment") or request.GET.get("segment"),
            "steps": list(_steps(1)),
        }
        return adminkit.page(
            request, "customers/import_choose.html", context, title="Import a file", model=Import
        )

    def _create(self, request: HttpRequest, form: ChooseForm) -> Import | None:
        """Keep the file and start its check; say on the form what is wrong with it otherwise."""
        kind = self.kinds.get(form.cleaned_data["kind"])
        if kind is None or not _may(request, kind):
            form.add_error(None, "There is no such kind of file.")
            return None
        file = form.cleaned_data["file"]
        try:
            run = kind.create(
                file,
                name=str(file.name),
                options=form.options(kind.option),
                created_by=adminkit.actor(request),
            )
        except imports.FileError as error:
            form.add_error("file", str(error))
            return None
        except imports.OptionError as error:
            form.add_error(error.option if error.option in form.fields else None, str(error))
            return None
        if run.kind == ImportKind.CUSTOMER_FIELDS:
            imports.map_alike(run)
        imports.start_check(run.pk)
        return run

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Steps 2 to 4, as far as the import is."""
        run = self._run(request, object_id)
        context = self._context(request, run)
        return adminkit.page(
            request,
            "customers/import.html",
            context,
            title=run.file_name,
            model=Import,
            original=run,
        )

    def status(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Answer with the middle of the page, which asks again while there is work."""
        context = self._context(request, self._run(request, run_id))
        return render(request, "customers/import_body.html", context)

    def errors(self, request: HttpRequest, run_id: int) -> StreamingHttpResponse:
        run = self._run(request, run_id)
        if not masking.current().is_clear:
            raise PermissionDenied
        name = slugify(run.file_name.rpartition(".")[0]) or "import"
        return _download(imports.error_file(run), f"{name}-errors.csv")

    def kept(self, request: HttpRequest, run_id: int) -> StreamingHttpResponse:
        run = self._run(request, run_id)
        if not masking.current().is_clear:
            raise PermissionDenied
        return _download(imports.kept_file(run), f"kept-{run.pk}.csv")

    def example(self, request: HttpRequest, kind: str) -> StreamingHttpResponse:
        self._require_add(request)
        if kind not in self.kinds:
            raise PermissionDenied
        return _download(iter(["\ufeff", self.kinds[kind].example()]), f"example-{kind}.csv")

    @method_decorator(require_POST)
    def command(self, request: HttpRequest, run_id: int, verb: str) -> HttpResponse:
        """Start, stop, resume, undo or discard an import."""
        run = self._run_to_change(request, run_id)
        commands: dict[str, Callable[[int], None]] = {
            "start": imports.start_apply,
            "stop": imports.stop,
            "resume": imports.resume,
            "discard": imports.discard,
            "undo": self.kinds[run.kind].undo,
        }
        if verb not in commands:
            raise PermissionDenied
        try:
            commands[verb](run.pk)
        except imports.StateError as error:
            messages.warning(request, str(error))
        if verb == "discard":
            messages.success(request, f"“{run.file_name}” is gone. What was imported stays.")
            return adminkit.redirect(reverse("admin:customers_import_changelist"))
        return self._go_to(run)

    @method_decorator(require_POST)
    def recheck(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Check the file again with other options, creating the fields that were asked for."""
        run = self._run_to_change(request, run_id)
        try:
            with transaction.atomic():
                mapping = self._map_names(request, run)
                self.kinds[run.kind].check_again(run.pk, _chosen(request, run, mapping))
        except (imports.StateError, imports.OptionError) as error:
            messages.warning(request, str(error))
        except imports.FileError as error:
            messages.error(request, f"It cannot be read like that: {error}")
        return self._go_to(run)

    def _map_names(self, request: HttpRequest, run: Import) -> dict[str, str | None]:
        """Read what is to become of names in the file that are no field."""
        mapping: dict[str, str | None] = {**run.options.get("fields", {})}
        for number, name in enumerate(_unknown_names(run)):
            verb, _, argument = request.POST.get(f"name_{number}", "").partition(":")
            if verb == "use":
                mapping[name] = argument
            elif verb == "ignore":
                mapping[name] = None
            elif not verb:
                mapping.pop(name, None)
            elif verb == "create" and request.user.has_perm("customers.add_customerfield"):
                mapping.pop(name, None)
                if problem := _create_name(name, argument):
                    messages.warning(request, f"“{name[:100]}” was not created. {problem}")
        return mapping

    def _context(self, request: HttpRequest, run: Import) -> dict[str, Any]:
        known = fields.known() | consents.known()
        if not masking.current().is_clear:
            run.summary = imports.without_examples(run.summary)
        found = run.summary.get("fields", {})
        unknown = _unknown(run)
        is_wide = run.format.get("layout") == "wide"
        target = self.kinds[run.kind].target
        return {
            "run": run,
            "steps": list(_steps(_step_of(run))),
            "is_at_work": run.state in AT_WORK,
            "percent": _percent(run),
            "values": sum(entry["count"] for entry in found.values()),
            "events": sorted(
                ((name, entry["count"]) for name, entry in run.summary.get("events", {}).items()),
                key=lambda pair: -pair[1],
            ),
            "found": [(known.get(name, name), entry) for name, entry in found.items()],
            "unknown": unknown,
            "left": sum(is_wide and not one["chosen"] for one in unknown),
            "known": sorted(known.values(), key=str),
            "types": FieldType.choices,
            "errors": sorted(run.summary.get("errors", []), key=lambda group: -group["count"]),
            "repeated": run.summary.get("warnings", {}).get("repeated", {}).get("count", 0),
            "rounded": run.summary.get("warnings", {}).get("rounded", {}).get("count", 0),
            "new": run.summary.get("customers", {}).get("new", {}).get("count", 0),
            "known_customers": run.summary.get("customers", {}).get("known", {}).get("count", 0),
            "number_choices": _NUMBER_CHOICES,
            "date_choices": _DATE_CHOICES,
            "delimiter_choices": DELIMITERS.items(),
            "encoding_choices": _encodings(run),
            "encoding": imports.codec(run.format["encoding"]) if run.format else "",
            "left_out": run.summary.get("warnings", {}).get("erased", {}).get("count", 0),
            "doubts": run.format.get("doubts", {}),
            "has_errors": run.rows_failed > 0,
            "earlier": imports.earlier(run) if run.state == ImportState.CHECKED else None,
            "is_undoable": self.kinds[run.kind].is_undoable(run),
            "undone": run.summary.get("undo", {}),
            "target": target and target(run),
            "members": run.summary.get("members", {}),
            "may_act": self.has_add_permission(request) and _may(request, self.kinds[run.kind]),
            "may_create_fields": request.user.has_perm("customers.add_customerfield"),
        }

    def _run(self, request: HttpRequest, run_id: Any) -> Import:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return adminkit.row_or_404(Import, str(run_id))

    def _run_to_change(self, request: HttpRequest, run_id: int) -> Import:
        self._require_add(request)
        run = self._run(request, run_id)
        if not _may(request, self.kinds[run.kind]):
            raise PermissionDenied
        return run

    def _require_add(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):
            raise PermissionDenied

    def _go_to(self, run: Import) -> HttpResponse:
        return adminkit.redirect(reverse("admin:customers_import_change", args=[run.pk]))


def _may(request: HttpRequest, kind: Kind) -> bool:
    return not kind.permission or request.user.has_perm(kind.permission)


def _create_name(name: str, kind: str) -> str | None:
    """Create the field, or purpose of consent, that a file names; say what is wrong otherwise."""
    if consents.is_meant(name):
        return consents.create(name)
    if CustomerField.objects.filter(name=name).exists():
        return None
    field = CustomerField(name=name, type=kind)
    try:
        field.full_clean()
    except ValidationError as error:
        return " ".join(error.messages)
    field.save()
    return None


def _chosen(request: HttpRequest, run: Import, mapping: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the options of the import with what the form of step 2 says."""
    chosen: dict[str, Any] = {**run.options}
    for name in ("numbers", "dates", "empty", "delimiter", "encoding"):
        if name in request.POST:
            chosen[name] = request.POST[name]
    if run.kind == ImportKind.CUSTOMER_FIELDS:
        chosen["create_missing"] = "create_missing" in request.POST
        chosen["fields"] = mapping
    return chosen


def _encodings(run: Import) -> list[tuple[str, str]]:
    """The encodings that a file may be read in once it is kept; UTF-16 has no other."""
    is_wide = run.format.get("encoding") == ENCODINGS["utf-16"]
    return [one for one in ENCODINGS.items() if (one[0] == "utf-16") == is_wide]


def _unknown_names(run: Import) -> list[str]:
    """Return the names in the file that are no field, also those that it was said what to do of."""
    return [*{**run.summary.get("unknown_fields", {}), **run.options.get("fields", {})}]


def _unknown(run: Import) -> list[dict[str, Any]]:
    found = run.summary.get("unknown_fields", {})
    chosen = {
        name: "ignore" if own is None else f"use:{own}"
        for name, own in run.options.get("fields", {}).items()
    }
    return [
        {"name": name, "chosen": chosen.get(name, ""), **found.get(name, {})}
        for name in _unknown_names(run)
    ]


def _percent(run: Import) -> int:
    if run.state != ImportState.UNDOING:
        return int(run.progress * 100)
    undone = {**run.summary.get("undo", {})}
    if events := undone.pop("events", 0):
        return min(99, 100 * events // max(1, run.rows_ok))
    todo = run.customers_updated + 2 * run.customers_created  # who is created, is also removed
    return min(99, 100 * sum(undone.values()) // max(1, todo))


def _step_of(run: Import) -> int:
    if run.state in (ImportState.WAITING, ImportState.CHECKING, ImportState.CHECKED):
        return 2
    if run.state == ImportState.IMPORTING:
        return 3
    return 2 if run.stopped_state == ImportState.CHECKING else 4


def _steps(present: int) -> Iterator[dict[str, Any]]:
    for number, title in enumerate(_STEPS, 1):
        yield {
            "number": number,
            "title": title,
            "is_done": number < present,
            "is_present": number == present,
        }


def _download(lines: Iterator[str], name: str) -> StreamingHttpResponse:
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response

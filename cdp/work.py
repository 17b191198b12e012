"""Background work in the admin: what waits, what failed, what runs by the clock. To look at only.

Whoever may write a task may run any code of the server, so nobody writes one here.
"""

from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django_q import admin as registered_by_django_q
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.tasks import async_task

from cdp.models import Heartbeat
from customers import adminkit, formats
from customers.adminkit import Empty, ReadOnlyAdmin
from customers.models import Change
from events.models import Inbox

assert registered_by_django_q  # noqa: S101 (what it registers is replaced here)
for model in (Failure, OrmQ, Schedule, Success):
    admin.site.unregister(model)

ALIVE = timedelta(seconds=30)
_COUNTED_UP_TO = 10_000


class Part(NamedTuple):
    """A part of the product at work: when it last showed that it lives, and what waits for it."""

    label: str
    value: str
    note: str
    tone: str
    icon: str


def state() -> list[Part]:
    """Say how the background work is doing."""
    beaten_at = dict(Heartbeat.objects.values_list("name", "at"))
    return [
        _life("Pipeline", beaten_at.get("pipeline")),
        _life("Queue", beaten_at.get("queue")),
        _life("Sending", beaten_at.get("sending")),
        _backlog("Requests to take in", Inbox.objects.order_by("id")),
        _backlog("Changes to evaluate", Change.objects.order_by("id")),
    ]


def _life(label: str, at: Any) -> Part:
    if at is None:
        return Part(label, "Not started", "no sign of life yet", "bad", "error")
    is_alive = timezone.now() - at < ALIVE
    note = f"last sign of life {formats.ago(at)}"
    if is_alive:
        return Part(label, "Working", note, "good", "check_circle")
    return Part(label, "Silent", note, "bad", "error")


def _backlog(label: str, rows: QuerySet[Any]) -> Part:
    count = rows[:_COUNTED_UP_TO].count()
    number = formats.number(count) + ("+" if count == _COUNTED_UP_TO else "")
    oldest = rows.first() if count else None
    since = getattr(oldest, "received_at", None)
    if since:
        return Part(label, number, f"the oldest came {formats.ago(since)}", "", "schedule")
    return Part(label, number, "waiting" if count else "nothing waits", "", "")


class WorkAdmin(ReadOnlyAdmin):
    """Shows the state of the background work above each of its lists."""

    list_before_template = "cdp/work.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        adminkit.note_way(request, "Background work")
        return super().changelist_view(request, {"parts": state(), **(extra_context or {})})


@admin.register(OrmQ)
class WaitingAdmin(WorkAdmin):
    """Tasks in the queue."""

    list_display = ("what", "waiting", "since")
    list_display_links = None
    ordering = ("id",)
    empty = Empty("task_alt", "Nothing waits", "Imports and messages stand here until they begin.")

    @admin.display(description="Task")
    def what(self, row: OrmQ) -> SafeString:
        return adminkit.stacked(_words(row.func()), row.func())

    @admin.display(description="State")
    def waiting(self, row: OrmQ) -> SafeString:
        return adminkit.badge("Running", "accent") if _runs(row) else adminkit.badge("Waiting")

    @admin.display(description="Since")
    def since(self, row: OrmQ) -> SafeString | str:
        if not _runs(row):
            return adminkit.when(row.lock)
        return adminkit.when(row.lock - timedelta(seconds=Conf.RETRY))


@admin.register(Failure)
class FailedAdmin(WorkAdmin):
    """Tasks that failed, with their error; they can be run again."""

    list_display = ("what", "why", "tries", "at")
    ordering = ("-stopped",)
    actions = ("run_again",)
    fields = ("func", "started", "stopped", "attempt_count", "error")
    readonly_fields = fields
    empty = Empty("task_alt", "Nothing failed", "Tasks that fail for good stand here.")

    @admin.display(description="Task")
    def what(self, row: Failure) -> SafeString:
        return adminkit.stacked(_words(row.func), row.func)

    @admin.display(description="Why")
    def why(self, row: Failure) -> str:
        return str(row.result or "").strip().splitlines()[-1:][0][:160] if row.result else "–"

    @admin.display(description="Tries")
    def tries(self, row: Failure) -> int:
        return int(row.attempt_count)

    @admin.display(description="When", ordering="stopped")
    def at(self, row: Failure) -> SafeString | str:
        return adminkit.when(row.stopped)

    @admin.display(description="Error")
    def error(self, row: Failure) -> SafeString:
        return adminkit.preformatted(str(row.result or ""))

    @admin.action(description="Run again", permissions=["run"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[Failure]) -> None:
        for row in queryset:
            where = {"cluster": row.cluster or None}  # where it failed
            async_task(row.func, *(row.args or ()), q_options=where, **(row.kwargs or {}))
            row.delete()
            messages.success(request, f"“{_words(row.func)}” runs again.")

    def has_run_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("django_q.change_failure"))


@admin.register(Schedule)
class ScheduledAdmin(WorkAdmin):
    """What runs by the clock."""

    list_display = ("what", "every", "next")
    list_display_links = None
    ordering = ("next_run",)
    empty = Empty("schedule", "Nothing is scheduled", "")

    @admin.display(description="Task")
    def what(self, row: Schedule) -> SafeString:
        return adminkit.stacked(row.name or _words(row.func), row.func)

    @admin.display(description="How often")
    def every(self, row: Schedule) -> str:
        if row.schedule_type == Schedule.MINUTES:
            return "every minute" if row.minutes == 1 else f"every {row.minutes} minutes"
        return str(row.get_schedule_type_display()).lower()

    @admin.display(description="Next")
    def next(self, row: Schedule) -> SafeString | str:
        return adminkit.when(row.next_run)


def _runs(row: OrmQ) -> bool:
    """Say whether a worker has it: then its lock is when another one may take it."""
    return bool(row.lock and row.lock > timezone.now())


def _words(path: str) -> str:
    """Turn "customers.imports.apply" into "Imports: apply"."""
    *_, module, function = ("", "", *str(path).split("."))
    return f"{module}: {function.replace('_', ' ')}".strip(": ").capitalize()

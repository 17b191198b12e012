"""Staff's view of what customers did: who sends events, which there are, what was refused."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from customers import adminkit, masking
from customers.adminkit import BoundedPaginator, Empty, ProductAdmin, ReadOnlyAdmin
from events import (
    catalogue,
    live,
    live_pages,
    quarantine,
    source_pages,
    sources,
    waiting_admin,
)
from events.mail import providers
from events.models import Event, EventName, Quarantine, Source, SourceKind
from events.sql import history, vocabulary

__all__ = ["waiting_admin"]

LATEST = 20_000  # events that are looked at for when a source sent something
_ICONS = {
    SourceKind.WEBSITE: "language",
    SourceKind.SERVER: "dns",
    SourceKind.STORE: "storefront",
    SourceKind.EMAIL: "mail",
}


class SourceForm(forms.ModelForm):
    """What staff say about a source; its keys are ours."""

    class Meta:
        model = Source
        fields = (
            *("name", "kind", "channel", "currency", "rate_limit"),
            *("creates_fields", "may_overwrite", "needs_consent", "is_enabled"),
            *("provider", "hook_secret", "creates_recipients"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["hook_secret"].required = False
        self.initial["hook_secret"] = ""  # it is never shown again

    def clean_hook_secret(self) -> str | None:
        """Keep the key that is there when none is typed."""
        return self.cleaned_data["hook_secret"] or self.instance.hook_secret

    def clean_currency(self) -> str:
        currency = str(self.cleaned_data["currency"]).strip().upper()
        if currency and not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
            raise ValidationError("A currency has three letters, such as CHF.")
        return currency


class SourceChangeList(ChangeList):
    """Knows of every source on the page when it last sent something."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        received_at = history.last_received(LATEST)
        for source in self.result_list:
            source.last_at = received_at.get(source.pk)


@admin.register(Source)
class SourceAdmin(ProductAdmin):
    """Who may send us events, with the key each of them needs."""

    form = SourceForm
    fieldsets = (
        (None, {"fields": ("name", "kind", "channel", "currency", "is_enabled")}),
        ("What it may do", {"fields": ("rate_limit", "creates_fields", "may_overwrite")}),
        ("A website", {"fields": ("needs_consent",), "classes": ("cdp-only-website",)}),
        (
            "An e-mail tool",
            {
                "fields": ("provider", "hook_secret", "creates_recipients"),
                "classes": ("cdp-only-email",),
            },
        ),
    )
    list_display = ("shown_name", "shown_channel", "write_key_copy", "last_event", "shown_state")
    list_filter = ("kind", "channel", "is_enabled")
    search_fields = ("name", "key")
    search_help_text = "Name"
    ordering = ("name",)
    sortable_by = ("shown_name",)
    actions = None
    radio_fields: ClassVar[Any] = {"channel": admin.HORIZONTAL}
    change_form_outer_before_template = "events/key.html"
    add_text = "Add source"
    empty = Empty(
        "input",
        "No sources yet",
        "A source is your website, your shop, your server or your e-mail tool: whatever tells us "
        "what customers do. Each gets a key of its own.",
    )

    def get_urls(self) -> list[URLPattern]:
        rotate = self.admin_site.admin_view(self.rotate)
        own = path("<int:source_id>/rotate/", rotate, name="events_source_rotate")
        return [own, *source_pages.urls(), *super().get_urls()]

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return SourceChangeList

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"currency": settings.CURRENCY, **super().get_changeform_initial_data(request)}

    def has_delete_permission(self, request: HttpRequest, obj: Source | None = None) -> bool:
        return False  # its events name it; it can be switched off

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        if source := context.get("original"):
            context["hook_address"] = source_pages.hook_address(request, source)
        return super().render_change_form(request, context, **options)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "provider":
            choices = [("", "not said"), *providers.CHOICES]
            return forms.ChoiceField(
                label="Service",
                choices=choices,
                required=False,
                help_text=db_field.help_text,
                widget=UnfoldAdminSelectWidget(choices=choices),
            )
        if db_field.name == "hook_secret":
            return forms.CharField(
                label="Signing key",
                required=False,
                help_text=f"{db_field.help_text} Of Amazon SES: the ARN of the topic. It is never "
                "shown again; leave it empty to keep what is there.",
                widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"}),
            )
        return super().formfield_for_dbfield(db_field, request, **options)

    def save_model(self, request: HttpRequest, obj: Source, form: Any, change: bool) -> None:
        if change:
            sources.save(obj)
            return
        given = {name: form.cleaned_data[name] for name in form.Meta.fields}
        made = sources.create(given.pop("name"), given.pop("kind"), **given)
        obj.pk, obj.key, obj.write_key = made.pk, made.key, made.write_key
        obj.hook_token = made.hook_token

    def response_add(
        self, request: HttpRequest, obj: Source, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Go on to its key and how to use it."""
        messages.success(request, f"“{obj}” may send events now.")
        return adminkit.redirect(reverse("admin:events_source_install", args=[obj.pk]))

    @method_decorator(require_POST)
    def rotate(self, request: HttpRequest, source_id: int) -> HttpResponse:
        """Give a source a new key."""
        source = get_object_or_404(Source, pk=source_id)
        if not self.has_change_permission(request, source):
            raise PermissionDenied
        sources.rotate(source)
        messages.success(request, f"“{source}” has a new key; the old one is refused from now on.")
        return adminkit.redirect(reverse("admin:events_source_change", args=[source.pk]))

    @admin.display(description="Source", ordering="name")
    def shown_name(self, source: Source) -> SafeString:
        return adminkit.stacked(source.name, source.get_kind_display())

    @admin.display(description="Channel")
    def shown_channel(self, source: Source) -> SafeString:
        return adminkit.badge(source.get_channel_display(), icon=_ICONS[SourceKind(source.kind)])

    @admin.display(description="Write key")
    def write_key_copy(self, source: Source) -> SafeString:
        return adminkit.copyable(source.write_key, "write key")

    @admin.display(description="Last event")
    def last_event(self, source: Any) -> SafeString | str:
        return adminkit.when(source.last_at) if source.last_at else "None lately"

    @admin.display(description="State")
    def shown_state(self, source: Source) -> SafeString:
        if source.is_enabled:
            return adminkit.badge("Enabled", "good")
        return adminkit.badge("Disabled", "warn")


class EventNameChangeList(ChangeList):
    """Knows of every name on the page how many events have it, and what share that is."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        total, count_by_id = _event_counts()
        for name in self.result_list:
            count = count_by_id.get(name.pk, 0)
            name.counted = (count, round(100 * count / total) if total else 0)


def _event_counts() -> tuple[int, dict[int, int]]:
    """Count all events, and those of each name; by the planner's estimates if they are many."""
    total, shares = vocabulary.event_name_shares()
    if total > adminkit.COUNTED_UP_TO:
        return total, {name_id: round(total * share) for name_id, share in shares.items()}
    counted = dict(Event.objects.order_by().values_list("name").annotate(count=Count("id")))
    return sum(counted.values()), counted


@admin.register(EventName)
class EventNameAdmin(ReadOnlyAdmin):
    """The kinds of events that have arrived."""

    list_display = ("shown_name", "counted", "planned", "first_seen", "last_seen")
    list_filter = ("is_expected",)
    actions = ("expect", "not_expect")
    change_form_outer_after_template = "events/plan.html"
    fields = ("shown_name", "planned", "first_seen", "last_seen", "known_properties")
    readonly_fields = fields
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)
    empty = Empty(
        "category",
        "No events yet",
        "Every kind of event shows up here by itself when it arrives for the first time.",
    )

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return EventNameChangeList

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            *live_pages.urls(),
            path("<int:pk>/plan/", wrap(self.plan), name="events_eventname_plan"),
        ]
        return own + super().get_urls()

    @admin.display(description="Name", ordering="name")
    def shown_name(self, name: EventName) -> str:
        return name.name

    @admin.display(description="Events")
    def counted(self, name: Any) -> SafeString:
        return adminkit.share(*name.counted)

    @admin.display(description="Plan", ordering="is_expected")
    def planned(self, name: EventName) -> SafeString | str:
        if name.is_expected:
            return adminkit.badge("Expected", "good", "check")
        if name.is_expected is False or self._has_plan:
            return adminkit.badge("Unexpected", "warn", "help")
        return "–"

    def get_queryset(self, request: HttpRequest) -> QuerySet[EventName]:
        self._has_plan = catalogue.has_plan()
        return super().get_queryset(request)

    @admin.display(description="Last seen", ordering="last_seen_at")
    def last_seen(self, name: EventName) -> SafeString | str:
        return adminkit.when(name.last_seen_at)

    @admin.display(description="Properties")
    def known_properties(self, name: EventName) -> SafeString:
        rows = catalogue.properties([name.pk]).get(name.pk, [])
        return render_to_string("events/properties.html", {"rows": rows})

    @admin.action(description="These are expected", permissions=["plan"])
    def expect(self, request: HttpRequest, queryset: QuerySet[EventName]) -> None:
        count = queryset.update(is_expected=True)
        messages.success(request, f"{count} in the plan; whatever is not stands out from now on.")

    @admin.action(description="These are not expected", permissions=["plan"])
    def not_expect(self, request: HttpRequest, queryset: QuerySet[EventName]) -> None:
        count = queryset.update(is_expected=False)
        messages.success(request, f"{count} not in the plan. They are taken all the same.")

    @method_decorator(require_POST)
    def plan(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Put one kind of event into the plan, or take it out."""
        name = get_object_or_404(EventName, pk=pk)
        if not self.has_plan_permission(request):
            raise PermissionDenied
        name.is_expected = request.POST.get("expected") == "yes"
        name.save(update_fields=["is_expected"])
        said = (
            "is in the plan" if name.is_expected else "is not in the plan; it is taken all the same"
        )
        messages.success(request, f"“{name}” {said}.")
        return adminkit.redirect(reverse("admin:events_eventname_change", args=[pk]))

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        context["may_plan"] = self.has_plan_permission(request)
        return super().render_change_form(request, context, **options)

    def has_plan_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("events.change_eventname"))

    @admin.display(description="First seen", ordering="first_seen_at")
    def first_seen(self, name: EventName) -> SafeString | str:
        return adminkit.when(name.first_seen_at)


class ReplayedFilter(admin.SimpleListFilter):
    """What still waits, or what was sent through again."""

    title = "state"
    parameter_name = "replayed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "Rejected"), ("yes", "Sent through again")]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Quarantine]
    ) -> QuerySet[Quarantine] | None:
        if self.value() in ("no", "yes"):
            return queryset.filter(replayed_at__isnull=self.value() == "no")
        return None


@admin.register(Quarantine)
class QuarantineAdmin(ReadOnlyAdmin):
    """Events that could not be taken, with the reason; mended, they can be sent through again."""

    list_display = ("shown_reason", "sent_by", "received", "shown_state")
    list_filter = (ReplayedFilter, "source", "code")
    list_select_related = ("source",)
    ordering = ("-id",)
    sortable_by = ()
    paginator = BoundedPaginator
    actions = ("replay",)
    fields = ("why", "sent_by", "call_made", "received", "shown_state", "event")
    readonly_fields = fields
    change_form_outer_after_template = "events/mend.html"
    empty = Empty(
        "verified",
        "No event was rejected",
        "An event that names nobody, has no name or cannot be read is kept here with the reason, "
        "and can be sent through again once that is mended.",
    )

    def get_urls(self) -> list[URLPattern]:
        again = self.admin_site.admin_view(self.again)
        own = path("<int:row_id>/again/", again, name="events_quarantine_again")
        return [own, *super().get_urls()]

    @method_decorator(require_POST)
    def again(self, request: HttpRequest, row_id: int) -> HttpResponse:
        """Send one event through again."""
        if not self.has_replay_permission(request):
            raise PermissionDenied
        row = get_object_or_404(Quarantine, pk=row_id)
        if quarantine.replay([row.pk]):
            messages.success(
                request, "It goes through again. If it still cannot be taken, it comes back here."
            )
        return adminkit.redirect(reverse("admin:events_quarantine_changelist"))

    def render_change_form(self, request: HttpRequest, context: Any, **options: Any) -> Any:
        context["may_replay"] = self.has_replay_permission(request)
        context["may_map"] = request.user.has_perm("events.view_source")
        return super().render_change_form(request, context, **options)

    @admin.display(description="Why")
    def shown_reason(self, row: Quarantine) -> SafeString:
        return adminkit.stacked(row.message, live.name_of(row.body))

    @admin.display(description="Source")
    def sent_by(self, row: Quarantine) -> str:
        return row.source.name if row.source else "a deleted source"

    @admin.display(description="Received")
    def received(self, row: Quarantine) -> SafeString | str:
        return adminkit.when(row.received_at)

    @admin.display(description="Why")
    def why(self, row: Quarantine) -> str:
        return row.message

    @admin.display(description="Call")
    def call_made(self, row: Quarantine) -> str:
        return row.call

    @admin.display(description="State")
    def shown_state(self, row: Quarantine) -> SafeString:
        if row.replayed_at:
            return adminkit.badge("Sent through again", "accent", "replay")
        return adminkit.badge("Rejected", "bad", "report")

    @admin.display(description="The event")
    def event(self, row: Quarantine) -> SafeString:
        return adminkit.preformatted(live.readable(masking.current().raw(row.body)))

    @admin.action(description="Send through again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Quarantine]) -> None:
        count = quarantine.replay([*queryset.values_list("pk", flat=True)])
        noun = "event goes" if count == 1 else "events go"
        messages.success(
            request, f"{count} {noun} through again. What still cannot be taken comes back here."
        )

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("events.change_quarantine"))

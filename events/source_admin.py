"""Who sends events: the sources, their keys and what is done with what they send."""

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from customers import adminkit
from customers.adminkit import Empty, ProductAdmin
from events import (
    amounts,
    source_pages,
    sources,
)
from events.mail import providers
from events.models import Source, SourceKind
from events.sql import history

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
        if currency and not amounts.is_currency(currency):
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

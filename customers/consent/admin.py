"""Staff's view of consent: purposes with their numbers, and the suppression list."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from customers import adminkit, consent, formats
from customers.adminkit import Empty, ProductAdmin, Use
from customers.consent import purposes, suppression_pages
from customers.models import ConsentPurpose


class PurposeForm(ModelForm):
    """A purpose; its key is brought to how we compare it."""

    class Meta:
        model = ConsentPurpose
        fields = ("label", "key", "channel", "description")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["label"].widget.attrs["data-slug-into"] = "id_key"  # until one is typed

    def clean_key(self) -> str:
        key = consent.normalise(self.cleaned_data["key"])
        if key is None:
            raise ValidationError("A key has 1 to 100 characters, and no control characters.")
        if ConsentPurpose.objects.filter(pk=key).exists():
            raise ValidationError("There is a purpose of this key already.")
        return key


class PurposeChangeList(ChangeList):
    """Knows of every purpose on the page who decided how, and what uses it."""

    model_admin: "ConsentPurposeAdmin"

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        counts = purposes.counts()
        uses = self.model_admin.uses([purpose.key for purpose in self.result_list])
        for purpose in self.result_list:
            purpose.agreed, purpose.refused = counts.get(purpose.key, (0, 0))
            purpose.uses = uses.get(purpose.key, [])


class ConsentPurposeAdmin(ProductAdmin):
    """What customers are asked to agree to. The roof registers it: it knows what uses a purpose."""

    form = PurposeForm
    list_display: Any = ("shown_label", "shown_channel", "agree", "refuse", "used_in")
    search_fields = ("key", "label")
    search_help_text = "Name or key"
    sortable_by = ()
    actions = None
    add_text = "Add purpose"
    empty = Empty(
        "verified_user",
        "No purposes yet",
        "A purpose is something customers are asked to agree to, such as a newsletter. It also "
        "comes to be by itself with the first decision that a website, a program or a file sends.",
    )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path("suppressions/", wrap(suppression_pages.show), name="customers_suppressions"),
            path(
                "suppressions/add/", wrap(suppression_pages.add), name="customers_suppressions_add"
            ),
            path(
                "suppressions/remove/",
                wrap(suppression_pages.remove),
                name="customers_suppressions_remove",
            ),
        ]
        return own + super().get_urls()

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return PurposeChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConsentPurpose]:
        return ConsentPurpose.objects.all()

    def get_readonly_fields(
        self, request: HttpRequest, obj: ConsentPurpose | None = None
    ) -> tuple[str, ...]:
        return ("key",) if obj else ()

    def uses(self, keys: Sequence[str]) -> dict[str, list[Use]]:
        """Return what relies on the purposes of these keys; the roof knows."""
        return {}

    @transaction.atomic
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Delete a purpose that nothing uses and nobody has decided about; else say why not."""
        purpose = self.get_object(request, object_id)
        back = reverse("admin:customers_consentpurpose_changelist")
        if purpose is None:
            return adminkit.redirect(back)
        if not self.has_delete_permission(request, purpose):
            raise PermissionDenied
        if uses := self.uses([purpose.key]).get(purpose.key):
            names = ", ".join(use.text for use in uses)
            messages.error(request, f"“{purpose}” is in use: {names}.")
            return adminkit.redirect(back)
        if request.method != "POST":
            return super().delete_view(request, object_id, extra_context)
        name = str(purpose)
        log = [*ConsentPurpose.objects.filter(pk=purpose.pk)]
        try:
            purposes.delete(purpose)
        except purposes.HasDecisionsError as error:
            messages.error(request, str(error))
        else:
            self.log_deletions(request, log)
            messages.success(request, f"“{name}” is deleted.")
        return adminkit.redirect(back)

    @admin.display(description="Purpose")
    def shown_label(self, purpose: ConsentPurpose) -> SafeString:
        return adminkit.stacked(purpose, purpose.key if purpose.label else purpose.description)

    @admin.display(description="Channel")
    def shown_channel(self, purpose: ConsentPurpose) -> SafeString:
        return adminkit.badge(purpose.get_channel_display(), icon=ICONS[purpose.channel])

    @admin.display(description="Agree")
    def agree(self, purpose: Any) -> SafeString:
        decided = purpose.agreed + purpose.refused
        return adminkit.share(
            purpose.agreed, round(100 * purpose.agreed / decided) if decided else 0
        )

    @admin.display(description="Refused")
    def refuse(self, purpose: Any) -> str:
        return formats.number(purpose.refused)

    @admin.display(description="Used in", empty_value="–")
    def used_in(self, purpose: Any) -> SafeString | None:
        return adminkit.links(purpose.uses) if purpose.uses else None


ICONS = {
    "email": "mail",
    "sms": "sms",
    "phone": "call",
    "post": "local_post_office",
    "push": "notifications",
    "ads": "ads_click",
    "other": "more_horiz",
}

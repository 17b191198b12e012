"""Who may use the product: users and their roles, and keys to the API."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth import admin as auth_admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from cdp import apikeys, roles
from cdp.models import ApiKey
from customers import adminkit
from customers.adminkit import Empty, ProductAdmin

admin.site.unregister(get_user_model())
admin.site.unregister(Group)


_IN_WORDS = {
    "username": ("User name", "To sign in with. Letters, digits and @ . + - _ only."),
    "email": ("E-mail", ""),
    "is_active": (
        "May sign in",
        "Take this away from who has left. Who has changed something cannot be deleted: the "
        "history says who it was.",
    ),
    "is_superuser": ("Superuser", "May do everything, whatever the roles say."),
}


def _roles_in_words() -> SafeString:
    """Say what each role may do, and what happens without one."""
    lines = ((name, roles.MEANING[name]) for name in roles.ROLES)
    said = format_html_join("", '<span class="cdp-line"><b>{}</b>: {}</span>', lines)
    return said + format_html(
        '<span class="cdp-line">{}</span>', "Without a role, somebody can sign in and sees nothing."
    )


@admin.register(User)
class UserAdmin(auth_admin.UserAdmin, ProductAdmin):  # type: ignore[misc]
    """People who may sign in. What they may do comes from their roles."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("shown_name", "shown_email", "roles", "active", "last_seen")
    list_filter = ("groups", "is_active")
    search_help_text = "Name or e-mail"
    actions = None
    add_text = "Add user"
    fieldsets = (
        ("Person", {"fields": ("username", "shown_password", "first_name", "last_name", "email")}),
        ("Rights", {"fields": ("groups", "is_active", "is_superuser")}),
    )
    add_fieldsets = (
        ("Person", {"fields": ("username", "first_name", "last_name", "email")}),
        ("Password", {"fields": ("password1", "password2")}),
        ("Rights", {"fields": ("groups",)}),
    )
    filter_horizontal = ()
    readonly_fields = ("shown_password",)
    add_form_template = "admin/change_form.html"  # Django's says that there is more afterwards

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "groups":
            return forms.ModelMultipleChoiceField(
                Group.objects.all(),
                required=False,
                label="Roles",
                help_text=_roles_in_words(),
                widget=UnfoldAdminCheckboxSelectMultipleWidget(),
            )
        return super().formfield_for_manytomany(db_field, request, **options)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field and db_field.name in _IN_WORDS:
            field.label, field.help_text = _IN_WORDS[db_field.name]
        return field

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Keep whoever has done something: the history of what they changed would go with them."""
        has_acted = obj is not None and LogEntry.objects.filter(user=obj).exists()
        return super().has_delete_permission(request, obj) and not has_acted

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: object) -> None:
        obj.is_staff = True  # who has no business here gets no user
        super().save_model(request, obj, form, bool(change))

    @admin.display(description="User", ordering="username")
    def shown_name(self, user: User) -> SafeString:
        return adminkit.stacked(user.get_full_name() or user.username, user.username)

    @admin.display(description="E-mail", ordering="email", empty_value="–")
    def shown_email(self, user: User) -> str | None:
        return user.email or None

    @admin.display(description="Password")
    def shown_password(self, user: User) -> SafeString:
        return adminkit.link("../password/", "Set a new password")

    @admin.display(description="Roles")
    def roles(self, user: User) -> SafeString:
        names = [group.name for group in user.groups.all()]
        return adminkit.badges(["Superuser", *names] if user.is_superuser else names)

    @admin.display(description="May sign in", ordering="is_active")
    def active(self, user: User) -> SafeString:
        return adminkit.badge("Yes", "good") if user.is_active else adminkit.badge("No")

    @admin.display(description="Last sign-in", ordering="last_login")
    def last_seen(self, user: User) -> SafeString | str:
        return adminkit.when(user.last_login)


class NewKeyForm(forms.ModelForm):
    """A key's name, and what it may do."""

    scopes = forms.MultipleChoiceField(
        choices=[
            (scope, f"{scope.partition(':')[0].replace('-', ' ').capitalize()}: {right}")
            for scope in apikeys.ALL_SCOPES
            for right in ("read" if scope.endswith("read") else "write",)
        ],
        label="May",
        help_text="Give a key no more than it needs: whoever has it may do this. Without “Personal "
        "data: read”, names, e-mails and phones are hidden from it.",
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )

    class Meta:
        model = ApiKey
        fields = ("name", "scopes")


@admin.register(ApiKey)
class ApiKeyAdmin(ProductAdmin):
    """Keys to the REST API. The key itself is shown once, when it is made."""

    form = NewKeyForm
    list_display = ("shown_name", "shown_scopes", "used", "made", "shown_state")
    list_display_links = None
    actions = ("revoke",)
    add_text = "Create key"
    empty = Empty(
        "key",
        "No API keys yet",
        "A key lets another program read or write customers, segments and events over the REST "
        "API. To send events from a website or a server, use the write key of a source.",
    )

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False  # a revoked key stays, so that one can see what there was

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("cdp.change_apikey"))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: object) -> None:
        made, obj.secret = apikeys.create(obj.name, form.cleaned_data["scopes"])
        obj.pk, obj.prefix = made.pk, made.prefix

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key, this once."""
        context = {"key": obj, "secret": obj.secret, "address": request.build_absolute_uri("/api/")}
        response = adminkit.page(
            request, "cdp/new_key.html", context, title="The new key", model=ApiKey
        )
        response["Cache-Control"] = "no-store"
        return response

    @admin.display(description="Key")
    def shown_name(self, key: ApiKey) -> SafeString:
        return adminkit.stacked(key.name, f"{key.prefix}…")

    @admin.display(description="May")
    def shown_scopes(self, key: ApiKey) -> SafeString:
        if set(key.scopes) >= set(apikeys.ALL_SCOPES):
            return adminkit.badge("Everything", "warn")
        return adminkit.badges([scope.replace(":", " ") for scope in key.scopes])

    @admin.display(description="Last used")
    def used(self, key: ApiKey) -> SafeString | str:
        return adminkit.when(key.last_used_at) if key.last_used_at else "Never"

    @admin.display(description="Created")
    def made(self, key: ApiKey) -> SafeString | str:
        return adminkit.when(key.created_at)

    @admin.display(description="State")
    def shown_state(self, key: ApiKey) -> SafeString:
        if key.revoked_at:
            return adminkit.badge("Revoked", "bad")
        return adminkit.badge("Valid", "good")

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        count = queryset.filter(revoked_at=None).update(revoked_at=Now())
        noun = "key was" if count == 1 else "keys were"
        messages.success(request, f"{count} {noun} revoked: requests with it are refused from now.")

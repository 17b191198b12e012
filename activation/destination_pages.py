"""The pages of destinations: where messages go, whether that works, and the secret, shown once."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from activation import destinations, outbox
from activation.models import Delivery, Destination
from customers import adminkit, clock


def destination_url(destination_id: int) -> str:
    """Return the address of a destination's page."""
    return reverse("admin:activation_destination_page", args=[destination_id])


class DestinationForm(forms.ModelForm):
    """A webhook: its name and its address."""

    url = forms.CharField(max_length=2_000, error_messages={"required": "Enter the address."})

    class Meta:
        model = Destination
        fields = ("name", "key")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["name"].error_messages["required"] = "Give the destination a name."
        if self.instance.pk:
            self.fields["key"].disabled = True
            self.initial["url"] = self.instance.config.get("url", "")

    def clean(self) -> dict[str, Any]:
        """Say at once what is wrong with the address."""
        cleaned = super().clean() or {}
        if "url" in cleaned:
            self.instance.config = {"url": cleaned["url"].strip()}
            try:
                destinations.check(self.instance)
            except destinations.DestinationError as error:
                self.add_error("url", str(error))
        return cleaned


@sensitive_variables("secret")
def edit(request: HttpRequest, destination: Destination | None) -> HttpResponse:
    """The form of a destination. The secret of a new one is on the page that follows."""
    form = DestinationForm(request.POST or None, instance=destination)
    if request.method == "POST" and form.is_valid():
        stored = form.save(commit=False)
        try:
            secret = destinations.save(stored, ("name", "config"))
        except destinations.DestinationError as error:
            form.add_error(None, str(error))
        else:
            adminkit.log(request, stored, is_new=destination is None)
            if secret:
                return _show_secret(request, stored, secret)
            return adminkit.redirect(destination_url(stored.pk))
    return adminkit.page(
        request,
        "admin/activation/destination_form.html",
        {"form": form, "destination": destination},
        title=f"Edit {destination}" if destination else "New destination",
        model=Destination,
        original=destination,
    )


def _show_secret(request: HttpRequest, destination: Destination, secret: str) -> HttpResponse:
    return adminkit.page(
        request,
        "admin/activation/secret.html",
        {"destination": destination, "secret": secret},
        title="Secret",
        model=Destination,
        original=destination,
    )


def show(request: HttpRequest, destination: Destination, more: dict[str, bool]) -> HttpResponse:
    """The page of a destination; `more` says what the user may do."""
    now = clock.now()
    waiting = Delivery.objects.waiting().filter(destination=destination)
    context = {
        "destination": destination,
        "url": destination.config.get("url", ""),
        "is_held": destination.held_until is not None and destination.held_until > now,
        "triggers": destination.triggers.select_related("segment"),
        "waiting": waiting.count(),
        **more,
    }
    return adminkit.page(
        request,
        "admin/activation/destination.html",
        context,
        title=destination.name,
        model=Destination,
        original=destination,
    )


def enable(request: HttpRequest, destination: Destination) -> HttpResponse:
    """Enable or disable a destination, as the button said."""
    destination.is_enabled = request.POST.get("to") == "on"
    try:
        destinations.save(destination, ("is_enabled",))
    except destinations.DestinationError as error:
        messages.error(request, str(error))
    else:
        text = (
            "Messages are sent again." if destination.is_enabled else "Messages wait from now on."
        )
        adminkit.log(request, destination, text)
        messages.success(request, text)
    return adminkit.redirect(destination_url(destination.pk))


@sensitive_variables("secret")
def rotate(request: HttpRequest, destination: Destination) -> HttpResponse:
    """Make a new secret and show it, once."""
    secret = destinations.rotate(destination)
    adminkit.log(request, destination, "New secret.")
    return _show_secret(request, destination, secret)


def ping(request: HttpRequest, destination: Destination) -> HttpResponse:
    """Send a message that means nothing, and answer with what came back."""
    context = {"answer": outbox.send_ping(destination)}
    return render(request, "admin/activation/ping.html", context)


def delete(request: HttpRequest, destination: Destination) -> HttpResponse:
    """Ask, then delete; refused while something sends to it."""
    refused = ""
    if request.method == "POST":
        try:
            destinations.delete(destination)
        except destinations.DestinationError as error:
            refused = str(error)
        else:
            messages.success(request, f"“{destination}” was deleted.")
            return adminkit.redirect(reverse("admin:activation_destination_changelist"))
    return adminkit.page(
        request,
        "admin/activation/destination_delete.html",
        {"destination": destination, "refused": refused},
        title=f"Delete {destination}",
        model=Destination,
        original=destination,
    )

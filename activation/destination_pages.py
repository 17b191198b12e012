"""The pages of destinations: where messages go, whether that works, and the secret, shown once."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from activation import delivery_pages, destination_forms, destinations, outbox, previews
from activation.destination_forms import DestinationForm
from activation.models import WEBHOOK, Delivery, Destination
from activation.presets import PRESETS, Preset
from customers import adminkit, clock, lookups, masking
from customers.models import Customer

_LABELS = {
    "url": "Address",
    "template": "Text",
    "mapping": "Values",
    "headers": "Headers",
    "batch": "Customers in one request",
    "sender": "From",
    "reply_to": "Answers go to",
    "subject": "Subject",
    "html": "Message, as HTML",
    "text": "Plain text",
    "service": "Service",
    "title": "Title",
    "words": "Message",
    "other": "Configuration",
    "rate": "Requests a second",
    "kind": "Kind",
    "__all__": "The form",
}


def destination_url(destination_id: int) -> str:
    """Return the address of a destination's page."""
    return reverse("admin:activation_destination_page", args=[destination_id])


@sensitive_variables("secret")
def edit(request: HttpRequest, destination: Destination | None) -> HttpResponse:
    """The form of a destination. The secret of a new one is on the page that follows."""
    may_all = request.user.has_perm(destinations.ADMIN_RIGHT)
    if destination and destinations.is_admin_only(destination) and not may_all:
        raise PermissionDenied
    form = DestinationForm(
        request.POST or None,
        instance=destination,
        initial=None if destination else _initial(request),
        may_all=may_all,
    )
    if request.method == "POST" and form.is_valid():
        stored = form.save(commit=False)
        try:
            secret = destinations.save(stored, ("name", "config", "rate"))
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
        {
            "form": form,
            "destination": destination,
            "kind": form["kind"].value() or WEBHOOK,
            "presets": PRESETS,
            "preset": _preset(request),
        },
        title=f"Edit {destination}" if destination else "New destination",
        model=Destination,
        original=destination,
    )


def _preset(request: HttpRequest) -> Preset | None:
    wanted = request.GET.get("preset", "")
    return next((preset for preset in PRESETS if preset.key == wanted), None)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """What a new destination begins with: the shape of the tool that was chosen."""
    preset = _preset(request)
    if preset is None:
        return {"kind": WEBHOOK, "body": "plain"}
    name = preset.name.partition(":")[0]
    return {"kind": WEBHOOK, "name": name, "key": preset.key} | destination_forms.shown(
        WEBHOOK, preset.config
    )


def preview(request: HttpRequest) -> HttpResponse:
    """Show what the form would send for a customer: a fragment. Nothing is sent."""
    given = request.POST
    may_all = request.user.has_perm(destinations.ADMIN_RIGHT)
    form = DestinationForm(given, may_all=may_all)
    faults = [
        f"{_LABELS.get(name, name)}: {texts[0]}"
        for name, texts in form.errors.items()
        if name not in ("name", "key")
    ]
    if faults:  # a name may be missing; what is wrong in the form is not among its clean data
        return render(request, "admin/activation/preview.html", {"problems": faults})
    draft = Destination(kind=given.get("kind") or WEBHOOK)
    context: dict[str, Any] = {"may_see_customers": True}
    try:
        draft.config = destination_forms.config_of(draft.kind, form.cleaned_data)
        customer_id = _wished(given.get("customer", "")) or previews.sample(draft)
        shown = previews.preview(draft, masking.current(), customer_id)
        context["sent_request"] = shown._replace(body=delivery_pages.pretty(shown.body))
        context["customer"] = Customer.objects.filter(pk=customer_id).first()
    except destinations.DestinationError as error:
        member = destination_forms.field_of(draft.kind, error.member)
        context["problems"] = [f"{_LABELS.get(member, member)}: {error}"]
    except previews.NobodyError as error:
        context["problems"] = [str(error)]
    return render(request, "admin/activation/preview.html", context)


def _wished(typed: str) -> int | None:
    """The customer with this CustomerId; None if none was typed. Raises NobodyError."""
    if not typed.strip():
        return None
    found = lookups.by_external_id([typed.strip()]).get(typed.strip())
    if found is None:
        raise previews.NobodyError(f"There is no customer with the CustomerId {typed.strip()}.")
    return found


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
        "url": destinations.where(destination),
        "kind": destinations.KINDS[destination.kind].label
        if destination.kind in destinations.KINDS
        else destination.kind,
        "channel": destinations.channel(destination),
        "old_secret_until": destination.old_secret_until
        if destination.old_secret_until and destination.old_secret_until > now
        else None,
        "is_signed": destinations.is_signed(destination),
        "is_held": destination.held_until is not None and destination.held_until > now,
        "trouble": destinations.trouble(destination, now),
        "triggers": destination.triggers.select_related("segment"),
        "waiting": adminkit.at_most(waiting),
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
    """Pause a destination or have it send again, as the button said."""
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
    """Make a new secret and show it, once; the old one stays valid for a day unless it leaked."""
    keep = timedelta() if request.POST.get("old") == "end" else destinations.OLD_SECRET_LASTS
    secret = destinations.rotate(destination, keep)
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
        {
            "destination": destination,
            "refused": refused or destinations.in_use(destination),
            "triggers": destination.triggers.all()[:20],
        },
        title=f"Delete {destination}",
        model=Destination,
        original=destination,
    )

"""The pages of a trigger: describe it, try it, switch it on, see what it sends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from activation import (
    delivery_pages,
    destinations,
    forecast,
    outbox,
    previews,
    sentences,
    tallies,
    triggers,
    why,
)
from activation.models import (
    AtMost,
    Attempt,
    Backlog,
    Delivery,
    Destination,
    On,
    QuietThen,
    Reason,
    Trigger,
    Unit,
)
from activation.tallies import Sent
from customers import adminkit, clock, identity, masking
from customers.models import ConsentPurpose, Customer, CustomerField, FieldType, Identifier
from segments.models import Membership, Segment, SegmentState

RECENT = timedelta(days=7)
SAMPLES = 8  # customers that are offered for a test
LATEST = 10  # deliveries that the page shows


_LEFT_OUT: dict[str, str] = {
    Reason.CAPPED: "were sent for already",
    Reason.NO_CONSENT: "do not agree",
    Reason.SUPPRESSED: "have an address that nothing may be sent to",
    Reason.NO_ADDRESS: "have no address",
    Reason.QUIET: "are left in peace",
}


def trigger_url(trigger_id: int) -> str:
    """Return the address of a trigger's page."""
    return reverse("admin:activation_trigger_page", args=[trigger_id])


def sent(trigger_ids: Sequence[int]) -> dict[int, Sent]:
    """Return what triggers have sent in the last seven days, by id of the trigger."""
    return tallies.by_trigger(trigger_ids, clock.now() - RECENT)


class TriggerForm(forms.ModelForm):
    """The sentence of a trigger."""

    class Meta:
        model = Trigger
        fields = (
            *("name", "key", "on", "stay_for", "stay_unit", "segment", "destination"),
            *("at_most", "at_most_days", "purpose"),
            *("quiet_from", "quiet_until", "quiet_zone_field", "quiet_then"),
        )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["name"].error_messages["required"] = "Give the trigger a name."
        for name in ("segment", "destination"):
            self.fields[name].error_messages["required"] = f"Choose a {name}."
        for name in ("stay_unit", "at_most", "quiet_then"):  # without scripts all are sent
            self.fields[name].required = False
        if self.instance.pk:
            self.fields["key"].disabled = True

    def clean(self) -> dict[str, Any]:
        """Forget what the sentence does not speak of, though it was filled in before."""
        cleaned = super().clean() or {}
        if cleaned.get("on") != On.STAY:
            cleaned["stay_for"] = None
        if cleaned.get("at_most") != AtMost.ONCE_PER_DAYS:
            cleaned["at_most_days"] = None
        if self.data.get("quiet") != "yes":
            cleaned |= {"quiet_from": None, "quiet_until": None, "quiet_zone_field": ""}
        for name in ("stay_unit", "at_most", "quiet_then"):
            cleaned[name] = cleaned.get(name) or self.instance._meta.get_field(name).default
        return cleaned


def edit(request: HttpRequest, trigger: Trigger | None) -> HttpResponse:
    """The form of a new trigger, or of one that is there; a new one is switched off."""
    asked = {name: request.GET.get(name) for name in ("segment", "destination")}
    initial = {name: chosen for name, chosen in asked.items() if chosen}
    form = TriggerForm(request.POST or None, instance=trigger, initial=initial)
    if request.method == "POST" and form.is_valid():
        stored = form.save(commit=False)
        try:
            triggers.save(stored)
        except triggers.TriggerError as error:
            form.add_error(error.member if error.member in form.fields else None, str(error))
        else:
            adminkit.log(request, stored, is_new=trigger is None)
            return adminkit.redirect(trigger_url(stored.pk))
    context = {
        "form": form,
        "trigger": trigger,
        "segments": Segment.objects.all(),
        "destinations": Destination.objects.all(),
        "ons": On.choices,
        "units": Unit.choices,
        "at_mosts": [
            (AtMost.EVERY_ENTRY, "every time"),
            (AtMost.ONCE, "once"),
            (AtMost.ONCE_PER_DAYS, "once in …"),
        ],
        "purposes": ConsentPurpose.objects.all(),
        "zone_fields": CustomerField.objects.filter(type=FieldType.STRING),
        "thens": QuietThen.choices,
        "is_quiet": form.data.get("quiet") == "yes"
        if form.is_bound
        else bool(trigger and trigger.quiet_from),
    }
    return adminkit.page(
        request,
        "admin/activation/trigger_form.html",
        context,
        title=f"Edit {trigger}" if trigger else "New trigger",
        model=Trigger,
        original=trigger,
    )


def estimate(request: HttpRequest) -> HttpResponse:
    """Say what the sentence in the form would do: a fragment. Nothing is stored."""
    form = TriggerForm(request.GET)
    form.is_valid()  # the name may still be missing
    said = {name: form.cleaned_data.get(name) for name in form.fields if name in form.cleaned_data}
    trigger = Trigger(**{name: value for name, value in said.items() if name != "key"})
    context: dict[str, Any] = {}
    if trigger.segment_id and trigger.destination_id and (trigger.on != On.STAY or trigger.stay):
        context = {
            "trigger": trigger,
            "sentence": sentences.sentence(trigger),
            **_would_send(trigger, clock.now()),
        }
    return render(request, "admin/activation/estimate.html", context)


def _would_send(trigger: Trigger, now: datetime) -> dict[str, Any]:
    past = forecast.past(trigger, now - RECENT, now)
    return {
        "forecast": past,
        "reasons": [(count, _LEFT_OUT[reason]) for reason, count in past.left_out.items()],
        "existing": forecast.existing(trigger, now),
    }


def ask_why(request: HttpRequest, trigger: Trigger) -> HttpResponse:
    """Say why a customer got no message, or did: a fragment."""
    customer_id, problem = _chosen(request)
    context: dict[str, Any] = {"problem": problem}
    if customer_id is not None:
        found = why.why(trigger, customer_id)
        context |= {"why": found, "trigger": trigger, "customer_id": customer_id}
    return render(request, "admin/activation/why.html", context)


def show(request: HttpRequest, trigger: Trigger, more: dict[str, bool]) -> HttpResponse:
    """The page of a trigger; `more` says what the user may do."""
    now = clock.now()
    latest = list(
        Delivery.objects.filter(trigger=trigger)
        .with_state(now)
        .select_related("trigger", "destination")
        .order_by("-id")[:LATEST]
    )
    may_see_customers = request.user.has_perm("customers.view_customer")
    context = {
        "trigger": trigger,
        "now": now,
        "sent": sent([trigger.pk]).get(trigger.pk, Sent()),
        "waiting": adminkit.at_most(Delivery.objects.filter(trigger=trigger).waiting()),
        "conditions": sentences.conditions(trigger),
        "happening": sentences.happening(trigger),
        "members": triggers.members(trigger),
        "is_filling": trigger.segment.state == SegmentState.FILLING,
        "backlog": Backlog.objects.filter(trigger=trigger).exists(),
        "was_tested": Delivery.objects.filter(
            trigger=trigger, is_test=True, delivered_at__isnull=False
        ).exists(),
        "latest": delivery_pages.with_details(request, latest),
        "samples": _samples(trigger) if may_see_customers else [],
        "channel": destinations.channel(trigger.destination),
        "may_see_customers": may_see_customers,
        **({} if trigger.is_enabled else _would_send(trigger, now)),
        **more,
    }
    return adminkit.page(
        request,
        "admin/activation/trigger.html",
        context,
        title=trigger.name,
        model=Trigger,
        original=trigger,
    )


def _samples(trigger: Trigger) -> list[Customer]:
    """The newest members, or else the newest customers, to try the trigger with."""
    members = Membership.objects.filter(segment=trigger.segment_id).select_related("customer")
    found = [member.customer for member in members.newest_first()[:SAMPLES]]
    return found or list(Customer.objects.current().order_by("-pk")[:SAMPLES])


def switch(request: HttpRequest, trigger: Trigger) -> HttpResponse:
    """Switch a trigger on or off, as the button said."""
    is_on = request.POST.get("to") == "on"
    trigger.include_existing = is_on and request.POST.get("existing") == "yes"
    try:
        (triggers.switch_on if is_on else triggers.switch_off)(trigger)
    except triggers.TriggerError as error:
        messages.error(request, str(error))
        return adminkit.redirect(trigger_url(trigger.pk))
    adminkit.log(request, trigger, "Switched on." if is_on else "Switched off.")
    said = "is on: it sends from now on" if is_on else "is off: it sends nothing more"
    messages.success(request, f"“{trigger}” {said}.")
    return adminkit.redirect(trigger_url(trigger.pk))


def send_test(request: HttpRequest, trigger: Trigger) -> HttpResponse:
    """Send a test for the chosen customer; answers with the request and what came back."""
    customer_id, problem = _chosen(request)
    attempt: Attempt | None = None
    if customer_id is not None:
        try:
            attempt = outbox.send_test(trigger, customer_id, request.POST.get("to", "").strip())
        except (outbox.NoCustomerError, outbox.TestRefusedError) as error:
            problem = str(error)
    context: dict[str, Any] = {"trigger": trigger, "problem": problem, "attempt": attempt}
    if attempt is not None:
        request_sent = previews.request_of(attempt.delivery, masking.current())
        body = delivery_pages.pretty(request_sent.body)
        context |= {"sent_request": request_sent._replace(body=body), "may_see_customers": True}
    return render(request, "admin/activation/test_result.html", context)


def _chosen(request: HttpRequest) -> tuple[int | None, str]:
    """The customer who is meant: by the CustomerId or e-mail typed, else by the one picked."""
    given = request.POST if request.method == "POST" else request.GET
    typed = given.get("customer", "").strip()
    picked = given.get("sample", "")
    if not typed:
        return (int(picked), "") if picked.isdecimal() else (None, "Choose a customer.")
    kinds = [identity.CUSTOMER_ID]
    if masking.current().is_clear:  # else addresses could be guessed
        kinds.append(identity.EMAIL)
    for kind in kinds:
        found = Identifier.objects.filter(kind=kind, value=identity.normalise(kind, typed)).first()
        if found is not None:
            return found.customer_id, ""
    what = "CustomerId or e-mail" if len(kinds) > 1 else "CustomerId"
    return None, f"There is no customer with the {what} {typed}."


def delete(request: HttpRequest, trigger: Trigger) -> HttpResponse:
    """Ask, then delete a trigger with the log of what it sent."""
    if request.method == "POST":
        triggers.delete(trigger)
        messages.success(request, f"“{trigger}” was deleted.")
        return adminkit.redirect(reverse("admin:activation_trigger_changelist"))
    sent = adminkit.at_most(Delivery.objects.filter(trigger=trigger))
    context = {"trigger": trigger, "sent": sent}
    return adminkit.page(
        request,
        "admin/activation/trigger_delete.html",
        context,
        title=f"Delete {trigger}",
        model=Trigger,
        original=trigger,
    )

"""Consent in the admin, with what the higher floors know: what uses a purpose."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from cdp.exports import pages as export_pages
from customers import adminkit, changes, clock, consent, contacts, identity, suppression
from customers.consent import Decision
from customers.consent.admin import ConsentPurposeAdmin
from customers.models import Consent, ConsentChange, ConsentPurpose, Customer, Identifier
from segments import pages
from segments.models import Segment

_HISTORY = 200  # decisions that a profile shows


@admin.register(ConsentPurpose)
class ConsentPurposePages(ConsentPurposeAdmin):
    """The purposes, with the segments that use them."""

    def header_buttons(self, request: HttpRequest) -> list[adminkit.Button]:
        return [*export_pages.button(request, "consents"), *super().header_buttons(request)]

    def uses(self, keys: Sequence[str]) -> dict[str, list[adminkit.Use]]:
        facts = {changes.field(consent.PREFIX + key): key for key in keys}
        found: dict[str, list[adminkit.Use]] = {}
        for segment in Segment.objects.filter(facts__overlap=[*facts]).only("name", "facts"):
            use = adminkit.Use(segment.name, pages.segment_url(segment.pk))
            for fact in facts.keys() & set(segment.facts):
                found.setdefault(facts[fact], []).append(use)
        return found


class ShownConsent(NamedTuple):
    """A purpose with the customer's present decision and all before."""

    purpose: str
    present: Consent
    history: list[ConsentChange]


def of_customer(request: HttpRequest, customer: Customer) -> dict[str, Any]:
    """Return what the profile shows of consent."""
    purposes = {purpose.key: purpose for purpose in ConsentPurpose.objects.all()}
    history: dict[str, list[ConsentChange]] = {}
    changes_made = ConsentChange.objects.filter(customer=customer).order_by("-at", "-id")
    for change in changes_made[:_HISTORY]:
        history.setdefault(change.purpose, []).append(change)
    present = Consent.objects.filter(customer=customer).order_by("purpose")
    return {
        "consents": [
            ShownConsent(
                str(purposes.get(row.purpose, row.purpose)), row, history.get(row.purpose, [])
            )
            for row in present
        ],
        "suppressed": _suppressed(customer),
        "purposes": purposes.values(),
        "may_decide": bool(purposes) and request.user.has_perm("customers.change_customer"),
    }


def _suppressed(customer: Customer) -> list[str]:
    """Name the kinds of the customer's addresses of which one is suppressed."""
    known = Identifier.objects.filter(customer=customer)
    found = []
    for kind, label, own in (
        (identity.EMAIL, "E-mail", contacts.email(customer.fields)),
        (identity.PHONE, "Phone", contacts.phone(customer.fields)),
    ):
        values = {own, *known.filter(kind=kind).values_list("value", flat=True)}
        if suppression.suppressed(kind, values):
            found.append(label)
    return found


@transaction.atomic
def decide(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Note what a customer told somebody."""
    purpose = ConsentPurpose.objects.filter(key=request.POST.get("purpose", "")).first()
    granted = request.POST.get("granted")
    if request.method == "POST" and purpose and granted in ("yes", "no"):
        decision = Decision(
            customer.pk,
            purpose.key,
            granted == "yes",
            clock.now(),
            via=request.POST.get("via", "").strip(),
        )
        consent.record([decision], source=adminkit.actor(request))
        messages.success(request, "The decision is noted. What was decided before stays on record.")
    else:
        messages.error(request, "Choose a purpose, and whether they agreed or refused.")
    return adminkit.redirect(adminkit.customer_url(customer.pk))

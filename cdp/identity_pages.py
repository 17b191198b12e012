"""Pages on which customers are joined and separated, with a preview of what moves."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse

from cdp import identities, profile
from cdp.identities import Preview
from customers import adminkit, fields, forms, lookups, masking, merging, unmerging
from customers.models import Customer, CustomerField, Merge
from customers.unmerging import CannotSeparateError, Split
from events import sources


class ShownValue(NamedTuple):
    """A field with what it is before and what both have afterwards, as people read it."""

    field: CustomerField
    before: str
    stays: str
    goes: str


class ShownMerge(NamedTuple):
    """A line of the history: two became one, or one left."""

    merge: Merge
    was_merged: bool
    known_by: str
    other_id: int

    @property
    def may_be_undone(self) -> bool:
        return self.merge.undone_at is None


def history(customer: Customer) -> list[ShownMerge]:
    """Return the merges and separations of a customer, newest first."""
    rows = unmerging.history(customer).order_by("-id").select_related("survivor")[:20]
    return [
        ShownMerge(
            merge,
            merge.undone_at is None or merge.at != merge.undone_at,
            _other(merge, customer),
            merge.survivor_id if merge.absorbed_id == customer.pk else merge.absorbed_id,
        )
        for merge in rows
    ]


def _other(merge: Merge, customer: Customer) -> str:
    """Name the other one of a merge: the survivor, or the absorbed by what it had gone by."""
    if merge.absorbed_id == customer.pk:
        return str(merge.survivor)
    return ", ".join(value for _, value in merge.identifiers)


def undo(request: HttpRequest, customer: Customer, merge_id: int) -> HttpResponse:
    """Show what undoing a merge takes along; do it once that is confirmed."""
    merge = unmerging.history(customer).filter(id=merge_id).first()
    if merge is None:
        raise Http404
    return _separate(
        request,
        customer,
        "Undo the merge",
        lambda: identities.preview_undo(merge),
        lambda: identities.undo(merge, by=adminkit.actor(request)),
    )


def detach(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Show what an identifier takes along; detach it once that is confirmed."""
    key = (request.GET.get("kind", ""), request.GET.get("value", ""))
    return _separate(
        request,
        customer,
        "Detach an identifier",
        lambda: identities.preview_detach(customer.pk, key),
        lambda: identities.detach(customer.pk, key, by=adminkit.actor(request)),
    )


def _separate(
    request: HttpRequest,
    customer: Customer,
    title: str,
    preview: Callable[[], Preview],
    work: Callable[[], Split],
) -> HttpResponse:
    try:
        if request.method == "POST":
            split = work()
            messages.success(request, "They are two customers again. This is the one who left.")
            return adminkit.redirect(adminkit.customer_url(split.separated_id))
        found = preview()
    except CannotSeparateError as error:
        messages.warning(request, str(error))
        return adminkit.redirect(adminkit.customer_url(customer.pk))
    context = {
        "customer": customer,
        "preview": found,
        "identifiers": [(*_kind(kind), value) for kind, value in found.split.identifiers],
        "values": _shown(found),
    }
    return adminkit.page(
        request, "cdp/separate.html", context, title=title, model=Customer, original=customer
    )


def _shown(preview: Preview) -> list[ShownValue]:
    known = fields.known()
    shown = []
    for name, *values in preview.values:
        field = known.get(name) or CustomerField(name=name, label="")
        shown.append(ShownValue(field, *_displayed(field, values)))
    return shown


def _displayed(field: CustomerField, values: Iterable[Any]) -> list[str]:
    """Return values as people read them, masked for those who may not see them."""
    mask = masking.current()
    if mask.hides(field.name):
        return ["–" if value is None else masking.MASK for value in values]
    return ["–" if value is None else mask.text(forms.display(field, value)) for value in values]


def _kind(kind: str) -> tuple[str, str]:
    return profile.KINDS.get(kind, ("tag", kind))


def join(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Ask who is the same person, show what both become, and make them one."""
    asked = request.GET.get("with", "").strip()
    other = lookups.find_one(asked) if asked else None
    if other is not None and other.pk == customer.pk:
        other = None
    if request.method == "POST" and other is not None:
        try:
            merge = identities.join(customer, other, by=adminkit.actor(request))
        except merging.CannotJoinError as error:
            messages.warning(request, str(error))
            return adminkit.redirect(adminkit.customer_url(customer.pk))
        messages.success(request, "They are one customer now. The history below can undo it.")
        return adminkit.redirect(adminkit.customer_url(merge.survivor_id))
    context: dict[str, Any] = {"customer": customer, "asked": asked, "other": other}
    if other is not None:
        context |= joined(customer, other)
    return adminkit.page(
        request,
        "cdp/join.html",
        context,
        title="Join with another customer",
        model=Customer,
        original=customer,
    )


def joined(one: Customer, other: Customer) -> dict[str, Any]:
    """Return what a page needs to show what two customers become."""
    survivor, absorbed = sorted((one, other), key=lambda c: (c.external_id is None, c.pk))
    together = merging.fields_together(survivor, absorbed, sources.protective_origins)
    known = fields.known()
    values = []
    for name in sorted(together):
        field = known.get(name) or CustomerField(name=name, label="")
        of_each = [source.get(name) for source in (survivor.fields, absorbed.fields, together)]
        values.append((field, *_displayed(field, of_each)))
    return {
        "survivor": survivor,
        "absorbed": absorbed,
        "values": values,
        "events": profile.event_types(absorbed),
        "identifiers": [
            (*_kind(row.kind), row.value) for row in absorbed.identifiers.order_by("kind")[:20]
        ],
    }

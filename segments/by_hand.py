"""Segments kept by hand: making one, adding customers by their CustomerIds, removing them."""

from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from customers import adminkit, formats, identity
from customers.imports.uploads import FileError
from customers.models import Identifier
from segments import definitions, pages
from segments.builder import SegmentForm
from segments.memberships import Transition
from segments.models import Segment, SegmentKind

MAX_LINES = 10_000  # that are pasted at a time

Tell = Callable[[Sequence[Transition]], None]  # carries news to the floors above
Take = Callable[[HttpRequest, Segment, IO[Any]], str]  # takes a file in, and says where it is shown


class Verdict(NamedTuple):
    """What became of a line that somebody pasted."""

    line: str
    text: str
    tone: str


def edit(request: HttpRequest, segment: Segment | None) -> HttpResponse:
    """The form of a segment whose members are chosen by hand, new or renamed."""
    form = SegmentForm(request.POST or None, instance=segment)
    if request.method == "POST" and form.is_valid():
        saved = form.save(commit=False)
        saved.kind = SegmentKind.STATIC
        definitions.save(saved)
        adminkit.log(request, saved, is_new=segment is None)
        if segment is None:
            messages.success(request, f"“{saved}” is there. Now add customers to it.")
        return adminkit.redirect(pages.segment_url(saved.pk))
    return adminkit.page(
        request,
        "admin/segments/by_hand.html",
        {"form": form, "segment": segment},
        title=f"Edit {segment}" if segment else "New segment by hand",
        model=Segment,
        original=segment,
    )


def add(request: HttpRequest, segment: Segment, tell: Tell, take: Take) -> HttpResponse:
    """Add the customers whose CustomerIds were pasted, and say of every line what became of it.

    A file is taken in as an import instead.
    """
    text = request.POST.get("customer_ids", "")
    file = request.FILES.get("file")
    verdicts: list[Verdict] = []
    problem = ""
    if request.method == "POST" and file:
        try:
            return adminkit.redirect(take(request, segment, file))
        except FileError as error:
            problem = str(error)
    elif request.method == "POST":
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            problem = "Paste at least one CustomerId, or choose a file."
        elif len(lines) > MAX_LINES:
            count = formats.number(len(lines))
            problem = f"These are {count} lines; at most {formats.number(MAX_LINES)} at a time."
        else:
            verdicts = _add(segment, lines, tell)
    context = {
        "segment": segment,
        "problem": problem,
        "text": text if problem else _again(verdicts),
        "verdicts": sorted(verdicts, key=lambda verdict: verdict.tone != "bad"),
        "added": sum(verdict.tone == "good" for verdict in verdicts),
        "failed": sum(verdict.tone == "bad" for verdict in verdicts),
    }
    return adminkit.page(
        request,
        "admin/segments/add_members.html",
        context,
        title="Add customers",
        model=Segment,
        original=segment,
    )


def _again(verdicts: Sequence[Verdict]) -> str:
    """The lines that failed, to be mended."""
    return "\n".join(verdict.line for verdict in verdicts if verdict.tone == "bad")


@transaction.atomic
def _add(segment: Segment, lines: Sequence[str], tell: Tell) -> list[Verdict]:
    id_of = {line: identity.normalise(identity.CUSTOMER_ID, line) for line in lines}
    customer_of = dict(
        Identifier.objects.filter(
            kind=identity.CUSTOMER_ID, value__in={value for value in id_of.values() if value}
        ).values_list("value", "customer_id")
    )
    transitions = definitions.add_members(segment, set(customer_of.values()))
    tell(transitions)
    new = {transition.customer_id for transition in transitions}
    verdicts, seen = [], set()
    for line in lines:
        customer_id = customer_of.get(id_of[line] or "")
        verdicts.append(_verdict(line, customer_id, new, is_twice=customer_id in seen))
        if customer_id is not None:
            seen.add(customer_id)
    return verdicts


def _verdict(line: str, customer_id: int | None, new: set[int], *, is_twice: bool) -> Verdict:
    if customer_id is None:
        return Verdict(line, "No customer has this CustomerId", "bad")
    if is_twice:
        return Verdict(line, "Stands here twice", "")
    if customer_id in new:
        return Verdict(line, "Added", "good")
    return Verdict(line, "Was in already", "")


@transaction.atomic
def remove(request: HttpRequest, segment: Segment, tell: Tell) -> HttpResponse:
    """Take one customer out."""
    customer_id = request.POST.get("customer_id", "")
    left = definitions.remove_members(
        segment, [int(customer_id)] if customer_id.isdecimal() else []
    )
    tell(left)
    if left:
        messages.success(request, "The customer was taken out.")
    return adminkit.redirect(pages.segment_url(segment.pk))

"""The segment builder's conversation with the browser: page, preview, suggestions, review, save."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.core.exceptions import BadRequest, ValidationError
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.html import json_script

from customers import adminkit, clock, exact, masking
from customers.adminkit import Use
from customers.masking import Mask
from customers.models import Customer, CustomerField
from events.models import EventName
from segments import (
    catalogue,
    compiled,
    compiler,
    definitions,
    evaluation,
    pages,
    parsing,
    preview,
    sentences,
    sql,
    visibility,
)
from segments.models import Audience, Segment
from segments.serializers import RESERVED_KEYS
from segments.starters import starters

SECONDS = 2  # that a preview may take while somebody edits
EXACT_SECONDS = 30  # when asked to count whatever it takes
MAX_QUOTED = 100  # conditions that the page shows as their sentence


class SegmentForm(forms.ModelForm):
    """What a segment has besides its rule."""

    class Meta:
        model = Segment
        fields = ("name", "key", "audience")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["name"].error_messages["required"] = "Give the segment a name."
        self.fields["audience"].required = False
        if self.instance.pk:
            self.fields["key"].disabled = True

    def clean_key(self) -> str:
        key = str(self.cleaned_data["key"]).lower()
        if key in RESERVED_KEYS:
            raise ValidationError("This word has a meaning in the API; choose another key.")
        return key

    def clean_audience(self) -> str:
        return self.cleaned_data.get("audience") or Audience.EVERYONE


class Draft(NamedTuple):
    """A rule as the browser sends it. `quote` lists paths whose sentences it wants."""

    rule: Any
    audience: str
    editing: str | None
    quote: Sequence[str]
    exact: bool


def page(request: HttpRequest, segment: Segment | None, uses: Sequence[Use]) -> HttpResponse:
    """The builder, for a new segment or for one by rule."""
    offered = catalogue.choices(segment.key if segment else None)
    setup = {
        "rule": segment.rule if segment else None,
        "name": segment.name if segment else "",
        "key": segment.key if segment else "",
        "audience": segment.audience if segment else Audience.EVERYONE,
        "version": segment.version if segment else None,
        "isNew": segment is None,
        "choices": offered,
        "starters": [starter._asdict() for starter in _starters()] if segment is None else [],
    }
    context = {
        "segment": segment,
        "setup": json_script(setup, "segment-setup", encoder=exact.Encoder),
        "audiences": Audience.choices,
        "uses": uses,
    }
    title = f"Edit {segment}" if segment else "New segment"
    return adminkit.page(
        request,
        "admin/segments/builder.html",
        context,
        title=title,
        model=Segment,
        original=segment,
    )


def _starters() -> list[Any]:
    names = set(EventName.objects.values_list("name", flat=True))
    types = dict(CustomerField.objects.values_list("name", "type"))
    return starters(names, types, settings.CURRENCY)


def show_preview(request: HttpRequest) -> JsonResponse:
    """Count a rule that may not be saved yet; says so if that takes too long."""
    draft = _draft(request)
    try:
        quoted = _quoted(draft)
        visibility.check(draft.rule)
        with transaction.atomic():
            sql.limit_time(EXACT_SECONDS if draft.exact else SECONDS)
            found = preview.preview(draft.rule, draft.audience, editing=draft.editing)
    except parsing.RuleError as error:
        return _fault(error)
    except DatabaseError as error:
        _only_if_slow(error)
        return JsonResponse({"slow": True, "sentence": _sentence(draft), "quoted": _quoted(draft)})
    return JsonResponse(
        {
            "count": found.count,
            "total": found.total,
            "sentence": found.sentence,
            "quoted": quoted,
            "conditions": {one.path: one.count for one in found.conditions},
            "sample": _sample(request, found.sample),
        }
    )


def _draft(request: HttpRequest) -> Draft:
    sent = _sent(request)
    quote = sent.get("quote")
    return Draft(
        sent.get("rule"),
        sent["audience"] if sent.get("audience") in Audience.values else Audience.EVERYONE,
        sent["editing"] if isinstance(sent.get("editing"), str) else None,
        [str(path) for path in quote[:MAX_QUOTED]] if isinstance(quote, list) else [],
        sent.get("exact") is True,
    )


def _sent(request: HttpRequest) -> dict[str, Any]:
    """Read the JSON that the browser sent, with all digits of its numbers."""
    try:
        sent = exact.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("This is not JSON.") from error
    if not isinstance(sent, dict):
        raise BadRequest("This is not a JSON object.")
    return sent


def _fault(error: parsing.RuleError) -> JsonResponse:
    return JsonResponse({"path": error.path, "message": error.message}, status=400)


def _only_if_slow(error: DatabaseError) -> None:
    if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled
        raise error


def _sentence(draft: Draft) -> str:
    tree = parsing.parse(draft.rule, evaluation.known(draft.editing))
    return sentences.sentence(tree, draft.audience)


def _quoted(draft: Draft) -> dict[str, str]:
    """Say in words what stands at the paths that the browser cannot show as controls."""
    if not draft.quote:
        return {}
    known = evaluation.known(draft.editing)
    parsing.parse(draft.rule, known)  # so that a fault is reported by its place in the whole
    said = {}
    for path in draft.quote:
        node = _at(draft.rule, path)
        said[path] = sentences.clause(parsing.parse(node, known))
    return said


def _at(rule: Any, path: str) -> Any:
    node = rule
    try:
        for part in path.split(".") if path else []:
            node = node[int(part)] if isinstance(node, list) else node[part]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BadRequest("There is no such place in the rule.") from error
    return node


def _sample(request: HttpRequest, customer_ids: Sequence[int]) -> list[dict[str, str]]:
    if not request.user.has_perm("customers.view_customer"):
        return []
    found = Customer.objects.in_bulk(customer_ids)
    return [
        {
            "name": str(customer),
            "note": customer.external_id or "Anonymous visitor",
            "href": adminkit.customer_url(customer.pk),
        }
        for pk in customer_ids
        if (customer := found.get(pk))
    ]


def suggest(request: HttpRequest) -> JsonResponse:
    """Values of a customer field, or what is known of the properties of events."""
    mask = masking.current()
    if field := request.GET.get("field"):
        return JsonResponse({"values": [] if mask.hides(field) else catalogue.values(field)})
    found = catalogue.properties(request.GET.getlist("event")[:20])
    seen = [
        one | {"values": [] if _is_hidden(mask, one["name"]) else one["values"]} for one in found
    ]
    return JsonResponse({"properties": seen})


def _is_hidden(mask: Mask, path: str) -> bool:
    return any(map(mask.hides, path.split(".")))


def review(request: HttpRequest, segment: Segment) -> JsonResponse:
    """Say what saving an edited rule would do to the members; null where that takes too long."""
    draft = _draft(request)
    try:
        visibility.check(draft.rule)
        tree = parsing.parse(draft.rule, evaluation.known(segment.key))
    except parsing.RuleError as error:
        return _fault(error)
    made = compiler.Compiler(evaluation.names())
    truth = made.segment(tree, draft.audience)
    source = made.out.source(compiled.EVERYBODY)  # before its parameters are read: it adds some
    parameters = made.out.parameters | compiled.clock(clock.now(), evaluation.zone())
    try:
        with transaction.atomic():
            sql.limit_time(EXACT_SECONDS)
            entering, leaving = sql.differences(source, truth.holds, parameters, segment.pk)
    except DatabaseError as error:
        _only_if_slow(error)
        return JsonResponse({"entering": None, "leaving": None})
    return JsonResponse({"entering": entering, "leaving": leaving})


def save(request: HttpRequest, segment: Segment | None) -> JsonResponse:
    """Store what the browser sent; answers with where to go next, or with what is wrong."""
    sent = _sent(request)
    if segment and sent.get("version") != segment.version:
        problem = "Somebody else has changed this segment meanwhile. Reload to see it."
        return JsonResponse({"fields": {"name": problem}}, status=409)
    form = SegmentForm(sent, instance=segment or Segment())
    if not form.is_valid():
        problems = {name: " ".join(map(str, texts)) for name, texts in form.errors.items()}
        return JsonResponse({"fields": problems}, status=400)
    edited = form.save(commit=False)
    is_edited = edited.rule != sent.get("rule")
    edited.rule = sent.get("rule")
    try:
        if is_edited:
            visibility.check(edited.rule)
        definitions.save(edited)
    except parsing.RuleError as error:
        return _fault(error)
    adminkit.log(request, edited, edited.sentence, is_new=segment is None)
    return JsonResponse({"next": pages.segment_url(edited.pk)})

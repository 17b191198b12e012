"""From the list of customers to segments: its filters as a rule, its rows as members by hand."""

from collections.abc import Collection, Sequence
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from activation import outbox
from customers.filters import Filter, rules
from segments import definitions
from segments.models import Audience, Segment, SegmentKind
from segments.serializers import RESERVED_KEYS

IDENTIFIED, ANONYMOUS = "identified", "anonymous"
_KEY_LENGTH = 50


def rule(wanted: Sequence[Filter], segment_key: str | None) -> dict[str, Any] | None:
    """Return the rule that finds whom the list's filters find; None if they say nothing."""
    parts = rules(wanted)
    if segment_key:
        parts.append({"segment": segment_key})
    return {"all": parts} if parts else None


def save(name: str, wanted: Sequence[Filter], segment_key: str | None, who: str | None) -> Segment:
    """Create the segment whose members are those whom the filters find, now and from now on.

    Without filters but `who`, all of these. Raises `parsing.RuleError`.
    """
    audience = Audience(who) if who in (IDENTIFIED, ANONYMOUS) else Audience.EVERYONE
    found = rule(wanted, segment_key) or {
        "field": "@identified",
        "op": "is",
        "value": who != ANONYMOUS,
    }
    segment = Segment(key=free_key(name), name=name, audience=audience, rule=found)
    definitions.save(segment)
    return segment


def new_by_hand(name: str) -> Segment:
    """Create a segment without members, to be filled by hand."""
    segment = Segment(key=free_key(name), name=name, kind=SegmentKind.STATIC)
    definitions.save(segment)
    return segment


def free_key(name: str) -> str:
    """Make a key of a name that no segment has yet."""
    base = slugify(name)[: _KEY_LENGTH - 5].strip("-") or "segment"
    taken = {*Segment.objects.filter(key__startswith=base).values_list("key", flat=True)}
    number = 1
    key = base
    while key in taken or key in RESERVED_KEYS:
        number += 1
        key = f"{base}-{number}"
    return key


@transaction.atomic
def add(segment: Segment, customer_ids: Collection[int]) -> int:
    """Put customers into a segment kept by hand, with all that follows; return how many are new.

    Raises `definitions.NotByHandError`.
    """
    transitions = definitions.add_members(segment, customer_ids)
    outbox.enqueue(transitions)
    return len(transitions)

"""Making, editing and removing segments, and filling those kept by hand."""

from collections.abc import Collection, Sequence

from django.db import transaction
from django.db.models import Max
from django.db.models.deletion import ProtectedError

from customers import changes, clock
from customers.models import Customer
from segments import evaluation, memberships, parsing, rules, sentences, sql
from segments.memberships import Transition
from segments.models import (
    Cause,
    Membership,
    MembershipChange,
    Recheck,
    Segment,
    SegmentKind,
    SegmentState,
)


class SegmentInUseError(Exception):
    """A segment that others rely on; `users` says what they are, for people."""

    def __init__(self, segment: Segment, users: Sequence[str]) -> None:
        super().__init__(f"“{segment}” is used by {', '.join(users)}.")
        self.users = users


NAMING = ("key", "name", "sentence", "facts", "updated_at")  # what is edited beside the rule


@transaction.atomic
def save(segment: Segment) -> None:
    """Store a new or edited segment and start its fill, and that of segments that use it.

    Raises `parsing.RuleError` when the rule cannot be taken; nothing is stored then. A segment
    that was renamed only is not filled again.
    """
    if segment.kind == SegmentKind.STATIC:
        segment.sentence = "Customers added by hand"
        segment.facts = []
        segment.save()
        return
    sql.lock_evaluation(exclusive=True)
    before = Segment.objects.filter(pk=segment.pk).first()
    _read(segment)
    if before and (before.rule, before.audience) == (segment.rule, segment.audience):
        segment.save(update_fields=NAMING)  # how far a fill has come may be newer in the table
        return
    using = _users(segment) if before else []
    _start_fill(segment)
    for user in using:
        _read(user)
        _start_fill(user)
    changes.wake()


def _read(segment: Segment) -> None:
    """Check the rule, and keep what follows from it."""
    known = evaluation.known(editing=segment.key)
    tree = parsing.parse(segment.rule, known)
    segment.facts = sorted(rules.facts(tree, segment.audience))
    segment.sentence = sentences.sentence(tree, segment.audience)


def _start_fill(segment: Segment) -> None:
    """Every customer there is now awaits evaluation; later ones are evaluated as they come."""
    segment.state = SegmentState.FILLING
    segment.fill_after = 0
    segment.fill_until = Customer.objects.aggregate(last=Max("id"))["last"] or 0
    segment.version += 1
    segment.error = ""
    segment.save()


def users_by_key() -> dict[str, list[Segment]]:
    """For each segment that others name in their rules, by key: those others."""
    users: dict[str, list[Segment]] = {}
    for segment in Segment.objects.exclude(rule=None):
        for key in _keys_in(segment.rule):
            users.setdefault(key, []).append(segment)
    return users


def _users(segment: Segment) -> list[Segment]:
    """Segments whose rules use this one, directly or through others."""
    others = [s for s in Segment.objects.exclude(pk=segment.pk) if s.rule is not None]
    found: list[Segment] = []
    keys = {segment.key}
    while more := [s for s in others if s not in found and _keys_in(s.rule) & keys]:
        found += more
        keys |= {s.key for s in more}
    return found


def _keys_in(rule: object) -> set[str]:
    """The keys of segments that a stored rule names."""
    if isinstance(rule, dict):
        own = {rule["segment"]} if isinstance(rule.get("segment"), str) else set()
        return own.union(*map(_keys_in, rule.values()))
    if isinstance(rule, list):
        return set().union(*map(_keys_in, rule))
    return set()


def using_field(name: str) -> list[Segment]:
    """The segments whose rules speak of a customer field."""
    return [segment for segment in Segment.objects.all() if changes.field(name) in segment.facts]


@transaction.atomic
def delete(segment: Segment) -> None:
    """Remove a segment with its memberships and history.

    Raises `SegmentInUseError` when other segments or triggers use it.
    """
    sql.lock_evaluation(exclusive=True)
    if using := _users(segment):
        raise SegmentInUseError(segment, [f"the segment “{user}”" for user in using])
    for model in (Membership, MembershipChange, Recheck):
        model.objects.filter(segment=segment).delete()
    try:
        segment.delete()
    except ProtectedError as error:
        users = [f"the {each._meta.verbose_name} “{each}”" for each in error.protected_objects]
        raise SegmentInUseError(segment, users) from error


class NotByHandError(Exception):
    """Only segments kept by hand take members by hand."""


@transaction.atomic
def add_members(segment: Segment, customer_ids: Collection[int]) -> list[Transition]:
    """Put customers into a segment kept by hand; return who was new. Raises `NotByHandError`."""
    _only_by_hand(segment)
    sql.lock_evaluation(exclusive=False)
    current = Customer.objects.current().filter(pk__in=customer_ids)
    rows = [(pk, segment.pk, Cause.MANUAL, None) for pk in current.values_list("pk", flat=True)]
    return _by_hand(segment, memberships.apply(sorted(rows), [], clock.now()))


@transaction.atomic
def remove_members(segment: Segment, customer_ids: Collection[int]) -> list[Transition]:
    """Take customers out of a segment kept by hand; return who left. Raises `NotByHandError`."""
    _only_by_hand(segment)
    sql.lock_evaluation(exclusive=False)
    rows = [(pk, segment.pk, Cause.MANUAL, None) for pk in sorted(set(customer_ids))]
    return _by_hand(segment, memberships.apply([], rows, clock.now()))


def _only_by_hand(segment: Segment) -> None:
    if segment.kind != SegmentKind.STATIC:
        raise NotByHandError(f"“{segment}” finds its members by its rule.")


def _by_hand(segment: Segment, transitions: list[Transition]) -> list[Transition]:
    """Tell the segments that use this one."""
    fact = f"segment:{segment.pk}"
    changes.record(changes.Fact(each.customer_id, fact) for each in transitions)
    return transitions

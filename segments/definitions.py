"""Making, editing and removing segments."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from django.db import transaction
from django.db.models import Max
from django.db.models.deletion import ProtectedError

from customers import changes, clock
from customers.models import Customer
from segments import evaluation, meanings, memberships, parsing, rules, sentences, sql
from segments.memberships import Transition
from segments.models import (
    Cause,
    Membership,
    MembershipChange,
    PastSize,
    Recheck,
    Segment,
    SegmentKind,
    SegmentState,
    Size,
)


class SegmentInUseError(Exception):
    """A segment that others rely on; `users` says what they are, for people."""

    def __init__(self, segment: Segment, users: Sequence[str]) -> None:
        super().__init__(f"“{segment}” is used by {', '.join(users)}.")
        self.users = users


DELETE_SECONDS = 600  # of one statement: a segment may have millions of members and their history
NAMING = ("key", "name", "sentence", "facts", "updated_at")  # what is edited beside the rule
FIRST_VERSION = 2  # of a rule: the one by which a new segment is filled
KEPT = (Membership, MembershipChange, Recheck, Size, PastSize)  # rows that go with a segment


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
        _say_again(_users(segment))
        return
    sql.lock_evaluation(exclusive=True)
    before = Segment.objects.filter(pk=segment.pk).first()
    _read(segment)
    using = _users(segment) if before else []
    if before and (before.rule, before.audience) == (segment.rule, segment.audience):
        segment.save(update_fields=NAMING)  # how far a fill has come may be newer in the table
        _say_again(using)
        return
    segment.ruled_at = clock.now()
    _start_fill(segment)
    PastSize.objects.filter(segment__in=[segment, *using]).delete()
    _follow(segment, using)
    changes.wake()


def _read(segment: Segment) -> None:
    """Check the rule, and keep what follows from it."""
    known = evaluation.known(editing=segment.key)
    tree = parsing.parse(segment.rule, known)
    evaluation.check_size(tree, segment.audience)
    segment.facts = sorted(rules.facts(tree, segment.audience))
    segment.sentence = sentences.sentence(tree, segment.audience)


def _say_again(using: Sequence[Segment]) -> None:
    """Name a segment as it is called now in the sentences of those that use it."""
    for user in using:
        with contextlib.suppress(parsing.RuleError):  # its own page says what is wrong with it
            _read(user)
            Segment.objects.filter(pk=user.pk).update(sentence=user.sentence)


def _start_fill(segment: Segment) -> None:
    """Every customer there is now awaits evaluation; later ones are evaluated as they come."""
    segment.state = SegmentState.FILLING
    segment.fill_after = 0
    segment.fill_until = Customer.objects.aggregate(last=Max("id"))["last"] or 0
    segment.version += 1
    segment.error = ""
    segment.save()
    _note_meaning(segment)


def _follow(segment: Segment, using: Sequence[Segment]) -> None:
    """Fill the segments that use an edited one, whose members may be others now."""
    for user in using:
        try:
            _read(user)
        except parsing.RuleError as error:
            message = f"The segment “{user}” uses this one, and could not any more: {error.message}"
            raise parsing.RuleError("", message) from error
        user.ruled_at = segment.ruled_at
        _start_fill(user)


# When words mean something else


def refill_changed() -> None:
    """Fill segments anew whose words stand for something else than when they were filled.

    Costs two small queries while nothing has changed. Those whose rules can no longer be read
    keep their members, with the reason.
    """
    found = meanings.vocabulary()
    if _looked_at.get("vocabulary") == found:
        return
    with transaction.atomic():
        sql.lock_evaluation(exclusive=True)
        for segment, meaning in _meanings(found):
            if segment.meaning not in ("", meaning):
                _refill(segment)
            elif not segment.meaning:
                Segment.objects.filter(pk=segment.pk).update(meaning=meaning)
    transaction.on_commit(lambda: _looked_at.update(vocabulary=found))


_looked_at: dict[str, meanings.Vocabulary] = {}


def _refill(segment: Segment) -> None:
    segment.skip_history_when_saving = True  # nobody has edited it
    try:
        _read(segment)
    except parsing.RuleError as error:
        Segment.objects.filter(pk=segment.pk).update(
            error=f"The rule cannot be read any more. {error}", version=segment.version + 1
        )
        _note_meaning(segment)
    else:
        _start_fill(segment)


def _meanings(found: meanings.Vocabulary) -> Iterator[tuple[Segment, str]]:
    segments = list(Segment.objects.exclude(rule=None))
    rule_of = {segment.key: segment.rule for segment in segments}
    for segment in segments:
        yield segment, found.meaning(segment.rule, rule_of)


def _note_meaning(segment: Segment) -> None:
    """Keep what the words of its rule stand for as it is filled."""
    rule_of = dict(Segment.objects.exclude(rule=None).values_list("key", "rule"))
    meaning = meanings.vocabulary().meaning(segment.rule, rule_of)
    Segment.objects.filter(pk=segment.pk).update(meaning=meaning)


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


def broken_by_type(name: str, type_: str) -> list[Segment]:
    """The segments whose rules could not be read if a customer field had this type."""
    known = evaluation.known()
    known = replace(known, types={**known.types, name: type_})
    return [segment for segment in using_field(name) if not _is_read(segment, known)]


def _is_read(segment: Segment, known: parsing.Known) -> bool:
    try:
        parsing.parse(segment.rule, known)
    except parsing.RuleError:
        return False
    return True


@transaction.atomic
def delete(segment: Segment) -> None:
    """Remove a segment with its memberships and history.

    Raises `SegmentInUseError` when other segments or triggers use it.
    """
    sql.limit_time(DELETE_SECONDS)
    sql.lock_evaluation(exclusive=True)
    if using := _users(segment):
        raise SegmentInUseError(segment, [f"the segment “{user}”" for user in using])
    for model in KEPT:
        model.objects.filter(segment=segment).delete()
    try:
        segment.delete()
    except ProtectedError as error:
        users = [f"the {each._meta.verbose_name} “{each}”" for each in error.protected_objects]
        raise SegmentInUseError(segment, users) from error


def forget_versions(segment_ids: Collection[int]) -> None:
    """Remove what is known of the former rules of segments that are gone."""
    left = Segment.objects.filter(pk__in=segment_ids).values_list("pk", flat=True)
    Segment.versions.filter(id__in=set(segment_ids) - set(left)).delete()


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

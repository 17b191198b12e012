"""From stored segments to compiled SQL: reading rules, knowing their names, compiling them."""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils.timezone import get_default_timezone_name

from customers.models import CustomerField
from events.models import EventName, Source
from segments import parsing, rules
from segments.compiled import Compiled, Names
from segments.compiler import Compiler
from segments.instants import Truth
from segments.models import Segment, SegmentKind


@dataclass(frozen=True)
class Program:
    """Segments compiled together: one FROM clause, and the truth of each segment over it."""

    out: Compiled
    truths: tuple[tuple[int, Truth], ...]  # segment id, whether a customer belongs

    def rows(self) -> list[tuple[int, str, str]]:
        """(segment id, SQL of holds, SQL of next), as `sql.diff` wants it."""
        return [(segment_id, truth.holds, truth.next) for segment_id, truth in self.truths]


def zone() -> ZoneInfo:
    """The workspace's time zone."""
    return ZoneInfo(get_default_timezone_name())


def known(editing: str | None = None) -> parsing.Known:
    """What rules may speak of now. A rule of the segment `editing` may not lead back to it."""
    types = dict(CustomerField.objects.values_list("name", "type"))
    sources = frozenset(Source.objects.values_list("key", flat=True))

    def reader(open_keys: tuple[str, ...]) -> parsing.Known:
        def segment(key: str, path: str) -> rules.Member | rules.Within:
            if key in open_keys:
                raise parsing.RuleError(path, _cycle(open_keys, key))
            found = Segment.objects.filter(key=key).first()
            if found is None:
                raise parsing.RuleError(path, f"There is no segment {key!r}.")
            if found.kind == SegmentKind.STATIC:
                return rules.Member(found.pk, key, name=found.name)
            try:
                inner = parsing.parse(found.rule, reader((*open_keys, key)))
            except parsing.RuleError as error:
                raise parsing.RuleError(path, error.message) from error
            return rules.Within(key, found.audience, inner, name=found.name)

        return parsing.Known(types, sources, segment, zone())

    return reader((editing,) if editing else ())


def _cycle(open_keys: Sequence[str], key: str) -> str:
    if len(open_keys) == 1:
        return f"The segment {key!r} cannot be used in its own rule."
    return f"This would lead back to itself: {' → '.join([*open_keys, key])}."


def names() -> Names:
    """The ids behind names now; a name without events yet has none.

    While nothing has changed it is the same object again.
    """
    sources = [*Source.objects.values_list("key", "id", "channel")]
    found = Names(
        event_ids=dict(EventName.objects.values_list("name", "id")),
        source_ids={key: number for key, number, _ in sources},
        channel_of={number: channel for _, number, channel in sources},
        zone=zone(),
        currency=settings.CURRENCY,
    )
    if _NAMES.get("last") != found:
        _NAMES["last"] = found
    return _NAMES["last"]


_NAMES: dict[str, Names] = {}


def compile_segments(segments: Sequence[Segment], names_now: Names | None = None) -> Program:
    """Compile segments into one pass over their customers' events.

    `names_now` saves the queries of `names()` to those who compile several times.
    """
    trees = parsed(segments)
    compiler = Compiler(names_now or names())
    truths = tuple(
        (segment.pk, compiler.segment(trees[segment.pk], segment.audience)) for segment in segments
    )
    return Program(compiler.out, truths)


def programs(segments: Sequence[Segment], known: Names) -> list[Program]:
    """Compile segments into as few passes as rows can hold the columns of."""
    if not segments:
        return []
    program = compile_segments(segments, known)
    if _width(program.out) <= MAX_COLUMNS or len(segments) == 1:
        return [program]
    middle = len(segments) // 2
    return programs(segments[:middle], known) + programs(segments[middle:], known)


MAX_COLUMNS = 1_500  # PostgreSQL's limit is 1,664, and joins need some


def check_size(tree: rules.Rule, audience: str) -> None:
    """Raise `parsing.RuleError` if the rule is too large to be evaluated in one pass."""
    compiler = Compiler(names())
    compiler.segment(tree, audience)
    check_width(compiler.out)


def check_width(out: Compiled) -> None:
    """Raise `parsing.RuleError` if rows cannot hold the columns of what was compiled."""
    if _width(out) > MAX_COLUMNS:
        message = "This rule is too large, with the segments it names: use fewer conditions."
        raise parsing.RuleError("", message)


def _width(out: Compiled) -> int:
    """Columns of the widest row that it makes PostgreSQL build."""
    return max(len(out.aggregates), len(out.columns)) + 1


def readable(segments: Sequence[Segment]) -> list[Segment]:
    """Leave out segments whose rules can no longer be read, and keep the reason with them.

    One that names a source that is gone must not hold up the others.
    """
    try:
        parsed(segments)
    except parsing.RuleError:
        return [segment for segment in segments if _is_readable(segment)]
    return list(segments)


def _is_readable(segment: Segment) -> bool:
    try:
        parsed([segment])
    except parsing.RuleError as error:
        reason = f"The rule cannot be read any more. {error}"
        Segment.objects.filter(pk=segment.pk).exclude(error=reason).update(error=reason)
        return False
    return True


def parsed(segments: Sequence[Segment]) -> dict[int, rules.Rule]:
    """The tree of each segment. Read once for each version of a rule, since rules change rarely."""
    missing = [segment for segment in segments if _key(segment) not in _TREES]
    if missing:
        if len(_TREES) > MAX_TREES:
            _TREES.clear()
        context = known()
        for segment in missing:
            _TREES[_key(segment)] = parsing.parse(segment.rule, context)
    return {segment.pk: _TREES[_key(segment)] for segment in segments}


MAX_TREES = 10_000
_TREES: dict[tuple[int, int], rules.Rule] = {}


def _key(segment: Segment) -> tuple[int, int]:
    return segment.pk, segment.version

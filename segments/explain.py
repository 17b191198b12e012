"""Why a customer is in a segment or not, and when time alone will change that."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from customers import clock as database_clock
from customers import exact
from customers.masking import Mask
from segments import evaluation, rules, sentences, sql
from segments.compiled import BY_ID, clock
from segments.compiler import Compiler
from segments.models import Membership, MembershipChange, Segment, SegmentKind

FURTHEST = 500  # instants looked at ahead; each is one small query


@dataclass(frozen=True)
class ExplainedCondition:
    """One condition: the customer's value, of a `field` if it names one, beside the threshold."""

    path: str
    sentence: str
    value: Any
    threshold: Any
    holds: bool
    field: str = ""


@dataclass(frozen=True)
class Explanation:
    """In or out, since when, and when that changes if nothing happens but time.

    `since` is null for somebody who was never in, and where a change is still to be carried out.
    """

    member: bool
    since: datetime | None
    next_change_at: datetime | None
    conditions: list[ExplainedCondition]


def explain(segment: Segment, customer_id: int, now: datetime | None = None) -> Explanation:
    """Explain one customer's place in a segment, evaluated at `now`, by default this instant.

    `next_change_at` is null when time alone will not change it within the next 500 instants at
    which it could. A customer who is unknown or merged is in no segment.
    """
    now = now or database_clock.now()
    is_kept, since = _kept(segment, customer_id)
    if segment.kind == SegmentKind.STATIC or not evaluation.readable([segment]):
        return Explanation(is_kept, since, None, [])
    tree = evaluation.parsed([segment])[segment.pk]
    compiler = Compiler(evaluation.names())
    truth = compiler.segment(tree, segment.audience)
    conditions = list(rules.conditions(tree))
    each = [compiler.truth(condition) for condition in conditions]
    columns = [truth.holds, f"NULLIF({truth.next}, 'infinity')"]
    for condition, one in zip(conditions, each, strict=True):
        columns += [compiler.value(condition), one.holds]
    source = compiler.out.source(BY_ID)
    parameters = compiler.out.parameters | {"ids": [customer_id]}
    row = sql.values_of(source, columns, parameters | clock(now, evaluation.zone()))
    if row is None:
        return Explanation(False, None, None, [])
    member, following, *rest = row
    explained = [
        ExplainedCondition(
            condition.path,
            sentences.clause(condition),
            holds if isinstance(condition, rules.Within) else _value(value),
            threshold(segment.rule, condition.path),
            holds,
            condition.name if isinstance(condition, rules.Field) else "",
        )
        for condition, value, holds in zip(conditions, rest[::2], rest[1::2], strict=True)
    ]
    change = _next_change(source, columns[:2], parameters, member, following)
    return Explanation(member, since if member == is_kept else None, change, explained)


def _kept(segment: Segment, customer_id: int) -> tuple[bool, datetime | None]:
    """Whether the customer is a member by what was kept up, and since when that is so."""
    own = {"segment": segment, "customer": customer_id}
    entered = Membership.objects.filter(**own).values_list("entered_at", flat=True).first()
    if entered is not None:
        return True, entered
    ends = MembershipChange.objects.filter(**own, entered=False)
    return False, ends.order_by("-at").values_list("at", flat=True).first()


def masked(explanation: Explanation, mask: Mask) -> Explanation:
    """Return an explanation without values that somebody may not see."""
    conditions = [
        replace(one, value=mask.value(one.field, one.value)) for one in explanation.conditions
    ]
    return replace(explanation, conditions=conditions)


def _next_change(
    source: str, columns: list[str], parameters: dict[str, Any], member: Any, following: Any
) -> datetime | None:
    """Step from one possible instant to the next until the customer's place differs."""
    for _ in range(FURTHEST):
        if following is None:
            return None
        moment = following
        row = sql.values_of(source, columns, parameters | clock(moment, evaluation.zone()))
        if row is None:
            return None
        belongs, following = row
        if belongs != member:
            return moment
    return None


def _value(text: str | None) -> Any:
    return None if text is None else exact.loads(text)


def threshold(rule: Any, path: str) -> Any:
    """The value that a condition of a stored rule compares with, as it was written."""
    node = rule
    for part in path.split(".") if path else []:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if "segment" in node or "sequence" in node:
        return True
    if "event" in node and "op" not in node:
        return 1
    return node.get("value")

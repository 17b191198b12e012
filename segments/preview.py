"""Counting a rule before anything is saved, now or as of another instant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from customers import clock as database_clock
from segments import evaluation, parsing, rules, sentences, sql
from segments.compiled import EVERYBODY, clock
from segments.compiler import Compiler

SAMPLE = 8
MAX_MEMBERS = 100_000


@dataclass(frozen=True)
class ConditionCount:
    """How many customers one condition holds for, by itself."""

    path: str
    sentence: str
    count: int


@dataclass(frozen=True)
class Preview:
    """What a rule says and whom it finds. Customers are ids; `total` counts all there are."""

    count: int
    total: int
    sentence: str
    conditions: list[ConditionCount]
    sample: list[int]
    members: list[int] | None


def preview(
    rule: Any,
    audience: str = "everyone",
    *,
    as_of: datetime | None = None,
    members: bool = False,
    editing: str | None = None,
) -> Preview:
    """Evaluate a rule for every customer at an instant, by default now.

    As of a past instant, events count that had occurred by then, and members by hand as they were;
    fields are as they are now.
    `members` lists up to 100,000 ids, in order; `editing` is the key of the segment that the rule
    is meant for. Raises `parsing.RuleError`.
    """
    tree = parsing.parse(rule, evaluation.known(editing))
    conditions = list(rules.conditions(tree))
    compiler = Compiler(evaluation.names(), watch=False, as_of=as_of is not None)
    truth = compiler.segment(tree, audience)
    each = [compiler.truth(condition).holds for condition in conditions]
    evaluation.check_width(compiler.out)
    by_events = _needs_events(tree, audience)
    total, count, *counts, sample, ids = sql.counts(
        compiler.out.source_of_active(EVERYBODY) if by_events else compiler.out.source(EVERYBODY),
        truth.holds,
        each,
        compiler.out.parameters | clock(as_of or database_clock.now(), evaluation.zone()),
        sample=SAMPLE,
        members=MAX_MEMBERS if members else 0,
    )
    if by_events:
        idle = sql.count_customers() - total
        total += idle
        counts = [
            n + idle * rules.holds_for_blank(one) for n, one in zip(counts, conditions, strict=True)
        ]
    return Preview(
        count=count,
        total=total,
        sentence=sentences.sentence(tree, audience),
        conditions=[
            ConditionCount(condition.path, sentences.clause(condition), number)
            for condition, number in zip(conditions, counts, strict=True)
        ],
        sample=sample or [],
        members=(ids or []) if members else None,
    )


def _needs_events(tree: rules.Rule, audience: str) -> bool:
    """Whether only customers with events can belong, and nothing but events decides.

    Then customers need not be read: all others are alike, and are counted.
    """
    return audience == "everyone" and rules.is_of_events(tree) and not rules.holds_for_blank(tree)

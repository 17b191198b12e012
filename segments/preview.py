"""Counting a rule before anything is saved, now or as of another instant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from customers import clock as database_clock
from segments import evaluation, parsing, rules, sentences, sql
from segments.compiler import Compiler, clock

SAMPLE = 8
MAX_MEMBERS = 100_000
EVERYBODY = "true"


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

    As of a past instant, events count that had occurred by then; fields are as they are now.
    `members` lists up to 100,000 ids, in order; `editing` is the key of the segment that the rule
    is meant for. Raises `parsing.RuleError`.
    """
    tree = parsing.parse(rule, evaluation.known(editing))
    compiler = Compiler(evaluation.names())
    truth = compiler.segment(tree, audience)
    conditions = list(rules.conditions(tree))
    each = [compiler.truth(condition).holds for condition in conditions]
    zone = evaluation.zone()
    found = sql.counts(
        compiler.out.source(EVERYBODY),
        truth.holds,
        each,
        compiler.out.parameters | clock(as_of or database_clock.now(), zone),
        sample=SAMPLE,
        members=MAX_MEMBERS if members else 0,
    )
    total, count, *counts, sample, ids = found
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

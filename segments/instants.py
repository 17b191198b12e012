"""When truths turn: SQL for the next instant at which time alone may change a rule.

Instants enter the text as %(now)s plus or minus whole seconds, since a day is 24 hours whatever
the clocks on the wall do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

NEVER = "'infinity'::timestamptz"
NOW = "%(now)s::timestamptz"


@dataclass(frozen=True)
class Truth:
    """A rule as SQL over c: whether it `holds` (never null), and when that may change.

    `next` is never null either: infinity when time alone cannot change it. `value` is what a
    condition compares, as SQL beneath c.
    """

    holds: str
    next: str
    value: str = "NULL"


def all_of(truths: Sequence[Truth]) -> Truth:
    """All of them. While some do not hold, nothing can turn before the last of those has."""
    holds = "(" + " AND ".join(truth.holds for truth in truths) + ")"
    return Truth(holds, _turns(holds, truths, waiting_for=False))


def any_of(truths: Sequence[Truth]) -> Truth:
    """Any of them. While some hold, nothing can turn before the last of those has."""
    holds = "(" + " OR ".join(truth.holds for truth in truths) + ")"
    return Truth(holds, _turns(f"NOT {holds}", truths, waiting_for=True))


def _turns(at_once: str, truths: Sequence[Truth], *, waiting_for: bool) -> str:
    """The next instant of a group: the first of its members' if one is enough, else the last of
    those that stand in the way."""
    moving = [truth for truth in truths if truth.next != NEVER]
    if not moving:
        return NEVER
    if len(truths) == 1:
        return truths[0].next
    first = _least([truth.next for truth in moving])
    blocking = ", ".join(
        f"CASE WHEN {truth.holds} IS {str(waiting_for).upper()} THEN {truth.next}"
        " ELSE '-infinity' END"
        for truth in truths
    )
    return f"(CASE WHEN {at_once} THEN {first} ELSE GREATEST({blocking}) END)"


def earliest(changes: Sequence[str]) -> str:
    """The first of some instants that may be null, infinity if there is none."""
    return f"COALESCE({_least(changes)}, {NEVER})" if changes else NEVER


def _least(instants: Sequence[str]) -> str:
    unique = list(dict.fromkeys(instants))
    return unique[0] if len(unique) == 1 else f"LEAST({', '.join(unique)})"


def if_later(moment: str) -> str:
    return f"(CASE WHEN {moment} > {NOW} THEN {moment} END)"


def before(moment: str, span: timedelta) -> str:
    return f"({moment} - interval '{int(span.total_seconds())} seconds')" if span else moment


def after(moment: str, span: timedelta) -> str:
    return f"({moment} + interval '{int(span.total_seconds())} seconds')" if span else moment

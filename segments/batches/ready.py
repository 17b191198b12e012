"""Statements that evaluate segments, compiled once and prepared once by each connection.

What a batch costs beside its evaluation does not grow with the rules then: reading a long
statement and planning it takes PostgreSQL longer than to run it for some hundred customers.
"""

import itertools
import re
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection
from psycopg.sql import Literal

from segments import evaluation
from segments import sql as statements_of_segments
from segments.batches import sql
from segments.compiled import BY_ID, Names, clock
from segments.evaluation import Program
from segments.models import Segment

MAX_KEPT = 2_000  # sets of segments whose statements are remembered
MAX_PREPARED = 600_000  # characters that a connection holds ready; each takes some 65 bytes there
BOUND = re.compile(r"\(%\(now\)s::timestamptz ([+-]) interval '(\d+) seconds'\)")
VARYING = {"ids": "bigint[]", "asked_of": "bigint[]", "asked_for": "bigint[]"}
INSTANTS = frozenset(clock(datetime(2000, 1, 1, tzinfo=UTC), ZoneInfo("UTC")))


@dataclass(frozen=True)
class Statement:
    """A statement with numbered parameters for what differs from batch to batch."""

    name: str
    text: str
    types: tuple[str, ...]
    parameters: tuple[tuple[str, timedelta], ...]  # name of a value, what is added to it

    def run(self, values: Mapping[str, Any]) -> list[tuple[int, int, bool]]:
        """Evaluate it: (segment id, customer id, belongs) where that is news."""
        _prepare(self)
        return sql.execute(self.name, [_shifted(values[n], by) for n, by in self.parameters])


def _shifted(value: Any, by: timedelta) -> Any:
    return value + by if by and isinstance(value, datetime) else value


# Remembering statements


@dataclass
class _Kept:
    names: Names
    ids_by_words: dict[str, list[int]]
    statements: list[Statement]

    def fits(self, names: Names) -> bool:
        """Whether the words of its rules stand for the same as when it was compiled."""
        if names is not self.names:
            same = (names.source_ids, names.channel_of, names.zone, names.currency) == (
                *(self.names.source_ids, self.names.channel_of),
                *(self.names.zone, self.names.currency),
            )
            if not same or _ids(self.ids_by_words, names) != self.ids_by_words:
                return False
            self.names = names
        return True


def statements(segments: Sequence[Segment], names: Names, *, by_pairs: bool) -> list[Statement]:
    """The statements that evaluate these segments, remembered until they mean something else."""
    key = (by_pairs, tuple((segment.pk, segment.version) for segment in segments))
    kept = _KEPT.pop(key, None)
    if kept is None or not kept.fits(names):
        words = [
            fact.removeprefix("event:")
            for segment in segments
            for fact in segment.facts
            if fact.startswith("event:")
        ]
        made = [
            _written(program, by_pairs=by_pairs) for program in evaluation.programs(segments, names)
        ]
        kept = _Kept(names, _ids(words, names), made)
    while len(_KEPT) >= MAX_KEPT:
        _KEPT.pop(next(iter(_KEPT)))
    _KEPT[key] = kept  # the latest used is the last to go
    return kept.statements


_KEPT: dict[Any, _Kept] = {}


def _ids(words: Mapping[str, Any] | Sequence[str], names: Names) -> dict[str, list[int]]:
    return {word: names.events_called([word]) for word in words}


# Writing them


def _written(program: Program, *, by_pairs: bool) -> Statement:
    """Number what differs from batch to batch, and write the rest into the text as it is.

    An instant some time before now is a parameter of its own: PostgreSQL would otherwise work it
    out for each event anew.
    """
    text = statements_of_segments.diff_text(
        program.out.source(BY_ID), program.rows(), BY_ID, by_pairs=by_pairs
    )
    places = _Places(program.out.parameters)
    text = BOUND.sub(lambda found: f"%(now{found[1]}{found[2]})s::timestamptz", text)
    text %= places
    types = [VARYING.get(name, "timestamptz") for name, _ in places.parameters]
    return Statement(f"segments_{next(_numbers)}", text, tuple(types), tuple(places.parameters))


_numbers = itertools.count(1)


class _Places(dict[str, str]):
    """What stands in a text for each name: a numbered parameter, or the value itself."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        super().__init__()
        self._constants = constants
        self.parameters: list[tuple[str, timedelta]] = []

    def __missing__(self, name: str) -> str:
        if name in VARYING or name in INSTANTS:
            self.parameters.append((name, timedelta(0)))
        elif name in self._constants:
            self[name] = Literal(self._constants[name]).as_string(connection.connection)
            return self[name]
        else:
            self.parameters.append(("now", timedelta(seconds=int(name.removeprefix("now")))))
        self[name] = f"${len(self.parameters)}"
        return self[name]


# Preparing them


def _prepare(statement: Statement) -> None:
    """Have this connection hold the statement ready, in place of those used longest ago."""
    held = _HELD.setdefault(connection.connection, {})
    if statement.name in held:
        held[statement.name] = held.pop(statement.name)
        return
    while held and sum(held.values()) + len(statement.text) > MAX_PREPARED:
        oldest = next(iter(held))
        sql.deallocate(oldest)
        del held[oldest]
    sql.prepare(statement.name, statement.types, statement.text)
    held[statement.name] = len(statement.text)


_HELD: weakref.WeakKeyDictionary[Any, dict[str, int]] = weakref.WeakKeyDictionary()

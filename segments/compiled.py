"""What compiling yields: SQL texts over customers, each computed once however often it is used."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from segments import instants
from segments.instants import NOW

EVERYBODY = "true"  # as a scope
BY_ID = "{id} = ANY(%(ids)s::bigint[])"


@dataclass(frozen=True)
class Names:
    """The ids behind the names in rules, as they are now."""

    event_ids: Mapping[str, int]
    source_ids: Mapping[str, int]
    channel_of: Mapping[int, str]
    zone: ZoneInfo
    currency: str

    def events_called(self, names: Collection[str]) -> list[int]:
        """Ids of the event names; a name ending in * stands for all that begin so."""
        found = {self.event_ids[name] for name in names if name in self.event_ids}
        if prefixes := tuple(name[:-1] for name in names if name.endswith("*")):
            found |= {n for name, n in self.event_ids.items() if name.startswith(prefixes)}
        return sorted(found)


@dataclass
class Compiled:
    """SQL texts over the customers `c` of the FROM clause that `source` writes.

    Each distinct text is computed once for each customer, as a column of c; rules combine columns.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    # (SQL over e, which events) -> column of a
    aggregates: dict[tuple[str, str], str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)  # SQL over a and customer -> column of c
    sequences: dict[str, str] = field(default_factory=dict)  # SQL -> alias
    event_ids: set[int] = field(default_factory=set)
    earliest: set[timedelta | None] = field(default_factory=set)
    _bound: dict[Any, str] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """The placeholder of a value; equal values share one."""
        key = (type(value), tuple(value) if isinstance(value, list) else value)
        name = self._bound.setdefault(key, f"p{len(self._bound)}")
        self.parameters[name] = value
        return f"%({name})s"

    def aggregate(self, text: str, only: str) -> str:
        """This aggregate of the customer's events that are as `only` says, for use in a column."""
        return "a." + self.aggregates.setdefault((text, only), f"a{len(self.aggregates)}")

    def column(self, text: str) -> str:
        """The column of c that holds this text."""
        return "c." + self.columns.setdefault(text, f"x{len(self.columns)}")

    def source(self, scope: str, *, only_active: bool = False) -> str:
        """The FROM clause: customers `c` in scope who were not merged, with their columns.

        `scope` is a condition with {id} for the customer's id, such as "{id} = ANY(%(ids)s)".
        With `only_active` those alone who have events of the names in question.
        """
        joins = ["customers_customer customer"]
        if self.aggregates:
            how = "JOIN" if only_active else "LEFT JOIN"
            joins.append(f"{how} ({self._events(scope)}) a ON a.customer_id = customer.id")
        for text, alias in self.sequences.items():
            body = text.replace("{scope}", scope.format(id="e.customer_id"))
            joins.append(f"LEFT JOIN ({body}) {alias} ON {alias}.customer_id = customer.id")
        joined = "\n".join(joins)
        where = f"customer.merged_into_id IS NULL AND {scope.format(id='customer.id')}"
        return f"(SELECT customer.id{self._columns()}\nFROM {joined}\nWHERE {where} OFFSET 0) c"

    def source_of_active(self, scope: str) -> str:
        """The FROM clause for those in scope who have events of the names in question.

        It reads no customers, so no column may; merged customers have no events.
        """
        return f"(SELECT a.customer_id AS id{self._columns()}\nFROM ({self._events(scope)}) a) c"

    def _columns(self) -> str:
        return "".join(f",\n{text} AS {name}" for text, name in self.columns.items())

    def _events(self, scope: str) -> str:
        wanted, texts = self._events_in(scope), [*self.aggregates]
        if scope == EVERYBODY and len({only for _, only in texts}) == 1:
            # All want the same events: then an index can tell them.
            wanted, texts = [*wanted, texts[0][1]], [(text, "") for text, _ in texts]
        columns = ",\n".join(
            text + (f" FILTER (WHERE {only})" if only else "") + f" AS {name}"
            for (text, only), name in zip(texts, self.aggregates.values(), strict=True)
        )
        return (
            f"SELECT e.customer_id, {columns}\nFROM events_event e\n"
            f"WHERE {' AND '.join(wanted)}\nGROUP BY e.customer_id"
        )

    def _events_in(self, scope: str) -> list[str]:
        """Which events are read at all: by name, customer, and the longest window."""
        ids = self.bind(sorted(self.event_ids))
        wanted = [f"e.name_id = ANY({ids}::int[])", scope.format(id="e.customer_id")]
        if self.earliest and None not in self.earliest:
            oldest = max(span for span in self.earliest if span is not None)
            recent = f"e.occurred_at > {instants.before(NOW, oldest)}"
            # Of few customers it must be no condition of an index: the one by time alone reads
            # a stretch of everybody's events for each of theirs.
            wanted.append(recent if scope == EVERYBODY else f"({recent}) IS TRUE")
        return wanted


def clock(now: datetime, zone: ZoneInfo) -> dict[str, datetime]:
    """The parameters that every compiled text takes from the clock."""
    local = now.astimezone(zone).replace(fold=0)  # a day begins when its first hour does
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    week = day - timedelta(days=day.weekday())
    month, year = day.replace(day=1), day.replace(month=1, day=1)
    return {
        "now": now,
        "today": day,
        "today_end": day + timedelta(days=1),
        "this_week": week,
        "this_week_end": week + timedelta(days=7),
        "this_month": month,
        "this_month_end": (month + timedelta(days=32)).replace(day=1),
        "this_year": year,
        "this_year_end": year.replace(year=year.year + 1),
    }

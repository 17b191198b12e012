"""The pages that staff open all day, each answered in this process, with all its queries.

Every kind of page is asked for in many different ways, all of them in turns: other customers,
other values, other pages of the list. What is looked for is taken from the customers there are.
Before it is measured, as many other requests let the product make the indexes that it wants.
"""

import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from bench import ground, typical
from bench.ground import Row, Size, Spent

RUNS = 25  # of each kind of page
SOME = ("customers", "text contains", "search by name", "profile")  # to see that it runs
LIST = "/admin/customers/customer/"
GOAL = "≤ 300 ms at 1,000,000 customers"


def run(size: Size) -> Iterator[Row]:
    get = client()
    if not _has_segments():
        typical.save_segments(8)
    kinds = _Pages(random.Random(42)).kinds()
    runs = RUNS
    if size.is_small:
        kinds, runs = {kind: kinds[kind] for kind in SOME}, 2
    _warm_up(get, kinds, runs)
    todo = [(kind, make()) for kind, make in kinds.items() for _ in range(runs)]
    random.Random(7).shuffle(todo)
    spent: dict[str, list[Spent]] = defaultdict(list)
    queries: dict[str, set[int]] = defaultdict(set)
    for kind, path in todo:
        with counted() as seen:
            spent[kind].append(ground.spent(lambda path=path: get(path)))
        queries[kind].add(len(seen))
    yield from (row(kind, spent[kind], queries[kind]) for kind in kinds if spent[kind])
    if size.is_small:
        return
    every = [one for kind in spent.values() for one in kind]
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    yield row(f"all {len(every)} requests, load {load}", every, set.union(*queries.values()))


def _warm_up(get: Callable[[str], Any], kinds: Mapping[str, Callable[[], str]], runs: int) -> None:
    """Ask as people do in the first days, and have the queue make the indexes that were slow."""
    from django_q.models import OrmQ

    from customers import indexing

    for kind, make in kinds.items():
        for _ in range(runs // 2 + 1):
            path = make()
            answer = get(path)
            assert answer.status_code == 200, (kind, path, answer.status_code)
    for task in OrmQ.objects.all():
        if task.func() == "customers.indexing.follow":
            indexing.follow(*task.args())
            task.delete()


def row(kind: str, spent: list[Spent], queries: set[int]) -> Row:
    walls, cpus = (
        [each * 1000 for each in column]
        for column in zip(*((s.wall, s.cpu) for s in spent), strict=True)
    )
    figures = ", ".join(
        f"p50 {p50:.0f} and p95 {p95:.0f} ms{what}"
        for what, values in (("", walls), (" of CPU", cpus))
        for p50, p95 in [[ground.percentile(values, share) for share in (0.5, 0.95)]]
    )
    most, least = max(queries), min(queries)
    count = f"{most}" if most == least else f"{least} to {most}"
    return Row(f"admin: {kind}", f"{figures}, {count} queries", goal=GOAL)


def client() -> Callable[[str], Any]:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    name = "bench"
    staff = User.objects.filter(username=name).first() or User.objects.create_superuser(name)
    client = Client()
    client.force_login(staff, "django.contrib.auth.backends.ModelBackend")
    return lambda path: client.get(path, follow=True)


def _has_segments() -> bool:
    from segments.models import Segment

    return Segment.objects.exists()


class counted:  # noqa: N801
    """Notes the statements within."""

    def __enter__(self) -> list[str]:
        from django.db import connection

        seen: list[str] = []

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            seen.append(sql)
            return execute(sql, *rest)

        self.context = connection.execute_wrapper(note)
        self.context.__enter__()
        return seen

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(*error)


class _Pages:
    """Addresses to ask for, made of customers drawn by chance."""

    def __init__(self, chance: random.Random) -> None:
        from django.db.models import Max

        from customers.models import Customer, CustomerField
        from segments.models import Segment

        self.chance = chance
        self.newest = Customer.objects.aggregate(newest=Max("id"))["newest"]
        self.types = dict(CustomerField.objects.values_list("name", "type"))
        self.segments = [*Segment.objects.values_list("pk", "key")]

    def kinds(self) -> Mapping[str, Callable[[], str]]:
        strings, numbers, dates = (self._named(kind) for kind in ("string", "number", "datetime"))
        return {
            "customers": lambda: LIST,
            "next page": lambda: f"{LIST}?after={self._id()}",
            "page before": lambda: f"{LIST}?before={self._id()}",
            "text is": lambda: self._filter(strings, ""),
            "text contains": lambda: self._filter(strings, "[contains]", self._part),
            "text contains, of no one": lambda: self._filter(
                strings, "[contains]", lambda _: f"{self.chance.choice('qxzw')}qz{self._id()}"
            ),
            "text begins with": lambda: self._filter(strings, "[starts_with]", lambda v: v[:3]),
            "text is one of": lambda: self._filter(strings, "[one_of]", self._two),
            "number from": lambda: self._filter(numbers, "[at_least]"),
            "narrow range of numbers": lambda: self._range(
                numbers, "[at_least]", "[at_most]", lambda v: (v, float(v) + 2)
            ),
            "narrow range of dates": lambda: self._range(dates, "[from]", "[to]", self._days),
            "wide range of dates": lambda: self._range(
                dates, "[from]", "[to]", lambda v: (self._days(v)[0], "2099-01-01")
            ),
            "is empty": lambda: self._filter([*self.types], "[missing]", lambda _: "true"),
            "has a value": lambda: self._filter([*self.types], "[exists]", lambda _: "true"),
            "segment": lambda: self._list(segment=self.chance.choice(self.segments)[1]),
            "identified": lambda: self._list(who="identified", after=self._id()),
            "anonymous": lambda: self._list(who="anonymous", after=self._id()),
            "last seen": lambda: self._seen("@last_seen", "in_last"),
            "first seen": lambda: self._seen("@first_seen", "in_last"),
            "not seen for days": lambda: self._seen("@last_seen", "not_in_last"),
            "seen on a day": self._seen_on,
            "two filters": lambda: self._two_filters(strings, numbers),
            "sorted": self._sorted,
            "sorted, next page": lambda: f"{self._sorted()}&after={self._id()}",
            "search by name": lambda: self._list(q=self._value("lastName", "city")),
            "search by two names": lambda: self._list(
                q=f"{self._value('firstName', 'city')} {self._value('lastName', 'city')}"
            ),
            "search by e-mail": lambda: self._list(q=self._value("email", "city")),
            "search by phone": lambda: self._list(q=self._value("phone", "city")),
            "search by CustomerId": lambda: self._list(q=self._identifier()),
            "profile": lambda: f"{LIST}{self._id()}/",
            "timeline": lambda: f"{LIST}{self._id()}/timeline/",
            "edit": lambda: f"{LIST}{self._id()}/change/",
            "segment with members": lambda: (
                f"/admin/segments/segment/{self.chance.choice(self.segments)[0]}/change/"
            ),
        }

    def _named(self, kind: str) -> list[str]:
        return [name for name, own in self.types.items() if own == kind]

    def _id(self) -> int:
        return self.chance.randint(1, self.newest)

    def _value(self, *names: str) -> str:
        """A value of the first of these fields that a customer drawn by chance has."""
        from customers.models import Customer

        wanted = next(name for name in names if name in self.types)
        while True:
            values = Customer.objects.filter(pk__gte=self._id()).order_by("pk")[:20]
            found = [one.fields[wanted] for one in values if wanted in one.fields]
            if found:
                return str(self.chance.choice(found))

    def _identifier(self) -> str:
        from customers.models import Customer

        customer = Customer.objects.filter(pk__gte=self._id(), external_id__isnull=False)
        return str(customer.order_by("pk").values_list("external_id", flat=True).first())

    def _list(self, **query: Any) -> str:
        return f"{LIST}?{urlencode(query)}"

    def _filter(self, names: list[str], op: str, make: Callable[[str], Any] = str) -> str:
        name = self.chance.choice(names)
        return self._list(**{f"field.{name}{op}": make(self._value(name))})

    def _range(self, names: list[str], low: str, high: str, make: Callable[[str], Any]) -> str:
        name = self.chance.choice(names)
        ends = make(self._value(name))
        return self._list(**{f"field.{name}{low}": ends[0], f"field.{name}{high}": ends[1]})

    def _part(self, value: str) -> str:
        at = self.chance.randint(0, max(0, len(value) - 4))
        return value[at : at + 4]

    def _two(self, value: str) -> str:
        return f"{value},{value[:3]}".replace("+", "")

    def _days(self, value: str) -> tuple[str, str]:
        day = date.fromisoformat(value[:10])
        return f"{day:%Y-%m-%d}", f"{day + timedelta(days=self.chance.randint(0, 3)):%Y-%m-%d}"

    def _seen(self, name: str, op: str) -> str:
        return self._list(**{f"field.{name}[{op}]": self.chance.randint(1, 90)})

    def _seen_on(self) -> str:
        day = date.today() - timedelta(days=self.chance.randint(0, 400))  # noqa: DTZ011
        name = self.chance.choice(["@first_seen", "@last_seen"])
        return self._list(**{f"field.{name}[from]": day, f"field.{name}[to]": day})

    def _two_filters(self, strings: list[str], numbers: list[str]) -> str:
        text, number = self.chance.choice(strings), self.chance.choice(numbers)
        return self._list(
            **{
                f"field.{text}": self._value(text),
                f"field.{number}[at_most]": self._value(number),
            }
        )

    def _sorted(self) -> str:
        """Sorted by one of the columns that show fields; they stand behind two others."""
        return f"{LIST}?o={self.chance.choice(['', '-'])}{self.chance.choice([2, 3])}"

"""The log of messages when it is long: its pages and lists, and forgetting what is old.

The messages are made by SQL, some of every kind, of the last 120 days, most of them of the last 20.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from bench import ground, pages
from bench.ground import Row, Size, Spent

RUNS = 15
GOAL = "≤ 300 ms"
TRIGGERS = 12
LIST = "/admin/activation/delivery/"


def run(size: Size) -> Iterator[Row]:
    count = max(2_000, size.events * 3 // 10)
    make(count, size.customers)
    spent: dict[str, list[Spent]] = defaultdict(list)
    asked: dict[str, set[int]] = defaultdict(set)
    asked_for = kinds(random.Random(42))
    runs = 1 if size.is_small else RUNS
    todo = [(kind, address()) for kind, address in asked_for.items() for _ in range(runs)]
    random.Random(7).shuffle(todo)
    get = pages.client()
    warm_up = [(kind, address()) for kind, address in asked_for.items()]
    for kind, path in [*warm_up, *todo]:
        with pages.counted() as seen:
            answers: list[Any] = []
            taken = ground.spent(lambda path=path, answers=answers: answers.append(get(path)))
        assert answers[0].status_code == 200, (kind, path, answers[0].status_code)
        spent[kind].append(taken)
        asked[kind].add(len(seen))
    for kind in asked_for:
        what = kind if kind.startswith("API") else f"admin: {kind}"
        yield pages.row(kind, spent[kind][1:], asked[kind])._replace(what=what, goal=GOAL)
    yield from _pruned(count)


def make(count: int, customers: int, *, vacuum: bool = True) -> None:
    """Have so many messages, unless there are some."""
    from django.db import connection, transaction

    from activation.models import Delivery

    if Delivery.objects.exists():
        return
    with transaction.atomic(), connection.cursor() as cursor:
        if vacuum:  # else the references of all these rows would be checked, one by one
            cursor.execute("SET LOCAL session_replication_role = replica")
        _make(count, customers)
    ground.analyze(vacuum=vacuum)


def _make(count: int, customers: int) -> None:
    from django.db import connection

    from activation.models import Destination, Trigger
    from segments.models import Segment, SegmentState

    busy = Segment.objects.create(
        key="busy", name="Busy", kind="static", rule=None, state=SegmentState.LIVE
    )
    places = [
        Destination.objects.create(
            key=key, name=key, config={"url": "https://receiver.example"}, secret="whsec_", **more
        )
        for key, more in PLACES.items()
    ]
    for number in range(TRIGGERS):
        Trigger.objects.create(
            key=f"trigger-{number}",
            name=f"Trigger {number}",
            segment=busy,
            destination=places[number % len(places)],
            is_enabled=number % 3 > 0,
        )
    first = Trigger.objects.order_by("pk").values_list("pk", flat=True)[0]
    with connection.cursor() as cursor:
        values = {"count": count, "customers": customers, "segment": busy.pk, "first": first}
        for statement in (MEMBERS, MESSAGES, ATTEMPTS, TALLIES):
            cursor.execute(statement, values)


PLACES: dict[str, dict[str, Any]] = {
    "mail-tool": {},
    "shop": {"failures_in_a_row": 7},
    "paused": {"is_enabled": False},
}
MEMBERS = """
    WITH entered AS (
        INSERT INTO segments_membership (customer_id, segment_id, entered_at, entry_no, cause)
        SELECT id, %(segment)s, now() - id * interval '20 days' / %(customers)s, 1, 'event'
        FROM customers_customer WHERE id %% 3 = 0
        RETURNING *
    ), sized AS (
        INSERT INTO segments_size SELECT %(segment)s, count(*) FROM entered
    )
    INSERT INTO segments_membershipchange
        (customer_id, segment_id, entered, at, cause, entry_no)
    SELECT customer_id, segment_id, true, entered_at, cause, 1 FROM entered ORDER BY entered_at
"""
# Of a hundred: 90 delivered, 3 failed, 4 left out, 2 wait and 1 is a test. The triggers of a paused
# destination have nothing but what waits, and few.
MESSAGES = """
    WITH made AS (
        SELECT n, now() - CASE WHEN n %% 10 = 0 THEN interval '120 days' ELSE interval '20 days' END
                   * (1 - n::float8 / %(count)s) AS at,
               1 + (n * 7919) %% %(customers)s AS customer_id, 1 + n / %(customers)s AS entry_no,
               floor(power(12, random()))::int - 1 AS nth, (random() * 100)::int AS kind
        FROM generate_series(1, %(count)s::bigint) n
    ), placed AS (
        SELECT made.*, t.id AS trigger_id, t.destination_id,
               CASE WHEN kind <= 90 THEN 'delivered' WHEN kind <= 93 THEN 'dead'
                    WHEN kind <= 97 THEN 'capped' WHEN kind <= 99 THEN 'waits' ELSE 'test' END
                   AS became
        FROM made JOIN activation_trigger t ON t.id = %(first)s + nth
    )
    INSERT INTO activation_delivery
        (id, trigger_id, destination_id, customer_id, entry_no, is_test, body, created_at,
         caused_at, reason, due_at, attempts_made, delivered_at, dead_at, cancelled_at, last_error)
    SELECT uuidv7(at - statement_timestamp()), trigger_id, destination_id, customer_id, entry_no,
           became = 'test',
           CASE WHEN became = 'capped' THEN '' ELSE jsonb_build_object(
               'type', 'segment.entered', 'timestamp', at,
               'data', jsonb_build_object('customer', customer_id, 'segment', 'busy',
                                          'rest', repeat('0123456789', 60)))::text
           END, at, at, CASE WHEN became = 'capped' THEN 'capped' ELSE '' END, at,
           CASE WHEN became IN ('delivered', 'test') THEN 1 WHEN became = 'dead' THEN 3 ELSE 0 END,
           CASE WHEN became IN ('delivered', 'test') THEN at + interval '1 second' END,
           CASE WHEN became = 'dead' THEN at + interval '1 minute' END,
           CASE WHEN became = 'capped' THEN at END,
           CASE WHEN became = 'dead' THEN '500 Internal Server Error' ELSE '' END
    FROM placed ORDER BY at
"""
ATTEMPTS = """
    INSERT INTO activation_attempt (delivery_id, at, status, ms, error, response)
    SELECT id, created_at + nth * interval '10 seconds',
           CASE WHEN dead_at IS NULL THEN 204 ELSE 500 END, 42, last_error, ''
    FROM activation_delivery CROSS JOIN LATERAL generate_series(1, attempts_made) nth
    ORDER BY created_at
"""


TALLIES = """
    INSERT INTO activation_tally (trigger_id, hour, delivered, failed)
    SELECT trigger_id, date_trunc('hour', COALESCE(delivered_at, dead_at), 'UTC'),
           count(delivered_at), count(dead_at)
    FROM activation_delivery
    WHERE NOT is_test AND COALESCE(delivered_at, dead_at) > now() - interval '90 days'
    GROUP BY 1, 2
"""


def kinds(chance: random.Random) -> dict[str, Callable[[], str]]:
    """Addresses to ask for, of each kind many."""
    from activation.models import Delivery, Destination, Reason, State, Trigger

    triggers = [*Trigger.objects.order_by("pk")]
    destinations = [*Destination.objects.order_by("pk")]
    customers = [*Delivery.objects.order_by("id").values_list("customer_id", flat=True)[:50]]
    middles = [*Delivery.objects.order_by("id").values_list("id", flat=True)[20_000::100_000]]
    day = (datetime.now(UTC) - timedelta(days=9)).date()
    middles = middles or [*Delivery.objects.values_list("id", flat=True)[:5]]

    def log(**query: object) -> str:
        return f"{LIST}?{urlencode(query)}"

    def api(**query: object) -> str:
        return f"/api/deliveries/?{urlencode(query)}"

    def any_trigger() -> Any:
        return chance.choice(triggers)

    def by_trigger(page: str) -> Callable[[], str]:
        return lambda: f"/admin/activation/trigger/{page.format(any_trigger().pk)}"

    states = {
        f"deliveries that are {state.label.lower()}": lambda state=state: log(
            state=state, **({"after": chance.choice(middles)} if chance.random() < 0.5 else {})
        )
        for state in State
    }
    return {
        "Home": lambda: "/admin/",
        "triggers": by_trigger(""),
        "a trigger": by_trigger("{}/"),
        "a trigger, before it is deleted": by_trigger("{}/delete/"),
        "dry run and existing members, in the form": lambda: (
            f"/admin/activation/trigger/estimate/?on={chance.choice(['enter', 'leave'])}"
            f"&segment={triggers[0].segment_id}&destination={destinations[0].pk}"
            f"&at_most={chance.choice(['every_entry', 'once'])}"
        ),
        "destinations": lambda: "/admin/activation/destination/",
        "a destination": lambda: f"/admin/activation/destination/{chance.choice(destinations).pk}/",
        "deliveries": lambda: LIST,
        "deliveries, further back": lambda: log(after=chance.choice(middles)),
        "deliveries, further on": lambda: log(before=chance.choice(middles)),
        **states,
        "deliveries with a reason": lambda: log(reason=Reason.CAPPED),
        "deliveries, tests": lambda: log(kind="test"),
        "deliveries of a trigger": lambda: log(trigger__id__exact=any_trigger().pk),
        "deliveries of a trigger that failed": lambda: log(
            trigger__id__exact=any_trigger().pk, state=State.DEAD
        ),
        "deliveries of a destination": lambda: log(
            destination__id__exact=chance.choice(destinations).pk
        ),
        "deliveries of a customer": lambda: log(q=f"C{chance.choice(customers)}"),
        "a delivery": lambda: f"{LIST}{chance.choice(middles)}/",
        "all failed again, before": lambda: f"{LIST}again/?trigger={any_trigger().pk}",
        "a customer": lambda: f"{pages.LIST}{chance.choice(customers)}/",
        "API: deliveries": api,
        "API: of a trigger": lambda: api(trigger=any_trigger().key),
        "API: of a destination": lambda: api(destination=chance.choice(destinations).key),
        "API: of a customer": lambda: api(customer=chance.choice(customers)),
        "API: in a state": lambda: api(state=chance.choice(State.values)),
        "API: of a day": lambda: api(
            since=f"{day - timedelta(days=1)}T00:00:00Z", until=f"{day}T00:00:00Z"
        ),
        "API: triggers": lambda: "/api/triggers/",
        "API: the dry run": lambda: f"/api/triggers/{any_trigger().key}/forecast/",
    }


def _pruned(count: int) -> Iterator[Row]:
    """Forget what is older than the log is kept for, as the pipeline does, stretch by stretch."""
    from activation import pruning
    from customers import clock

    now, gone, spent = clock.now(), 0, []
    while True:
        done: list[int] = []
        spent.append(ground.spent(lambda done=done: done.append(pruning.prune(now))))
        gone += done[0]
        if not done[0]:
            break
    if not gone:
        return
    yield Row(
        f"forgetting {gone:,} old messages of {count:,}, in stretches of {pruning.AT_ONCE:,}",
        f"p50 {ground.percentile([s.wall for s in spent], 0.5) * 1000:,.0f} ms, longest "
        f"{max(s.wall for s in spent) * 1000:,.0f} ms a stretch; "
        f"{sum(s.cpu for s in spent) / gone * 1e6:,.0f} µs of CPU a message",
    )

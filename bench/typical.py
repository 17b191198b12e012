"""Eight typical segments; the same by hand in SQL; and a hundred and more made of them."""

from bench import ground

BY_HAND = {
    "200 francs in 90 days": """
        SELECT count(*) FROM (
            SELECT customer_id FROM events_event
            WHERE name_id = 4 AND currency = 'CHF'
              AND occurred_at > %(now)s - interval '90 days' AND occurred_at <= %(now)s
            GROUP BY customer_id HAVING sum(amount) >= 200) s""",
    "3 visits in 30 days": """
        SELECT count(*) FROM (
            SELECT customer_id FROM events_event
            WHERE name_id = 1
              AND occurred_at > %(now)s - interval '30 days' AND occurred_at <= %(now)s
            GROUP BY customer_id HAVING count(*) >= 3) s""",
    "no order in 90 days": """
        SELECT count(*) FROM customers_customer c
        WHERE merged_into_id IS NULL AND NOT EXISTS (
            SELECT FROM events_event e WHERE e.customer_id = c.id AND name_id = 4
              AND occurred_at > %(now)s - interval '90 days' AND occurred_at <= %(now)s)""",
    "lives in Zürich": """
        SELECT count(*) FROM customers_customer
        WHERE merged_into_id IS NULL AND lower(fields ->> 'city') = 'zürich'""",
    "cart without order": """
        SELECT count(*) FROM (
            SELECT customer_id FROM events_event
            WHERE name_id IN (3, 4) AND occurred_at > %(now)s - interval '7 days'
              AND occurred_at <= %(now)s
            GROUP BY customer_id
            HAVING count(*) FILTER (WHERE name_id = 3) > 0
               AND count(*) FILTER (WHERE name_id = 4) = 0) s""",
    "first order in 30 days": """
        SELECT count(*) FROM (
            SELECT customer_id FROM events_event
            WHERE name_id = 4 AND occurred_at <= %(now)s
            GROUP BY customer_id HAVING min(occurred_at) > %(now)s - interval '30 days') s""",
    "viewed shoes in 14 days": """
        SELECT count(DISTINCT customer_id) FROM events_event
        WHERE name_id = 2 AND lower(properties ->> 'category') = 'shoes'
          AND occurred_at > %(now)s - interval '14 days' AND occurred_at <= %(now)s""",
    "spent 100 at the till": """
        SELECT count(*) FROM (
            SELECT customer_id FROM events_event
            WHERE name_id = 4 AND currency = 'CHF' AND source_id = 2
              AND occurred_at > %(now)s - interval '90 days' AND occurred_at <= %(now)s
            GROUP BY customer_id HAVING sum(amount) >= 100) s""",
}


def last(days: int) -> dict[str, object]:
    return {"within": {"last": days, "unit": "days"}}


ORDER = {"event": "Order Completed"}
SPENT = ORDER | {"measure": "sum", "property": "amount", "op": "at_least"}
NEVER = {"op": "at_most", "value": 0}
RULES = {
    "200 francs in 90 days": SPENT | {"value": 200} | last(90),
    "3 visits in 30 days": {"event": "Page Viewed", "op": "at_least", "value": 3} | last(30),
    "no order in 90 days": ORDER | NEVER | last(90),
    "lives in Zürich": {"field": "city", "op": "is", "value": "Zürich"},
    "cart without order": {"all": [{"event": "Product Added"} | last(7), ORDER | NEVER | last(7)]},
    "first order in 30 days": ORDER
    | {"measure": "first", "property": "@time", "op": "in_last"}
    | {"value": {"last": 30, "unit": "days"}},
    "viewed shoes in 14 days": {
        "event": "Product Viewed",
        "where": [{"property": "category", "op": "is", "value": "shoes"}],
    }
    | last(14),
    "spent 100 at the till": SPENT | {"value": 100, "where": [{"channel": "offline"}]} | last(90),
}


def rule(number: int) -> dict[str, object]:
    """A rule of its own for each number: first the typical ones, then others of their kinds.

    They differ in what they count, how much of it and since when, so that an event turns few.
    """
    if number < len(RULES):
        return [*RULES.values()][number]
    window = last(30 + 7 * (number % 50))
    some = {"event": ground.EVENT_NAMES[number % len(ground.EVENT_NAMES)]} | window
    match number % 8:
        case 0:
            return SPENT | {"value": 100 + 10 * number} | window
        case 1 | 2:
            return some | {"op": "at_least", "value": 4 + number % 13}
        case 3:
            return {
                "all": [some, {"field": "points", "op": "more_than", "value": 900 + number % 100}]
            }
        case 4:
            return {"field": "city", "op": "one_of", "value": ["Bern", f"Village {number}"]}
        case 5:
            often = {"event": "Page Viewed", "op": "at_least", "value": 10 + number % 40} | window
            return {"all": [often, ORDER | NEVER | window]}
        case 6:
            return (
                some
                | {"where": [{"property": "category", "op": "is", "value": "shoes"}]}
                | {"op": "at_least", "value": 3 + number % 7}
            )
    return {
        "all": [
            ORDER | {"op": "at_least", "value": 2 + number // 8},
            {"not": some | {"op": "at_least", "value": 2}},
        ]
    }


def save_segments(count: int) -> None:
    """Have so many segments; nobody is in the new ones until `fill`."""
    from segments import definitions
    from segments.models import Segment, SegmentState

    for number in range(Segment.objects.count(), count):
        name = f"{[*RULES][number % len(RULES)]} ({number})"
        definitions.save(Segment(key=f"s{number}", name=name, rule=rule(number)))
    Segment.objects.update(state=SegmentState.LIVE)


def remove_segments() -> None:
    """Have none."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE segments_segment, customers_change RESTART IDENTITY CASCADE")
        cursor.execute("TRUNCATE segments_membership, segments_membershipchange, segments_recheck")


def fill(stretch: int = 25_000, *, after: int = 0, vacuum: bool = True) -> None:
    """Evaluate all segments for everybody, as many at once as one statement takes."""
    from django.db import transaction
    from django.db.models import Max

    from customers import clock
    from customers.models import Customer
    from segments import batches, compiled, evaluation, filling, memberships, sql
    from segments.models import Segment

    segments = [*Segment.objects.order_by("id")]
    last_id = Customer.objects.aggregate(last=Max("id"))["last"]
    for first in range(0, len(segments), batches.AT_ONCE):
        program = evaluation.compile_segments(segments[first : first + batches.AT_ONCE])
        for start in range(after, last_id, stretch):
            now = clock.now()
            bounds = {"after": start, "until": start + stretch}
            with transaction.atomic(), sql.evaluating():
                differing = sql.diff(
                    program.out.source(filling.BY_RANGE),
                    program.rows(),
                    filling.BY_RANGE,
                    program.out.parameters | compiled.clock(now, evaluation.zone()) | bounds,
                )
                entering = [(c, s, "rule", None) for s, c, belongs in differing if belongs]
                memberships.apply(entering, [], now, is_silent=True)
    ground.analyze(vacuum=vacuum)

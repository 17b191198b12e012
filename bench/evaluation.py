"""Eight typical segments over everybody, against SQL written by hand for the same tables."""

from collections.abc import Iterator
from datetime import timedelta

from bench import ground
from bench.ground import Row

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


def run() -> Iterator[Row]:
    from django.db import connection

    from customers import clock
    from segments import preview

    now = clock.now() - timedelta(seconds=1)
    for name, rule in RULES.items():

        def ours(rule: object = rule) -> int:
            return preview.preview(rule, as_of=now).count

        def by_hand(name: str = name) -> int:
            with connection.cursor() as cursor:
                cursor.execute(BY_HAND[name], {"now": now})
                return cursor.fetchone()[0]

        assert ours() == by_hand(), (name, ours(), by_hand())
        mine, theirs = ground.interleaved(ours, by_hand, runs=3)
        yield Row(
            f"preview: {name}",
            f"{mine * 1000:.0f} ms",
            f"by hand {theirs * 1000:.0f} ms",
            mine / theirs,
            "≤ 1 s; ≤ 1.2×",
        )

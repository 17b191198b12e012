"""Eight typical segments over everybody, against SQL written by hand for the same tables."""

from collections.abc import Iterator
from datetime import timedelta

from bench import ground
from bench.ground import Row, Size
from bench.typical import BY_HAND, RULES


def run(size: Size) -> Iterator[Row]:
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

"""Eight typical segments over everybody, against SQL by hand on the same tables and elsewhere."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

from bench import ground, others
from bench.ground import Row, Size
from bench.typical import BY_HAND, RULES


def run(size: Size) -> Iterator[Row]:
    from customers import clock

    now = (clock.now() - timedelta(seconds=1)).astimezone(UTC)
    with tempfile.TemporaryDirectory(prefix="cdp-bench-others-") as directory:
        engines = others.engines(Path(directory))
        for name in RULES:
            competitors = {
                "": lambda name=name: _preview(name, now),
                "by hand": lambda name=name: _by_hand(name, now),
            } | {
                engine: lambda ask=ask, name=name: ask(name, now) for engine, ask in engines.items()
            }
            found = {who: ask() for who, ask in competitors.items()}
            assert len({*found.values()}) == 1, (name, found)
            mine, *theirs = ground.interleaved(*competitors.values(), runs=3)
            elsewhere = ", ".join(
                f"{who} {seconds * 1000:.0f} ms ({mine / seconds:.1f}×)"
                for who, seconds in zip([*engines], theirs[1:], strict=True)
            )
            yield Row(
                f"preview: {name}",
                f"{mine * 1000:.0f} ms",
                f"by hand {theirs[0] * 1000:.0f} ms; {elsewhere}",
                mine / theirs[0],
                "≤ 1 s; ≤ 1.2×",
            )


def _preview(name: str, now: object) -> int:
    from segments import preview

    return preview.preview(RULES[name], as_of=now).count


def _by_hand(name: str, now: object) -> int:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(BY_HAND[name], {"now": now})
        return int(cursor.fetchone()[0])

"""Shows how a segment is evaluated."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from customers import clock as database_clock
from segments import evaluation, sql
from segments.compiled import EVERYBODY, clock
from segments.models import Segment, SegmentKind


class Command(BaseCommand):
    help = "Print the SQL that evaluates a segment for everybody, and the plan of the database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", help="the key of the segment")
        parser.add_argument(
            "--analyze", action="store_true", help="run it, and show where time goes"
        )

    def handle(self, *args: Any, key: str, analyze: bool, **options: Any) -> None:
        segment = Segment.objects.filter(key=key).first()
        if segment is None:
            keys = ", ".join(Segment.objects.values_list("key", flat=True)) or "none yet"
            raise CommandError(f"There is no segment {key!r}. There are: {keys}.")
        if segment.kind == SegmentKind.STATIC:
            raise CommandError(f"{segment} is kept by hand: there is nothing to evaluate.")
        program = evaluation.compile_segments([segment])
        parameters = program.out.parameters | clock(database_clock.now(), evaluation.zone())
        text, plan = sql.plan(
            program.out.source(EVERYBODY), program.truths[0][1].holds, parameters, analyze=analyze
        )
        self.stdout.write(f"{segment.sentence}\n\n{text}\n\n{plan}")

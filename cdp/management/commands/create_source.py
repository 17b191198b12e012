"""Make a source from the command line, for automation."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from events import sources
from events.models import SourceKind


class Command(BaseCommand):
    help = "Make a source and print its write key, nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what people call it")
        parser.add_argument(
            "--kind", choices=SourceKind.values, default=SourceKind.WEBSITE, help="what it is"
        )

        parser.add_argument("--limit", type=int, default=0, help="events a second; 0: no limit")

    def handle(self, *args: Any, name: str, kind: str, limit: int, **options: Any) -> None:
        try:
            source = sources.create(name, kind, rate_limit=max(limit, 0) or None)
        except sources.BadNameError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(source.write_key)

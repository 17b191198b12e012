"""After a restore: forget again whom the backup still knows."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from cdp import erasure


class Command(BaseCommand):
    help = "Erase again, after a restore from a backup, everybody who was erased since."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            nargs="?",
            type=Path,
            default=settings.ERASURE_LOG,
            help="the file of erasures (default: CDP_ERASURE_LOG)",
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        try:
            with file.open(encoding="utf-8") as lines:
                count = erasure.reapply(lines)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        noun = "person was" if count == 1 else "people were"
        self.stdout.write(f"{count} {noun} in the database again and erased.")

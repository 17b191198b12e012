"""Let somebody in again who was erased: because they have asked for it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from customers import identity, tombstones


class Command(BaseCommand):
    help = "Let an identifier of an erased person in again, for example: readmit email ann@x.com"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kind", help="customer_id, email, phone, anonymous_id, …")
        parser.add_argument("value")

    def handle(self, *args: Any, kind: str, value: str, **options: Any) -> None:
        normal = identity.normalise(kind, value)
        if normal is None or not tombstones.lift((kind, normal)):
            raise CommandError("This identifier is not kept out.")
        self.stdout.write("What comes by this identifier is taken again.")

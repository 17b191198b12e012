"""Make a key to the REST API."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cdp import apikeys


class Command(BaseCommand):
    help = "Make a key to the REST API and print it; it cannot be read again later."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who will use it; shown beside what it changes")
        parser.add_argument(
            "--scopes",
            metavar="SCOPE,SCOPE,…",
            help=f"what it may do, of {', '.join(apikeys.ALL_SCOPES)}; everything if left out",
        )

    def handle(self, *args: Any, name: str, scopes: str | None, **options: Any) -> str:
        asked = apikeys.ALL_SCOPES if scopes is None else _names(scopes)
        if not asked:
            raise CommandError("--scopes names no scope; leave it out to allow everything")
        try:
            _, key = apikeys.create(name, asked)
        except (apikeys.NameTakenError, apikeys.UnknownScopeError, apikeys.BadNameError) as error:
            raise CommandError(str(error)) from error
        return key


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]

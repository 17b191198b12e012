"""Answer HTTP requests: one of the four processes of the product."""

import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cdp import web


class Command(BaseCommand):
    help = "Answers HTTP requests at CDP_HOST and CDP_PORT until it is stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fd", type=int, help="a socket that listens already (from `up`)")

    def handle(self, *args: Any, fd: int | None, **options: Any) -> None:
        if fd is not None:
            web.serve(socket.socket(fileno=fd))
            return
        try:
            web.serve(web.listen(settings.HOST, settings.PORT))
        except web.PortError as error:
            raise CommandError(str(error)) from None

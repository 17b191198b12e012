"""Load the demo data, or take it away again."""

import math
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import now

from cdp.demo import loading, removal, sending, state

_POLL_SECONDS = 0.5
_SAY_EVERY = 5.0  # seconds
_PATIENCE = 20.0  # seconds without any progress, before we say what is missing


class Command(BaseCommand):
    help = "Loads the demo: real purchases, a shop, an e-mail tool. Harmless if it is there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--remove", action="store_true", help="take all of the demo away again, and only it"
        )
        parser.add_argument(
            "--once", action="store_true", help="do nothing if it was removed before"
        )
        parser.add_argument(
            "--customers", type=int, help="load the first so many customers (default: all)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["remove"]:
                self._remove()
            elif not (options["once"] and state.was_removed()):
                self._load(options["customers"], may_wait=options["once"])
        except (loading.LoadError, removal.RemovalError) as error:
            raise CommandError(str(error)) from None

    def _load(self, customers: int | None, *, may_wait: bool) -> None:
        if state.is_ready():
            sending.follow_port()
            self.stdout.write("the demo is here")
            return
        if not sending.may_reach_email_tool():
            self.stdout.write(
                "with CDP_DEMO=0 nothing may be sent to this machine itself: the e-mail tool gets "
                "no message unless CDP_WEBHOOK_ALLOW_PRIVATE names its network"
            )
        if loading.start(now(), customers):
            self.stdout.write("the demo is on its way")
        self._wait(patience=math.inf if may_wait else _PATIENCE)

    def _wait(self, patience: float) -> None:
        """Stay until all is in: only then are segments made and triggers switched on."""
        said, said_at = "", time.monotonic()
        while not loading.proceed(now()):
            waited = time.monotonic() - said_at
            if waited > _SAY_EVERY and (text := loading.describe()) != said:
                self.stdout.write(text)
                said, said_at = text, time.monotonic()
            elif waited > patience:
                raise CommandError(
                    "nothing moves: the product must be running (make run); it then goes on "
                    "loading by itself"
                )
            time.sleep(_POLL_SECONDS)
        self.stdout.write("the demo is complete")

    def _remove(self) -> None:
        for line in removal.remove():
            self.stdout.write(line)

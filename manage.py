#!/usr/bin/env python
"""Django's commands, with the embedded PostgreSQL running underneath where it is used."""

import contextlib
import os
import sys
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from cdp import embedded

# `up` runs the database itself, the others do without.
_WITHOUT_DATABASE = {"up", "help", "version", "--help", "--version", "check", "collectstatic"}


def main() -> None:
    """Run the command of the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
    try:
        with _database(sys.argv[1:]):
            execute_from_command_line(sys.argv)
    except (embedded.EmbeddedError, ImproperlyConfigured) as error:
        sys.exit(str(error))
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None):  # the answer to a statement: a mistake
            raise
        sys.exit(f"The database does not answer: {error}")


def _database(arguments: list[str]) -> contextlib.AbstractContextManager[object]:
    asks_for_help = not arguments or "--help" in arguments or "-h" in arguments
    if os.environ.get("DATABASE_URL") or asks_for_help or arguments[0] in _WITHOUT_DATABASE:
        return contextlib.nullcontext()
    return embedded.running(Path(settings.DATA_DIR))


if __name__ == "__main__":
    main()

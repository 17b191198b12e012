"""What all tests share: a throw-away PostgreSQL and makers of rows."""

import contextlib
import os
import tempfile
from pathlib import Path

import environ
from django.conf import settings

from cdp import embedded

pytest_plugins = ["tests.makers", "tests.people", "tests.chromium"]

_TEMPORARY = contextlib.ExitStack()


def pytest_configure(config):
    """Start the server that all tests of this run share, before the first of them."""
    if "DATABASE_URL" not in os.environ:  # neither given, nor a worker of a run that set it
        directory = _TEMPORARY.enter_context(tempfile.TemporaryDirectory(prefix="cdp-tests-"))
        data_dir = Path(directory)
        os.environ["CDP_DATA_DIR"] = directory
        os.environ["DATABASE_URL"] = _TEMPORARY.enter_context(
            embedded.running(data_dir, lasting=False)
        )
    # Django's settings were read before any conftest.
    options = environ.Env().db_url_config(os.environ["DATABASE_URL"])
    settings.DATABASES["default"].update(options)
    if "CDP_DATA_DIR" in os.environ:
        settings.DATA_DIR = Path(os.environ["CDP_DATA_DIR"])
        settings.MEDIA_ROOT = settings.DATA_DIR / "uploads"
        settings.STATIC_ROOT = settings.DATA_DIR / "static"
        settings.STATIC_ROOT.mkdir(exist_ok=True)


def pytest_unconfigure(config):
    """Stop the server and remove its data."""
    _TEMPORARY.close()

"""What all tests share: a throw-away PostgreSQL and makers of rows."""

import contextlib
import fcntl
import os
import tempfile
from collections import Counter
from pathlib import Path

import environ
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import is_hypothesis_test
from xdist.scheduler import LoadScopeScheduling

from cdp import embedded

pytest_plugins = ["tests.makers", "tests.people", "tests.chromium"]

_TEMPORARY = contextlib.ExitStack()
_TEMPLATE = "CDP_TESTS_TEMPLATE"  # of the environment: the database that all others are copies of
# Made with the tables, and the same for every test.
_KEPT = (
    *("django_migrations", "django_content_type", "auth_permission"),
    *("auth_group", "auth_group_permissions"),
)


def pytest_configure(config):
    """Start the server that all tests of this run share, before the first of them."""
    if "DATABASE_URL" not in os.environ:  # neither given, nor a worker of a run that set it
        directory = _TEMPORARY.enter_context(tempfile.TemporaryDirectory(prefix="cdp-tests-"))
        data_dir = Path(directory)
        os.environ["CDP_DATA_DIR"] = directory
        os.environ["DATABASE_URL"] = _TEMPORARY.enter_context(
            embedded.running(data_dir, lasting=False)
        )
        os.environ[_TEMPLATE] = "cdp"
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


def pytest_make_parametrize_id(val, argname):
    """Name no test by the bytes of a file, in which there may be what each process makes anew."""
    return argname if isinstance(val, bytes) and len(val) > 20 else None


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, django_db_blocker):
    """Make the tables once: the databases of all processes of this run are copies."""
    template = os.environ.get(_TEMPLATE)
    if template is None:  # a server that is not ours has no database to spare
        return
    with (settings.DATA_DIR / "template.lock").open("w") as lock, django_db_blocker.unblock():
        fcntl.flock(lock, fcntl.LOCK_EX)
        call_command("migrate", interactive=False, verbosity=0)
        connection.close()
    settings.DATABASES["default"]["TEST"]["TEMPLATE"] = template


def _empty_tables(_):
    """Empty the tables that are not empty: Django empties all, and looks up each right anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace AND relname <> ALL (%s)",
            [[*_KEPT]],
        )
        tables = [name for (name,) in cursor.fetchall()]
        looks = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM \"{name}\")" for name in tables]
        cursor.execute(" UNION ALL ".join(looks))
        if filled := [f'"{name}"' for (name,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")


TransactionTestCase._fixture_teardown = _empty_tables


class _Scheduling(LoadScopeScheduling):
    """Keeps together what shares a product, a browser, or what a module has made."""

    def _split_scope(self, nodeid):
        return _company(nodeid)


def pytest_xdist_make_scheduler(config, log):
    config.option.loadscopereorder = False  # but keep to the order below
    return _Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is idle at the end.

    First what waits most: the other process has the processors meanwhile.
    """
    weight = Counter()
    for item in items:
        weight[_company(item.nodeid)] += 100 if is_hypothesis_test(item.obj) else 1
    weight |= Counter(live=1_000_000, browser=100_000)
    items.sort(key=lambda item: -weight[_company(item.nodeid)])


def _company(nodeid):
    """Which tests run in one process, one after the other: those of a module, or of a folder."""
    module = nodeid.partition("::")[0]
    folder = module.split("/")[1]
    return folder if folder in ("live", "browser") else module

"""What a start does before the processes run: the listener, the administrator, the tuning."""

import io
import socket

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from cdp import secret_key, tuning, web

GB = 1024**3


def ensure_admin():
    out = io.StringIO()
    call_command("ensure_admin", stdout=out)
    return out.getvalue().strip()


def test_data_directory_that_cannot_be_is_refused_by_its_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=r"CDP_DATA_DIR cannot be used, .*/file"):
        secret_key.stored(tmp_path / "file")


@pytest.mark.django_db
def test_administrator_gets_a_password_that_is_shown_once(settings):
    settings.ADMIN_PASSWORD = ""
    password = ensure_admin()
    assert len(password) >= 12
    admin = User.objects.get(username="admin")
    assert admin.check_password(password)
    assert admin.is_superuser
    assert ensure_admin() == ""
    assert User.objects.get(username="admin").check_password(password)


@pytest.mark.django_db
def test_administrator_gets_the_password_of_the_environment_silently(settings):
    settings.ADMIN_PASSWORD = "correct horse battery"
    assert ensure_admin() == ""
    assert User.objects.get(username="admin").check_password("correct horse battery")


def test_address_that_is_taken_is_refused_with_a_hint():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(web.PortError, match="CDP_PORT"),
    ):
        web.listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 0), ("127.0.0.1", 65536)])
def test_address_that_cannot_be_is_refused(host, port):
    with pytest.raises(web.PortError, match="Cannot listen on"):
        web.listen(host, port)


@pytest.mark.parametrize(
    ("memory", "buffers", "work"),
    [(GB, "128MB", "8MB"), (16 * GB, "2048MB", "64MB"), (512 * GB, "4096MB", "128MB")],
)
def test_database_gets_its_share_of_the_memory(memory, buffers, work):
    settings = tuning.settings(memory, lasting=True)
    assert (settings["shared_buffers"], settings["work_mem"]) == (buffers, work)


def test_memory_of_the_machine_is_known():
    assert GB // 8 < tuning.memory() < 1024 * 1024 * GB


@pytest.mark.django_db
def test_queue_has_an_index_on_what_it_looks_tasks_up_by():
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'cdp_queue_due'")
        assert "(key, lock)" in cursor.fetchone()[0]

"""Run the whole product: database, web, pipeline, queue and sending, supervised."""

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from activation import wakeups
from cdp import embedded, process, supervisor, web
from cdp.management.commands import ensure_admin
from cdp.supervisor import Child
from events.models import Source, SourceKind

_POLL_SECONDS = 0.2
_QUEUE_STOP_SECONDS = 4.0
_SLOW_SECONDS = 30.0  # after which we say what the start is waiting for


class Command(BaseCommand):
    help = "Runs the whole product until Ctrl+C: database, web, pipeline, queue and sending."

    def handle(self, *args: Any, **options: Any) -> None:
        boss = supervisor.Supervisor(sys.stdout)
        try:
            with contextlib.ExitStack() as stack:
                listener = stack.enter_context(web.listen(settings.HOST, settings.PORT))
                is_embedded = embedded.url(settings.DATA_DIR) == settings.DATABASE_URL
                if is_embedded:
                    stack.enter_context(embedded.keeping(settings.DATA_DIR))
                stack.callback(boss.stop)
                if is_embedded:
                    _start_database(boss)
                welcome = _Welcome(boss, listener.getsockname()[1], _set_up())
                stack.callback(welcome.tell_password)
                _start_children(boss, listener)
                boss.run(welcome.check)
        except (embedded.EmbeddedError, web.PortError) as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database does not answer: {error}") from None
        except KeyboardInterrupt:
            raise CommandError("stopped before it had started") from None


def _start_database(boss: supervisor.Supervisor) -> None:
    boss.add(
        Child(
            "database",
            lambda _: embedded.launch(settings.DATA_DIR),
            stop_signal=signal.SIGINT,
            stop_seconds=30,
        )
    )
    embedded.wait_until_ready(settings.DATA_DIR)


class _Entry(NamedTuple):
    """What one needs to get in."""

    password: str | None  # of the administrator, if it is new: nobody else knows it
    write_key: str


def _set_up() -> _Entry:
    """Bring the database up to date; the supervisor itself never asks it again."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)
    try:
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"CDP_DATA_DIR cannot be used, {settings.DATA_DIR}: {error.strerror}."
        raise CommandError(message) from None
    password = ensure_admin.create()
    if not Source.objects.exists():
        call_command("create_source", "Website", kind=SourceKind.WEBSITE, stdout=io.StringIO())
    source = Source.objects.filter(is_enabled=True).order_by("pk").first()
    connections.close_all()
    return _Entry(password, f"{source.write_key} ({source.name})" if source else "none")


def _start_children(boss: supervisor.Supervisor, listener: socket.socket) -> None:
    web_server = _manage("run_web", "--fd", str(listener.fileno()), keep_open=listener)
    sending = _manage("qcluster", cluster=wakeups.CLUSTER)
    # They only meet in the database, so that all of them may end at the same time. The queue's
    # tasks go on where they were, whenever they are killed; a message may be on its way.
    boss.add(Child("queue", _manage("qcluster"), group="all", stop_seconds=_QUEUE_STOP_SECONDS))
    boss.add(Child("sending", sending, group="all"))
    boss.add(Child("pipeline", _manage("run_pipeline"), group="all"))
    boss.add(Child("web", web_server, group="all"))


def _manage(
    *arguments: str, cluster: str = "", keep_open: socket.socket | None = None
) -> supervisor.Start:
    argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    # Given the URL, a child leaves the embedded server to us.
    ours = {"DATABASE_URL": settings.DATABASE_URL, "PYTHONUNBUFFERED": "1"}
    env = os.environ | ours | {"Q_CLUSTER_NAME": cluster}

    def start(out: int) -> "subprocess.Popen[bytes]":
        keep = [keep_open.fileno()] if keep_open else []
        return process.spawn(argv, out=out, env=env, keep_open=keep)

    return start


class _Welcome:
    """Says where the product is to be found as soon as all of it works; then the demo loads."""

    def __init__(self, boss: supervisor.Supervisor, port: int, entry: _Entry) -> None:
        self._boss = boss
        self._port = port
        self._entry = entry
        self._began_at = self._polled_at = time.monotonic()
        self._is_said = False
        self._is_slow = False

    def check(self) -> None:
        """Say it if the time has come. To be called again and again."""
        if self._is_said or time.monotonic() - self._polled_at < _POLL_SECONDS:
            return
        self._polled_at = time.monotonic()
        parts = _parts(self._port)
        if set(parts.values()) == {"ok"}:
            self._say_welcome()
        elif time.monotonic() - self._began_at > _SLOW_SECONDS and not self._is_slow:
            self._is_slow = True
            self._boss.say(f"still waiting: {parts or {'web': 'does not answer'}}")

    def tell_password(self) -> None:
        """Say the new password, which nobody else knows, if it was not said yet."""
        if self._entry.password and not self._is_said:
            self._boss.say(f"password of {ensure_admin.NAME}: {self._entry.password}")

    def _say_welcome(self) -> None:
        self._is_said = True
        known = "as chosen before (manage.py changepassword admin sets a new one)"
        made_up = self._entry.password and f"{self._entry.password} (shown only now)"
        lines = {
            "Open": f"http://{_public_host()}:{self._port}/",
            "User": ensure_admin.NAME,
            "Password": made_up or known,
            "Write key": self._entry.write_key,
            "Stop": "Ctrl+C",
        }
        self._boss.say("")
        for label, text in lines.items():
            self._boss.say(f"{label:<10}{text}")
        self._boss.say("")
        if settings.DEMO:
            self._boss.add(Child("demo", _manage("demo", "--once"), is_once=True))


def _parts(port: int) -> dict[str, str]:
    """Return what /readyz says of each part; nothing while it does not answer."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)  # noqa: S104
    link = HTTPConnection(host, port, timeout=0.5)
    try:
        link.request("GET", "/readyz")
        parts: dict[str, str] = json.loads(link.getresponse().read())["parts"]
    except (OSError, HTTPException, ValueError, KeyError):
        return {}
    finally:
        link.close()
    return parts


def _public_host() -> str:
    if settings.HOST in ("127.0.0.1", "::1", "0.0.0.0", "::"):  # noqa: S104
        return "localhost"
    return f"[{settings.HOST}]" if ":" in settings.HOST else str(settings.HOST)

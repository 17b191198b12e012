"""The whole product as its own processes, for tests that need it alive."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib import error, request

import psutil
import psycopg

from cdp import embedded, process

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"
PATIENCE = 180  # seconds, for a machine that is busy with other tests
# What the tests' own environment must not pass on.
NOT_OURS = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_CURRENT_TEST")


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


def wait_for(condition, what):
    """Return what the condition gives as soon as that is true: on a slow machine, late."""
    deadline = time.monotonic() + PATIENCE
    while not (outcome := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE} s in vain: {what}"
        time.sleep(0.05)
    return outcome


class Product:
    """One installation: a data directory, a port, and `manage.py up` once started."""

    def __init__(self, data_dir, *, run_as=None, **settings):
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_password = "correct horse battery"
        self._run_as = run_as
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        inherited = {k: v for k, v in os.environ.items() if k not in NOT_OURS and "CDP_" not in k}
        self.env = inherited | {
            "CDP_DATA_DIR": str(data_dir),
            "CDP_PORT": str(self.port),
            "CDP_DEMO": "0",
            "CDP_ADMIN_PASSWORD": self.admin_password,
            **settings,
        }
        self.supervisor = None

    def start(self):
        """Start everything and wait until all of it works."""
        with self.log.open("ab") as log:
            argv = [sys.executable, str(MANAGE), "up"]
            self.supervisor = process.spawn(
                argv, out=log.fileno(), env=self.env, run_as=self._run_as
            )
        self.wait_until_ready()

    def stop(self):
        """Stop everything as Ctrl+C does; return the exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait(timeout=PATIENCE)

    def manage(self, *arguments):
        """Run a command of manage.py; return what it printed."""
        argv = [sys.executable, str(MANAGE), *map(str, arguments)]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def parts(self):
        """Return what /readyz says of each part, or nothing if nobody answers."""
        try:
            with request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return json.load(answer)["parts"]
        except error.HTTPError as answer:
            return json.load(answer).get("parts", {}) if answer.code == 503 else {}
        except OSError:
            return {}

    def is_ready(self):
        return set(self.parts().values()) == {"ok"}

    def wait_until_ready(self):
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            assert self.supervisor.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{self.parts()}\n{self.log.read_text()}"
            time.sleep(0.05)

    def beats(self):
        """Return when each part last showed that it works."""
        with psycopg.connect(embedded.url(self.data_dir)) as connection:
            return dict(connection.execute("SELECT name, at FROM cdp_heartbeat").fetchall())

    def wait_until_healed(self, killed_at):
        """Wait until every part has worked since then, and the product is ready."""
        wait_for(lambda: self.is_ready() and min(self.beats().values()) > killed_at, "all")

    def family(self):
        """Return all living processes of the product."""
        boss = psutil.Process(self.supervisor.pid)
        return [boss, *boss.children(recursive=True)]

    def child(self, name):
        """Return the process that the supervisor runs under the name, if it lives."""
        word = {"database": "-D", "web": "run_web", "pipeline": "run_pipeline"}.get(
            name, "qcluster"
        )
        for found in psutil.Process(self.supervisor.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # or a zombie
                is_sending = found.environ().get("Q_CLUSTER_NAME") == "sending"
                if word in found.cmdline() and is_sending == (name == "sending"):
                    return found
        return None

"""The product as processes: whatever is killed comes back, and nothing is left behind."""

import json
import os
import pwd
import signal
import socket
import threading
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, RemoteDisconnected
from urllib import request

import psutil
import pytest
from django.conf import settings

from cdp import cluster, process
from tests.activation.receivers import Receiver
from tests.live.product import PATIENCE, Product, wait_for

pytestmark = pytest.mark.live

AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """A product to be harmed. Root runs it as another user, who is then a normal one."""
    place, run_as = tmp_path_factory.mktemp("harmed"), None
    if AS_ROOT:
        nobody = pwd.getpwnam("nobody")
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        run_as = process.account(nobody.pw_uid, place, cluster.program("postgres"))
    product = Product(place / "var", run_as=run_as, CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8")
    product.start()
    yield product
    if product.supervisor.poll() is None:
        product.stop()


def kill(victim):
    """Kill a process for good and wait until it is gone."""
    victim.send_signal(signal.SIGKILL)
    wait_for(lambda: not is_alive(victim), "the end of a killed process")


def living(processes):
    return [one for one in processes if is_alive(one)]


def is_alive(one):
    try:
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Clients:
    """Visitors who ask all the time, each time on a new connection."""

    def __init__(self, product, count=4):
        self.served = 0
        self.refused = []
        self.broken = []
        self._port = product.port
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        while not self._is_over.is_set():
            link = HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                link.request("GET", "/healthz")
                assert link.getresponse().status == 200
                self.served += 1
            except ConnectionRefusedError as error:
                self.refused.append(error)
            except (OSError, AssertionError) as error:
                self.broken.append(error)
            finally:
                link.close()


def test_message_goes_out_while_every_other_worker_is_held(product):
    receiver = Receiver()
    key = product.manage("create_api_key", "tests")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(path, **body):
        asked = request.Request(f"{product.url}/api/{path}", json.dumps(body).encode(), headers)
        with request.urlopen(asked, timeout=PATIENCE):
            pass

    names = {"key": "here", "name": "Here"}
    post("customers/", customer_id="anna")
    post("segments/", **names, kind="static")
    post("destinations/", **names, kind="webhook", config={"url": receiver.url})
    post("triggers/", **names, segment="here", destination="here", on="enter", enabled=True)
    for held in [queue := product.child("queue"), *queue.children(recursive=True)]:
        held.suspend()
    post("segments/here/members/", customer_ids=["anna"])
    receiver.wait_for(1, seconds=PATIENCE)
    receiver.close()
    expect_rebirth(product, "queue")


@pytest.mark.parametrize("name", ["database", "web", "pipeline", "sending"])
def test_killed_child_comes_back_and_all_works_again(product, name):
    expect_rebirth(product, name)


def expect_rebirth(product, name):
    victim = product.child(name)
    kill(victim)
    killed_at = datetime.now(UTC)
    reborn = wait_for(lambda: product.child(name), f"a new {name}")
    assert reborn.pid != victim.pid
    product.wait_until_healed(killed_at)
    assert product.child(name).pid == reborn.pid, "it should have held"


def test_killed_processes_of_the_queue_are_replaced(product):
    sentinel = product.child("queue").children()[0]
    for victim in sentinel.children():
        kill(victim)
    # What was served before the kill counts as a sign of life for eight seconds.
    product.wait_until_healed(datetime.now(UTC) + timedelta(seconds=9))


def test_queue_whose_guard_was_killed_leaves_no_orphan_and_starts_anew(product):
    queue = product.child("queue")
    orphans = queue.children(recursive=True)
    kill(orphans[0])
    wait_for(lambda: not living(orphans), "the end of the orphans")
    wait_for(lambda: (product.child("queue") or queue).pid != queue.pid, "a new queue")
    product.wait_until_healed(datetime.now(UTC))


def test_queue_that_hangs_is_noticed_and_started_anew(product):
    queue = product.child("queue")
    size = settings.Q_CLUSTER["workers"] + 2
    wait_for(lambda: len(queue.children()[0].children()) == size, "all of its processes")
    monitor_and_pusher = queue.children()[0].children()[size - 2 :]
    for hanging in monitor_and_pusher:
        hanging.suspend()
    wait_for(lambda: (product.child("queue") or queue).pid != queue.pid, "a new queue")
    assert not living(monitor_and_pusher)
    product.wait_until_healed(datetime.now(UTC))


def test_visitors_wait_out_the_restart_of_the_web_server(product):
    with Clients(product) as clients:
        wait_for(lambda: clients.served > 20, "some answers")
        for victim in (product.child("web").children()[-1], product.child("web")):
            kill(victim)
            before = clients.served
            wait_for(lambda before=before: clients.served > before + 20, "more answers")
    assert not clients.refused
    assert len(clients.broken) <= 2 * 4, "only what a killed process had in hand may be lost"


def test_reload_of_the_web_workers_loses_no_request(product):
    web = product.child("web")
    before = {worker.pid for worker in web.children()}
    with Clients(product) as clients:
        web.send_signal(signal.SIGHUP)
        wait_for(
            lambda: len(now := {one.pid for one in web.children()}) == 2 and not now & before,
            "two new workers",
        )
    assert clients.served
    assert not clients.refused
    # granian closes a connection whose request it has not begun to read.
    assert all(isinstance(error, RemoteDisconnected) for error in clients.broken)
    assert len(clients.broken) <= 4


def test_idle_connections_do_not_keep_others_out(product):
    idle = [socket.create_connection(("127.0.0.1", product.port)) for _ in range(200)]
    try:
        assert product.is_ready()
    finally:
        for one in idle:
            one.close()


def test_two_products_run_side_by_side(product, live_product):
    assert product.is_ready()
    assert live_product.is_ready()
    assert product.url != live_product.url


def test_second_supervisor_on_the_same_data_is_refused(product):
    log = product.log.with_name("second.log")
    second = Product(product.data_dir, run_as=product._run_as)
    second.log = log
    with pytest.raises(AssertionError, match="already runs"):
        second.start()
    assert product.is_ready()


def test_port_that_is_taken_is_refused_with_a_hint(product, tmp_path):
    second = Product(tmp_path / "var", CDP_PORT=str(product.port))
    with pytest.raises(AssertionError, match="CDP_PORT chooses another port"):
        second.start()


def test_nothing_survives_a_killed_supervisor_and_the_next_start_works(product):
    family = product.family()
    assert len(family) > 10
    kill(family[0])
    product.supervisor.wait()
    wait_for(lambda: not living(family), "the end of all processes")
    product.start()


def test_stopping_ends_everything_in_order(product):
    family = product.family()
    assert product.stop() == 0
    assert not living(family)
    lines = product.log.read_text().splitlines()
    stopped = [line.split("stopping ")[1] for line in lines if "stopping " in line]
    assert stopped[-5:] == ["web", "pipeline", "sending", "queue", "database"]

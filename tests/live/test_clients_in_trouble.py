"""Real clients while the web server and the database are killed under them, and when told to wait.

All of them run at once against one product. Afterwards events and profiles are counted.
"""

import subprocess
import sys
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.live import npm
from tests.live.product import Product, wait_for

pytestmark = pytest.mark.live

BURST, STEADY = 12, 15
EVENTS_A_SECOND = 10  # of each source: the burst alone is more
PATIENCE = 120  # seconds, for clients that wait longer after each refusal
PYTHON = Path(__file__).parent / "python_client.py"
RETRYING = ["segment-node", "rudder-node", "segment-python", "rudder-python"]
RETRYING_IN_BROWSER = ["segment-next", "segment-batching", "segment-snippet", "rudder-browser"]
SENDING_ONCE = ["jitsu-node"]
SENDING_ONCE_IN_BROWSER = ["jitsu-browser", "rudder-beacon"]


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("trouble") / "var")
    product.start()
    yield product
    product.stop()


class Sender:
    """A client as a process of its own that sends events called "<prefix> <n>"."""

    def __init__(self, client, product, key):
        self.prefix = client
        runner = [sys.executable, str(PYTHON)]
        if not client.endswith("python"):
            runner = ["node", str(npm.CLIENTS / "node.cjs")]
        argv = [*runner, client, product.url, key, client, str(BURST), str(STEADY)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.lines = []
        Thread(target=self._read, daemon=True).start()

    def _read(self):
        self.lines += (line.strip() for line in self.process.stdout)

    def is_done(self):
        return "done" in self.lines or self.process.poll() is not None

    def end(self):
        self.process.kill()
        self.process.wait()


class Site(SimpleHTTPRequestHandler):
    """A website, of another origin than the product, with the libraries and a page for each."""

    pages = {}

    def do_GET(self):
        page = self.pages.get(self.path)
        if page is None:
            return super().do_GET()
        body = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(node_modules):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=node_modules))
    Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://localhost:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


SEGMENT = "/@segment/analytics-next/dist/umd"
SEND = """
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  (async () => {
    client.identify("PREFIX user", {email: "PREFIX@example.com"});
    for (let n = 0; n < BURST; n++) client.track(`PREFIX ${n}`);
    document.title = "steady";
    for (let n = 0; n < STEADY; n++) { await sleep(100); client.track(`PREFIX ${BURST + n}`); }
    document.title = "done";
  })();
"""
RUDDER = """<script src="/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"></script>
  <script>const client = new rudderanalytics.RudderAnalytics();
  client.load("KEY", "HOST", {configUrl: "HOST", OPTIONS});</script>"""
IN_BROWSER = {
    "segment-next": f"""<script src="{SEGMENT}/index.js"></script><script>
        const client = AnalyticsNext.AnalyticsBrowser.load({{writeKey: "KEY", cdnURL: "HOST"}});
        </script>""",
    "segment-batching": f"""<script src="{SEGMENT}/index.js"></script><script>
        const client = AnalyticsNext.AnalyticsBrowser.load({{writeKey: "KEY", cdnURL: "HOST"}},
          {{integrations: {{"Segment.io": {{deliveryStrategy: {{strategy: "batching",
            config: {{size: 5, timeout: 300}}}}}}}}}});</script>""",
    "segment-snippet": f"""<script>
        var i = "analytics", client = window[i] = [];
        client.methods = ["track", "identify", "page"];
        for (const name of client.methods) client[name] = (...rest) => client.push([name, ...rest]);
        client._writeKey = "KEY"; client._cdn = "HOST"; client.SNIPPET_VERSION = "5.2.0";
        var t = document.createElement("script"); t.async = true;
        t.setAttribute("data-global-segment-analytics-key", i); t.src = "{SEGMENT}/standalone.js";
        document.head.append(t); client.load = () => 0;</script>""",
    "rudder-browser": RUDDER.replace("OPTIONS", "queueOptions: {minRetryDelay: 500}"),
    "rudder-beacon": RUDDER.replace(
        "OPTIONS", "useBeacon: true, beaconQueueOptions: {flushQueueInterval: 300}"
    ),
    "jitsu-browser": """<script type="module">
        import {jitsuAnalytics} from "/@jitsu/js/dist/jitsu.es.js";
        const client = jitsuAnalytics({host: "HOST", writeKey: "KEY"}); SEND</script>""",
}


def page_of(name, product, key):
    html = IN_BROWSER[name]
    send = SEND.replace("client.", "window.analytics.") if name == "segment-snippet" else SEND
    html = html.replace("SEND", send) if "SEND" in html else f"{html}<script>{send}</script>"
    html = html.replace("KEY", key).replace("HOST", product.url).replace("PREFIX", name)
    html = html.replace("BURST", str(BURST)).replace("STEADY", str(STEADY))
    return f"<!doctype html><title>started</title>{html}"


def key_of(product, name, limit):
    """Make a source of its own for a client; return its key."""
    key = product.manage("create_source", name, "--kind", "server", "--limit", limit)
    return f"{key}:x" if name.startswith("jitsu") else key  # which insists on a secret


class Run:
    """All clients of a test at work, and what the product has of them."""

    def __init__(self, product, select, context, site):
        self.product, self._select, self._context, self._site = product, select, context, site
        self.senders, self.pages = [], {}

    def begin(self, clients, in_browser, limit):
        for name in in_browser:
            key = key_of(self.product, name, limit)
            Site.pages[f"/{name}.html"] = page_of(name, self.product, key)
        self.senders = [Sender(c, self.product, key_of(self.product, c, limit)) for c in clients]
        for name in in_browser:
            self.pages[name] = self._context.new_page()
            self.pages[name].goto(f"{self._site.url}/{name}.html")
        for page in self.pages.values():
            page.wait_for_function("['steady', 'done'].includes(document.title)", timeout=30_000)

    def finish(self):
        self.product.wait_until_ready()
        wait_for(lambda: all(s.is_done() for s in self.senders), "the clients")
        for page in self.pages.values():
            page.wait_for_function("document.title == 'done'", timeout=PATIENCE * 1000)
        names = [*(s.prefix for s in self.senders), *self.pages]
        wanted = sorted(f"{name} {n}" for name in names for n in range(BURST + STEADY))
        deadline = time.monotonic() + PATIENCE
        while (found := self.events()) != wanted and time.monotonic() < deadline:
            self.breathe(0.5)
        lost = dict.fromkeys(names, 0)
        for event in set(wanted) - set(found):
            lost[event.rpartition(" ")[0]] += 1
        print(lost, {s.prefix: s.lines for s in self.senders})  # noqa: T201 (shown on failure)
        assert {name: count for name, count in lost.items() if count} == {}
        assert found == wanted  # nothing twice
        assert self.users() == sorted(f"{name} user" for name in names)

    def breathe(self, seconds):
        """Wait, and let the browser's events through meanwhile."""
        if self.pages:
            next(iter(self.pages.values())).wait_for_timeout(seconds * 1000)
        else:
            time.sleep(seconds)

    def events(self):
        statement = """
            SELECT name FROM events_event JOIN events_eventname ON events_eventname.id = name_id
        """
        return sorted(name for (name,) in self._read(statement))

    def users(self):
        """The CustomerIds there are; each profile has one, for its visitor became that."""
        statement = "SELECT external_id FROM customers_customer WHERE merged_into_id IS NULL"
        return sorted(str(user) for (user,) in self._read(statement))

    def _read(self, statement):
        names = [*(s.prefix for s in self.senders), *self.pages]
        return [
            row
            for row in self._select(self.product, statement)
            if any(str(row[0]).startswith(f"{name} ") for name in names)
        ]

    def end(self):
        for sender in self.senders:
            sender.end()


@pytest.fixture
def run(product, select, context, site):
    run = Run(product, select, context, site)
    yield run
    run.end()


def test_no_event_of_a_client_that_tries_again_is_lost_or_doubled(run, product):
    run.begin(RETRYING, RETRYING_IN_BROWSER, limit=EVENTS_A_SECOND)
    run.breathe(0.5)
    product.child("web").kill()
    run.breathe(1)
    product.child("database").kill()
    run.finish()


def test_restart_of_the_web_server_loses_nothing_of_clients_that_send_once(run, product):
    run.begin(SENDING_ONCE, SENDING_ONCE_IN_BROWSER, limit=0)
    run.breathe(0.5)
    product.child("web").terminate()
    run.finish()

"""The tag in a real browser, against a server that can be told to fail."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parents[2] / "static" / "cdp.js"
TAG = '<script async src="/cdp.js" data-write-key="KEY"></script>'


class Site(ThreadingHTTPServer):
    """A website with the tag, and the CDP that it reports to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.head = TAG
        self.statuses = []  # of the next answers; 200 once they are used up
        self.envelopes = []  # accepted or not, as they came
        self.accepted = []  # messages
        self.url = f"http://127.0.0.1:{self.server_port}"

    def names(self):
        """What the accepted messages are about, in order, copies left out."""
        messages = {message["messageId"]: message for message in self.accepted}
        return [m.get("event") or m["type"] for m in messages.values()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.partition("?")[0] == "/cdp.js":
            return self._answer(200, SCRIPT.read_bytes(), "text/javascript")
        html = f"<!doctype html><title>{self.path}</title>{self.server.head}<p>Hello"
        return self._answer(200, html.encode(), "text/html")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"]))
        envelope = {"path": self.path, **json.loads(text)}
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.server.envelopes.append(envelope)
        if status == 200:
            self.server.accepted += envelope["batch"]
        return self._answer(status, b"{}", "application/json")

    def _answer(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def site():
    server = Site()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def wait_for(page, condition, seconds=60):
    for _ in range(seconds * 20):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen")


def settle(page):
    """Long enough for anything that is not to happen to happen."""
    page.wait_for_timeout(700)


def test_tag_is_smaller_than_6_kilobytes_compressed():
    assert len(gzip.compress(SCRIPT.read_bytes(), 9)) < 6 * 1024


def test_page_view_is_sent_by_itself_once(page, site):
    page.goto(f"{site.url}/shoes?utm_source=mail&utm_campaign=spring")
    settle(page)
    [message] = site.accepted
    assert message["type"] == "page"
    assert message["properties"]["path"] == "/shoes"
    assert message["context"]["campaign"] == {"source": "mail", "name": "spring"}
    assert message["anonymousId"] == page.evaluate("cdp.user().anonymousId")
    [envelope] = site.envelopes
    assert (envelope["path"], envelope["writeKey"]) == ("/v1/batch", "KEY")
    assert envelope["sentAt"] >= message["timestamp"]


def test_calls_made_before_the_script_has_loaded_are_sent_in_order(page, site):
    site.head = """<script>cdp = []; cdp.push(["track", "First"]); cdp.push(["track", "Second"]);
        cdp.push(["load", "KEY", {autoPage: false}]); cdp.push(["track", "Third"])</script>
        <script async src="/cdp.js"></script>"""
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    settle(page)
    assert site.names() == ["First", "Second", "Third"]


def test_stub_of_segments_snippet_is_taken_over(page, site):
    site.head = """<script>
        var i = "analytics", analytics = window[i] = []; analytics._writeKey = "KEY";
        for (const name of ["track", "page", "identify"])
          analytics[name] = (...rest) => analytics.push([name, ...rest]);
        analytics.page(); analytics.track("Hello");
        var t = document.createElement("script"); t.async = true; t.src = "/cdp.js";
        t.setAttribute("data-global-segment-analytics-key", i); document.head.append(t);
        </script>"""
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    settle(page)
    assert site.names() == ["page", "Hello"]


def test_navigation_without_loading_is_a_page_view(page, site):
    page.goto(f"{site.url}/one")
    wait_for(page, lambda: len(site.accepted) == 1)
    page.evaluate("history.pushState(null, '', '/two')")
    wait_for(page, lambda: len(site.accepted) == 2)
    page.evaluate("history.replaceState({scroll: 5}, '', '/two#footnote')")
    page.go_back()
    wait_for(page, lambda: len(site.accepted) == 3)
    settle(page)
    paths = [message["properties"]["path"] for message in site.accepted]
    assert paths == ["/one", "/two", "/one"]
    assert site.accepted[1]["properties"]["referrer"] == f"{site.url}/one"


def test_page_call_of_the_site_itself_replaces_the_automatic_one(page, site):
    site.head += '<script>cdp = []; cdp.push(["page", "Shoes", {size: 42}])</script>'
    page.goto(f"{site.url}/shoes")
    wait_for(page, lambda: site.accepted)
    settle(page)
    [message] = site.accepted
    assert message["name"] == "Shoes"
    assert message["properties"]["size"] == 42


def test_identify_stays_and_reset_makes_a_new_visitor(page, site):
    page.goto(site.url)
    page.wait_for_function("window.cdp && cdp.user")
    page.evaluate("""cdp.identify(42, {plan: "gold"}); cdp.track("Known");
                     cdp.reset(); cdp.track("Unknown")""")
    wait_for(page, lambda: len(site.accepted) == 4)
    by_name = {m.get("event") or m["type"]: m for m in site.accepted}
    assert by_name["identify"]["userId"] == by_name["Known"]["userId"] == "42"
    assert by_name["identify"]["traits"] == {"plan": "gold"}
    assert "userId" not in by_name["Unknown"]
    assert by_name["Unknown"]["anonymousId"] != by_name["Known"]["anonymousId"]


def test_message_is_sent_again_until_the_server_has_stored_it(page, site):
    site.statuses = [503, 429]
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    assert len(site.envelopes) == 3
    assert len({e["batch"][0]["messageId"] for e in site.envelopes}) == 1
    settle(page)
    assert len(site.envelopes) == 3
    assert page.evaluate("Object.keys(localStorage)") == ["cdp_anonymous_id"]


def test_message_that_the_server_refuses_is_not_sent_again(page, site):
    site.statuses = [400]
    page.goto(site.url)
    wait_for(page, lambda: site.envelopes)
    page.evaluate("cdp.track('Next')")
    wait_for(page, lambda: site.accepted)
    settle(page)
    assert site.names() == ["Next"]


def test_request_that_is_too_large_is_split(page, site):
    site.head = '<script async src="/cdp.js" data-write-key="KEY" data-auto-page="false"></script>'
    site.statuses = [413]
    page.goto(site.url)
    page.wait_for_function("window.cdp && cdp.user")
    page.evaluate("for (let n = 0; n < 40; n++) cdp.track(`Number ${n}`)")
    wait_for(page, lambda: len(site.accepted) == 40)
    assert site.names() == [f"Number {n}" for n in range(40)]
    assert max(len(e["batch"]) for e in site.envelopes[1:]) < len(site.envelopes[0]["batch"])


def test_what_happens_offline_is_sent_when_the_network_is_back(page, site):
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    page.context.set_offline(True)
    page.evaluate("cdp.track('On the train')")
    settle(page)
    assert site.names() == ["page"]
    page.context.set_offline(False)
    wait_for(page, lambda: len(site.accepted) == 2)
    assert site.names() == ["page", "On the train"]


def test_queue_survives_the_page(page, site):
    site.statuses = [503] * 3
    page.goto(f"{site.url}/one")
    wait_for(page, lambda: site.envelopes)
    page.evaluate("cdp.track('Not stored yet')")
    page.goto(f"{site.url}/two")
    wait_for(page, lambda: len(site.names()) == 3)
    assert site.names() == ["page", "Not stored yet", "page"]


def test_last_words_of_a_page_are_sent_while_it_closes(page, site):
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    page.evaluate("cdp.track('Goodbye'); location.href = 'about:blank'")
    wait_for(page, lambda: "Goodbye" in site.names())
    page.wait_for_url("about:blank")  # a browser that is closed on its way may hang


def test_visitor_is_known_by_the_cookie_when_storage_was_cleared_and_on_subdomains(page, site):
    seen = []
    for host in ("127.0.0.1", "127.0.0.1", "www.shop.localhost", "pay.shop.localhost"):
        page.goto(f"http://{host}:{site.server_port}/")
        page.wait_for_function("window.cdp && cdp.user")
        wait_for(page, lambda: page.evaluate("cdp.user().anonymousId"))
        seen.append(page.evaluate("cdp.user().anonymousId"))
        page.evaluate("localStorage.clear()")
    assert seen[0] == seen[1]
    assert seen[2] == seen[3] != seen[0]
    assert "cdp_probe" not in page.evaluate("document.cookie")


def test_page_that_comes_back_as_it_was_left_is_viewed_again(page, site):
    page.goto(site.url)
    wait_for(page, lambda: site.names() == ["page"])
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    wait_for(page, lambda: site.names() == ["page", "page"])


@pytest.mark.parametrize(
    "missing",
    [
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden') }})",
        "Storage.prototype.setItem = () => { throw new Error('full') }",
        "crypto.randomUUID = undefined",
    ],
)
def test_tag_works_where_the_browser_lacks_something(page, site, missing):
    page.add_init_script(missing)
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    page.evaluate("cdp.track('Still here')")
    wait_for(page, lambda: len(site.accepted) == 2)
    assert len({message["anonymousId"] for message in site.accepted}) == 1
    assert len(site.accepted[0]["messageId"]) == 36


def test_odd_calls_harm_neither_the_site_nor_what_follows(page, site):
    page.goto(site.url)
    page.wait_for_function("window.cdp && cdp.user")
    page.evaluate("""() => {
        const self = {}; self.self = self;
        cdp.track("Circular", self);
        cdp.track("No options", null, null);
        cdp.track("Long", {text: "長".repeat(30000)});
        for (let n = 0; n < 4; n++) cdp.track("Chinese " + n, {text: "長".repeat(12000)});
        cdp.track("Last");
    }""")
    wait_for(page, lambda: "Last" in site.names(), seconds=60)
    wanted = ["No options", "Long", *(f"Chinese {n}" for n in range(4)), "Last"]
    assert [name for name in site.names() if name != "page"] == wanted


def test_script_that_is_on_the_page_twice_counts_once(page, site):
    site.head = TAG * 2
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    settle(page)
    assert len(site.accepted) == 1


CONSENT = '<script async src="/cdp.js" data-write-key="KEY" data-consent="required"></script>'


def test_nothing_leaves_and_nothing_is_kept_before_consent(page, site):
    site.head = CONSENT
    page.goto(f"{site.url}/one?utm_source=mail")
    page.wait_for_function("window.cdp && cdp.user")
    page.evaluate("cdp.track('Curious')")
    settle(page)
    assert site.envelopes == []
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    page.evaluate("cdp.consent({analytics: true, ads: false})")
    wait_for(page, lambda: len(site.accepted) == 3)
    by_name = {m.get("event") or m["type"]: m for m in site.accepted}
    assert by_name["consent"]["consent"] == {"analytics": True, "ads": False}
    assert by_name["page"]["properties"]["path"] == "/one"
    assert by_name["page"]["timestamp"] <= by_name["consent"]["timestamp"]
    assert len({m["anonymousId"] for m in site.accepted}) == 1
    page.goto(f"{site.url}/two")
    wait_for(page, lambda: len(site.accepted) == 4)


def test_who_refuses_is_told_to_nobody(page, site):
    site.head = CONSENT
    page.goto(site.url)
    page.wait_for_function("window.cdp && cdp.user")
    page.evaluate("cdp.consent({analytics: false}); cdp.track('Curious'); cdp.identify('u1')")
    page.goto(f"{site.url}/two")
    settle(page)
    assert site.envelopes == []
    assert page.evaluate(
        "[Object.keys(localStorage).includes('cdp_anonymous_id'), document.cookie]"
    ) == [
        False,
        "",
    ]


def test_who_withdraws_is_heard_once_more(page, site):
    page.goto(site.url)
    wait_for(page, lambda: site.accepted)
    page.evaluate("cdp.consent({analytics: false}); cdp.track('Unheard')")
    wait_for(page, lambda: len(site.accepted) == 2)
    settle(page)
    assert site.names() == ["page", "consent"]


@pytest.mark.parametrize("sign", ["doNotTrack: '1'", "globalPrivacyControl: true"])
def test_browser_that_asks_not_to_be_tracked_is_left_alone(page, site, sign):
    name, value = sign.split(": ")
    page.add_init_script(f"Object.defineProperty(navigator, '{name}', {{get: () => {value}}})")
    page.goto(site.url)
    settle(page)
    assert site.envelopes == []
    page.evaluate("cdp.consent({analytics: true}); cdp.track('Agreed')")
    wait_for(page, lambda: "Agreed" in site.names())


def test_key_and_what_its_source_says_come_with_the_address_of_the_script(page, site):
    site.head = """<script>window.cdpSources = {KEY: {consent: true}}</script>
        <script async src="/cdp.js?key=KEY"></script>"""
    page.goto(site.url)
    page.wait_for_function("window.cdp && cdp.user")
    settle(page)
    assert site.envelopes == []
    page.evaluate("cdp.consent({analytics: true})")
    wait_for(page, lambda: len(site.accepted) == 2)
    assert {e["writeKey"] for e in site.envelopes} == {"KEY"}

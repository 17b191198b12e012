"""A real Chromium for the tests that need one, one of them for all."""

import contextlib
import os
from pathlib import Path
from threading import Timer

import psutil
import pytest
from playwright.sync_api import Error, expect, sync_playwright

CHROMIUM = Path(os.environ.get("CDP_CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 30_000  # milliseconds, on a machine that is busy with other tests
HANGS_AFTER = 200  # seconds with one test: sometimes Chromium never closes a window
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Playwright's loop runs in the thread of the tests, where Django would refuse the database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM.exists():
        reason = f"NO BROWSER TESTS: {CHROMIUM} is missing (apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = Chromium(playwright)
        yield chromium
        chromium.close()


class Chromium:
    """A browser that is started when it is needed, and again after it was killed."""

    def __init__(self, playwright):
        self._playwright = playwright
        self._browser = None

    def new_context(self, **options):
        if self._browser is not None:
            with contextlib.suppress(Error):  # it was killed
                return self._browser.new_context(**options)
        self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        return self._browser.new_context(**options)

    def close(self):
        if self._browser is not None:
            self._browser.close()


def kill_chromium():
    """Have whatever waits for a browser that hangs fail, instead of waiting for ever."""
    print("CHROMIUM HUNG and was killed")  # noqa: T201 (shown on failure)
    for process in psutil.Process().children(recursive=True):
        if process.name().startswith("chrom"):
            process.kill()


@pytest.fixture
def context(browser):
    guard = Timer(HANGS_AFTER, kill_chromium)
    guard.daemon = True
    guard.start()
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()
    guard.cancel()


@pytest.fixture
def page(context):
    return context.new_page()


@pytest.fixture
def faults(context):
    """What the pages complained about, and what they asked of other machines."""
    found = []

    def watch(page):
        page.on("pageerror", lambda error: found.append(f"{page.url}: {error}"))
        page.on("console", lambda m: m.type == "error" and found.append(f"{page.url}: {m.text}"))
        page.on("request", lambda r: _is_foreign(r.url) and found.append(f"left: {r.url}"))

    context.on("page", watch)
    return found


def _is_foreign(url):
    return not url.startswith(("http://localhost:", "http://127.0.0.1:", "data:", "blob:"))

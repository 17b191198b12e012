"""A real Chromium for the tests that need one, one of them for all."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

CHROMIUM = Path(os.environ.get("CDP_CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 30_000  # milliseconds, on a machine that is busy with other tests
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
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, locale="en")
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield context
    context.close()


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

"""A browser that hangs fails one test, and not all that come after it."""

from threading import Timer

import pytest
from playwright.sync_api import Error

from tests.chromium import kill_chromium

pytestmark = pytest.mark.browser


def test_what_waits_for_a_browser_that_hangs_fails_and_the_next_one_works(browser):
    page = browser.new_context().new_page()
    Timer(0.5, kill_chromium).start()
    with pytest.raises(Error, match="closed"):
        page.evaluate("new Promise(() => {})")
    assert browser.new_context().new_page().evaluate("1 + 1") == 2

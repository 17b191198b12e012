"""The API's documentation in a real browser."""

import pytest

from cdp import apikeys

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_docs_open_offline_and_a_request_can_be_tried(live_server, page, faults):
    _, key = apikeys.create("reader")
    page.goto(f"{live_server.url}/api/docs/")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("Value").first.fill(key)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close").first.click()
    page.locator("#operations-segments-segments_list .opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    answer = page.locator(".live-responses-table .response .response-col_status").first
    answer.wait_for()
    assert answer.inner_text().startswith("200")
    assert faults == []

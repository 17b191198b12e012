"""The story of the README, in a real browser, on the whole running product."""

import json
import threading
from urllib.request import Request, urlopen

import pytest

from tests.browser.test_tag import Site
from tests.live.product import Product, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.live]


@pytest.fixture(scope="module")
def product(browser, tmp_path_factory):
    """The product with a small demo in it."""
    product = Product(
        tmp_path_factory.mktemp("story") / "var", CDP_WEBHOOK_ALLOW_PRIVATE="127.0.0.0/8"
    )
    product.start()
    product.manage("demo", "--customers", "150")
    yield product
    product.stop()


def visit_shop(page, product):
    page.goto(f"{product.url}/demo/shop/")
    page.wait_for_selector("#step-look")


def buy(page, *titles):
    for title in titles:
        page.get_by_role("link", name=title).click()
        page.get_by_role("button", name="Add to cart").click()
        page.get_by_role("link", name="All records").click()
    page.get_by_role("button", name="Cart").click()
    page.get_by_role("button", name="Order", exact=True).click()


def sign_in(page, first_name, last_name, email):
    page.locator("#thanks").get_by_role("button", name="Sign in").click()
    form = page.locator("#sign-in")
    form.get_by_label("First name").fill(first_name)
    form.get_by_label("Last name").fill(last_name)
    form.get_by_label("E-mail").fill(email)
    form.get_by_role("button", name="Sign in").click()


def test_new_visitor_becomes_a_big_spender_while_one_watches(context, faults, product):
    tool = context.new_page()
    tool.goto(f"{product.url}/demo/email-tool/")

    shop = context.new_page()
    visit_shop(shop, product)
    buy(shop, "Eleven Winters", "Low Sun", "Harvest Hymns")
    shop.wait_for_selector("#step-order.done")
    assert not shop.locator("#step-enter.done").count()
    sign_in(shop, "Mia", "Muster", "mia.muster@example.com")
    shop.wait_for_selector("#step-enter.done")
    shop.wait_for_selector("#step-message.done")
    assert "Big spenders (90 days)" in shop.locator("#segments").inner_text()

    tool.bring_to_front()
    mail = tool.locator(".mails li", has_text="Mia M.")
    mail.wait_for()
    assert mail.count() == 1
    assert "Signature verified" in mail.inner_text()

    profile = context.new_page()
    profile.goto(product.url + shop.locator("#profile").get_attribute("href"))
    profile.get_by_label("Username").fill("admin")
    profile.get_by_label("Password").fill(product.admin_password)
    profile.get_by_role("button", name="Log in").click()
    profile.get_by_text("Mia Muster").first.wait_for()
    text = profile.locator("body").inner_text()
    assert "Big spenders (90 days)" in text
    assert "CHF 204.90" in text
    assert not faults


def test_small_order_makes_no_big_spender(context, product):
    shop = context.new_page()
    visit_shop(shop, product)
    buy(shop, "Paper Lanterns")
    sign_in(shop, "Noah", "Muster", "noah.muster@example.com")
    shop.wait_for_selector("#step-sign-in.done")
    shop.wait_for_selector("#step-order.done")
    shop.wait_for_timeout(1_000)
    assert not shop.locator("#step-enter.done").count()
    assert "Big spenders" not in shop.locator("#segments").inner_text()


def test_visitor_can_start_again_as_somebody_new(context, product):
    shop = context.new_page()
    visit_shop(shop, product)
    buy(shop, "The Complete Sessions")
    sign_in(shop, "Lea", "Muster", "lea.muster@example.com")
    shop.wait_for_selector("#step-enter.done")
    shop.get_by_role("button", name="Start again").click()
    shop.wait_for_selector("#customer-id:has-text('none yet')")
    shop.wait_for_selector("#step-enter:not(.done)")


def test_tag_reports_from_another_site(context, faults, product):
    write_key = product.manage("create_source", "Another site")
    api_key = product.manage("create_api_key", "story")
    site = Site()
    site.head = f'<script async src="{product.url}/cdp.js" data-write-key="{write_key}"></script>'
    threading.Thread(target=site.serve_forever, daemon=True).start()
    page = context.new_page()
    page.goto(f"{site.url}/hello")

    def stored():
        asked = Request(f"{product.url}/api/events/?source=another-site")
        asked.add_header("Authorization", f"Bearer {api_key}")
        with urlopen(asked) as answer:
            return json.load(answer)["results"]

    [event] = wait_for(stored, "the page view")
    site.shutdown()
    site.server_close()
    assert event["name"] == "Page Viewed"
    assert event["properties"]["url"] == f"{site.url}/hello"
    assert not faults
    assert not site.envelopes

"""The admin as a marketer uses it: by mouse, by keyboard, on a phone, in the dark."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from cdp import figures
from customers import imports, search
from customers.models import Customer, Import
from events.models import Event

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def nina(make_customer, make_field, make_event):
    """A customer with thirty events."""
    for name in ("firstName", "lastName", "city"):
        make_field(name)
    make_field("points", "number")
    nina = make_customer("CH-1", fields={"firstName": "Nina", "lastName": "Weber", "points": 5})
    for number in range(30):
        make_event("Page Viewed", nina, properties={"path": f"/page-{number}"})
    make_event("Order Completed", nina, amount="1234.50")
    search.rebuild()
    return nina


def test_every_page_opens_without_an_error_and_without_leaving_the_machine(admin, nina, faults):
    admin.open()
    links = admin.page.locator("#nav-sidebar-apps a").evaluate_all("all => all.map(a => a.href)")
    assert len(links) >= 12
    for link in links:
        admin.page.goto(link)
        admin.page.locator("h1, h2").first.wait_for(timeout=40_000)
    assert not faults


def test_search_opens_a_profile_and_an_edit_is_seen_there(admin, nina):
    page = admin.page
    admin.open("customers/customer/")
    page.get_by_placeholder("Name, CustomerId, e-mail, phone").fill("weber")
    page.keyboard.press("Enter")
    page.get_by_role("row", name="Nina Weber").locator("td").last.click()
    page.get_by_role("heading", name="Nina Weber", level=2).wait_for()
    assert page.get_by_text("CHF 1'234.50").first.is_visible()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("city").fill("Luzern")
    page.get_by_label("points").fill("a few")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("is not a number").wait_for()
    page.get_by_label("points").fill("12.5")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("heading", name="Nina Weber", level=2).wait_for()
    page.get_by_text("Luzern", exact=True).click()
    assert page.get_by_text("anna, ").first.is_visible()


def test_timeline_loads_more_and_is_filtered(admin, nina):
    page = admin.page
    admin.open(f"customers/customer/{nina.pk}/")
    entries = page.locator(".cdp-timeline-item")
    assert entries.count() == 25
    page.get_by_role("button", name="Load more").click()
    page.wait_for_function("document.querySelectorAll('.cdp-timeline-item').length === 31")
    page.get_by_label("Show", exact=True).select_option(label="Order Completed (1)")
    page.wait_for_function("document.querySelectorAll('.cdp-timeline-item').length === 1")


def test_customer_id_is_copied_by_its_button(admin, nina, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    admin.open(f"customers/customer/{nina.pk}/")
    admin.page.get_by_role("button", name="Copy CustomerId CH-1").click()
    assert admin.page.evaluate("navigator.clipboard.readText()") == "CH-1"


def test_first_key_skips_to_the_content(admin):
    page = admin.page
    admin.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content') !== null")
    assert page.locator("[role=main]").count() == 1


def test_filters_open_and_work_by_keyboard_alone(admin, nina):
    page = admin.page
    Customer.objects.create()
    admin.open("customers/customer/")
    page.get_by_role("button", name="Filters").focus()
    page.keyboard.press("Enter")
    page.locator("select[name=who]").focus()
    page.keyboard.type("With a")
    page.get_by_role("button", name="Apply").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**who=identified**")
    assert page.locator("#result_list tr.data-row").count() == 1


def test_one_signs_in_without_touching_the_mouse(page, live_server):
    User.objects.create_superuser("tom", password="secret-enough")
    page.goto(f"{live_server.url}/admin/")
    page.keyboard.type("tom")
    page.keyboard.press("Tab")
    page.keyboard.type("secret-enough")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Home").wait_for()


def test_theme_can_be_changed_by_keyboard(admin):
    page = admin.page
    admin.open()
    page.get_by_role("button", name="anna").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Log out").first.wait_for()


@pytest.mark.parametrize("path", ["", "customers/customer/", "customers/customerfield/"])
def test_nothing_is_wider_than_a_phone(admin, nina, path):
    admin.page.set_viewport_size({"width": 390, "height": 844})
    admin.open(path)
    width = admin.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390


def test_profile_is_not_wider_than_a_phone(admin, nina):
    admin.page.set_viewport_size({"width": 390, "height": 844})
    admin.open(f"customers/customer/{nina.pk}/")
    assert admin.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_chart_of_home_is_drawn_and_told_as_a_table(admin, nina):
    Event.objects.update(occurred_at=timezone.now())
    figures.forget()
    admin.open()
    page = admin.page
    page.wait_for_function("Object.keys(Chart.instances).length === 1")
    page.get_by_text("The figures as a table").click()
    assert page.get_by_role("columnheader", name="Page Viewed").is_visible()


def test_file_is_checked_mended_and_imported_as_a_marketer_would(admin, make_field, tmp_path):
    make_field("email", label="E-mail")
    make_field("points", "number")
    file = tmp_path / "people.csv"
    file.write_text(
        "customerId,fieldName,fieldValue\n"
        "C1,emial,anna@example.ch\nC1,points,many\nC2,points,5\nC2,shoeSize,42\n"
    )
    page = admin.page
    admin.open("customers/customerfield/")
    page.get_by_role("link", name="Upload values (CSV)").click()
    page.get_by_label("File", exact=True).set_input_files(file)
    assert page.get_by_text("people.csv").is_visible()
    page.get_by_role("button", name="Check the file").click()
    page.get_by_text("You can leave this page").wait_for()
    imports.check(Import.objects.get().pk)
    page.get_by_text("is not a number").wait_for()
    page.get_by_label("What to do with emial").select_option(label="E-mail")
    page.get_by_label("What to do with shoeSize").select_option("create:number")
    page.get_by_role("button", name="Check again").first.click()
    page.get_by_text("You can leave this page").wait_for()
    imports.check(Import.objects.get().pk)
    page.get_by_role("button", name="Import 3 values").click()
    page.get_by_text("You can leave this page").wait_for()
    imports.apply(Import.objects.get().pk)
    page.get_by_text("3 lines are in, 1 was skipped").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download these lines").click()
    assert "points,many" in download.value.path().read_text()
    assert Customer.objects.get(external_id="C1").fields == {"email": "anna@example.ch"}


def test_buttons_that_are_icons_only_have_names(admin, nina):
    admin.open("customers/customer/")
    unnamed = admin.page.evaluate(
        """[...document.querySelectorAll("button, a, [role=button]")].filter((element) => {
            const icons = element.querySelectorAll(".material-symbols-outlined").length;
            const text = element.cloneNode(true);
            text.querySelectorAll(".material-symbols-outlined").forEach((icon) => icon.remove());
            const isIcon = element.matches(".material-symbols-outlined");
            const says = text.textContent.trim() && !isIcon;
            return (icons || isIcon) && !says && !element.ariaLabel && !element.title;
        }).map((element) => element.outerHTML)"""
    )
    assert unnamed == []

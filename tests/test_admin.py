"""Every page of the admin: it opens, for whom it may, in few queries, and says what it should."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from cdp import figures, navigation, roles
from cdp.models import ApiKey
from customers.models import Customer, Import
from events import imports as event_imports
from events import inbox
from events.models import Event, Quarantine, Source
from tests.people import queries_of

MOST_QUERIES = 16  # of a list, the session, the user and the header included


@pytest.fixture(autouse=True)
def _fresh_figures():
    cache.clear()


def lists():
    """The address of every list in the admin."""
    return sorted(
        f"{model._meta.app_label}_{model._meta.model_name}"
        for model, model_admin in admin.site._registry.items()
    )


@pytest.fixture
def rows(make_customer, make_event, make_field, make_segment, make_source):
    """Make some rows of everything, more at each call."""

    def make(count):
        done = Customer.objects.count()
        for number in range(done, done + count):
            make_field(f"field{number}")
            customer = make_customer(f"C{number}", fields={f"field{number}": "x"})
            make_event(f"Event {number}", customer, source=make_source(f"source{number}"))
            make_segment({"field": f"field{number}", "op": "is", "value": "x"})
            Quarantine.objects.create(
                source=make_source(), call="track", code="no_name", message="No name.", body="{}"
            )
            Import.objects.create(
                kind="customer_fields", file_name=f"{number}.csv", file_size=1, sha256="0"
            )

    return make


@pytest.mark.parametrize("name", lists())
def test_list_opens_in_few_queries_however_many_rows_there_are(name, staff, rows):
    address = reverse(f"admin:{name}_changelist")
    rows(2)
    few = queries_of(staff, address)
    rows(8)
    assert queries_of(staff, address) == few <= MOST_QUERIES


def test_tab_of_a_list_says_what_is_listed(staff):
    page = staff.get("/admin/customers/customerfield/").content.decode()
    assert "<title> Customer fields | CDP</title>" in " ".join(page.split())


def test_home_takes_as_many_queries_for_many_rows_as_for_few(staff, rows):
    rows(2)
    few = queries_of(staff, "/admin/")
    rows(8)
    figures.forget()
    assert queries_of(staff, "/admin/") == few


def test_profile_takes_as_many_queries_for_many_rows_as_for_few(staff, make_event, make_customer):
    customer = make_customer("C1")
    make_event("Page Viewed", customer)
    few = queries_of(staff, f"/admin/customers/customer/{customer.pk}/")
    for number in range(20):
        make_event(f"Event {number}", customer)
    assert queries_of(staff, f"/admin/customers/customer/{customer.pk}/") == few


def test_sidebar_has_only_what_exists(staff):
    answer = staff.get("/admin/")
    for group in answer.context["sidebar_navigation"]:
        for item in group["items"]:
            assert staff.get(item["link"]).status_code == 200, item["title"]


def test_one_line_of_the_sidebar_is_marked(staff, make_source):
    source = make_source()
    pages = {
        "": "Home",
        "events/eventname/": "Event types",
        "events/eventname/live/": "Live events",
        f"events/source/{source.pk}/change/": "Sources",
        f"events/source/{source.pk}/install/": "Install the tag",
        "django_q/failure/": "Background work",
    }
    for page, title in pages.items():
        groups = staff.get(f"/admin/{page}").context["sidebar_navigation"]
        items = [item for group in groups for item in group["items"]]
        assert [item["title"] for item in items if item["active"]] == [title]


def test_empty_list_offers_what_its_header_offers(staff):
    page = staff.get("/admin/segments/segment/").content.decode()
    assert page.count('href="/admin/segments/segment/add/"') == 2


def way_of(page):
    """The steps in the header of a page."""
    header = page.content.decode().partition("<h1")[2].partition("</h1>")[0]
    return [text.strip() for text in re.findall(r"<(?:a|span)[^>]*title=[^>]*>([^<]*)<", header)]


def test_header_says_where_one_is_and_sidebar_marks_one_entry(staff, make_customer):
    anna = make_customer("A1", fields={"firstName": "Anna"})
    for path, way, entry in (
        (f"customer/{anna.pk}/", ["Customers", "Anna"], "Customers"),
        (f"customer/{anna.pk}/change/", ["Customers", "Anna", "Edit"], "Customers"),
        (f"customer/{anna.pk}/delete/", ["Customers", "Anna", "Erase a customer"], "Customers"),
        ("customer/add/", ["Customers", "Add customer"], "Customers"),
        ("import/add/", ["Imports", "Import a file"], "Imports"),
        ("consentpurpose/suppressions/", ["Suppression list"], "Suppression list"),
    ):
        page = staff.get(f"/admin/customers/{path}")
        active = [
            item["title"]
            for group in page.context["sidebar_navigation"]
            for item in group["items"]
            if item["active"]
        ]
        assert (way_of(page), active) == (way, [entry])


def test_viewer_sees_customers_but_no_setup(member):
    sidebar = member("Viewer").get("/admin/").context["sidebar_navigation"]
    titles = [item["title"] for group in sidebar for item in group["items"]]
    assert "Customers" in titles
    assert not {"API keys", "Users", "Background work", "Sources"} & {*titles}


def test_marketer_may_import_but_not_make_api_keys(member):
    client = member("Marketer")
    assert client.get("/admin/customers/import/add/").status_code == 200
    assert client.get("/admin/cdp/apikey/add/").status_code == 403


def test_viewer_may_not_edit_a_customer(member, make_customer):
    customer = make_customer("C1")
    client = member("Viewer")
    client.post(f"/admin/customers/customer/{customer.pk}/change/", {})
    assert client.get(f"/admin/customers/customer/{customer.pk}/").status_code == 200
    assert b"/change/" not in client.get(f"/admin/customers/customer/{customer.pk}/").content


def test_staff_without_a_role_sees_no_customer(client, make_customer):
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    customer = make_customer("C1")
    for page in ("", "timeline/", "change/"):
        address = f"/admin/customers/customer/{customer.pk}/{page}"
        assert client.get(address).status_code == 403, page


def test_badge_tells_of_demo_data(staff, make_source):
    assert navigation.environment(staff.get("/admin/").wsgi_request) is None
    make_source("demo-online")
    assert "Demo data" in staff.get("/admin/").content.decode()


# Looks


def test_pages_use_no_class_that_the_theme_has_not_compiled():
    """Tailwind's classes exist only where unfold itself uses them: ours begin with cdp-."""
    theme = Path(admin.__file__).parents[3] / "unfold/static/unfold/css/styles.css"
    known = set(re.findall(r"\.((?:\\.|[\w-])+)", theme.read_text()))
    known = {name.replace("\\", "") for name in known}
    sheets = (settings.BASE_DIR / "static").rglob("*.css")
    own = {name for sheet in sheets for name in re.findall(r"\.([a-z][\w-]+)", sheet.read_text())}
    hooks = {"material-symbols-outlined", "chart", "addlink", "submit-row"}
    unknown = {}
    for template in (settings.BASE_DIR / "templates").rglob("*.html"):
        if "demo" in template.parts:
            continue
        text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", " ", template.read_text(), flags=re.DOTALL)
        for classes in re.findall(r'(?<![:\w-])class="([^"]*)"', text):
            if missing := set(classes.split()) - known - own - hooks:
                unknown.setdefault(template.name, set()).update(missing)
    unknown = {name: {c for c in found if not c.endswith("-")} for name, found in unknown.items()}
    assert not {name: found for name, found in unknown.items() if found}


def test_pages_hold_no_script_and_no_handler_that_the_policy_would_refuse():
    for template in (settings.BASE_DIR / "templates").rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), template
        assert not re.search(
            r"\son(click|change|submit|input|load|error|key\w+|mouse\w+)=", text
        ), template


def test_admin_may_evaluate_and_the_rest_may_not(staff):
    inside = staff.get("/admin/")["Content-Security-Policy"]
    outside = staff.get("/healthz")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in inside
    assert "unsafe" not in outside
    assert "default-src 'self'" in inside
    assert "default-src 'self'" in outside


# Sources, events, keys


def test_new_source_gets_a_key_and_leads_to_how_to_use_it(staff):
    sent = {"name": "Web shop", "kind": "website", "channel": "online", "currency": "chf"}
    answer = staff.post("/admin/events/source/add/", {**sent, "is_enabled": "on"})
    source = Source.objects.get()
    assert (source.key, source.currency) == ("web-shop", "CHF")
    assert source.write_key in staff.get(answer.url).content.decode()


def test_key_of_a_source_is_replaced_by_a_post_only(staff, make_source):
    source = make_source()
    address = f"/admin/events/source/{source.pk}/rotate/"
    assert staff.get(address).status_code == 405
    staff.post(address)
    assert Source.objects.get().write_key != source.write_key


def test_rejected_event_is_sent_through_again(staff, make_source):
    row = Quarantine.objects.create(
        source=make_source(), call="track", code="no_name", message="No name.", body="{}"
    )
    staff.post("/admin/events/quarantine/", {"action": "replay", "_selected_action": [str(row.pk)]})
    row.refresh_from_db()
    assert row.replayed_at


def test_api_key_is_shown_once_and_then_works(staff, client):
    sent = {"name": "Shop", "scopes": ["customers:read"]}
    text = staff.post("/admin/cdp/apikey/add/", sent).content.decode()
    key = re.search(r"cdp_[\w-]{40,}", text)[0]
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/api/customers/", headers=headers).status_code == 200
    assert client.get("/api/segments/", headers=headers).status_code == 403
    assert key not in staff.get("/admin/cdp/apikey/").content.decode()


def test_revoked_api_key_is_refused(staff, client):
    sent = {"name": "Shop", "scopes": ["customers:read"]}
    text = staff.post("/admin/cdp/apikey/add/", sent).content.decode()
    key = re.search(r"cdp_[\w-]{40,}", text)[0]
    row = ApiKey.objects.get()
    staff.post("/admin/cdp/apikey/", {"action": "revoke", "_selected_action": [str(row.pk)]})
    client.logout()
    answer = client.get("/api/customers/", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


def test_new_user_may_sign_in_with_the_chosen_role(staff):
    roles.create(Group, Permission)
    role = Group.objects.get(name="Marketer")
    password = "correct horse 9"
    sent = {"username": "tom", "password1": password, "password2": password, "groups": [role.pk]}
    staff.post("/admin/auth/user/add/", sent)
    tom = User.objects.get(username="tom")
    assert tom.is_staff
    assert [*tom.groups.all()] == [role]


def test_waiting_task_is_not_said_to_run(staff):
    now = timezone.now()
    taken, waiting = now + timedelta(minutes=5), now - timedelta(seconds=20)
    OrmQ.objects.create(key="cdp", payload=SignedPackage.dumps({"func": "a.b"}), lock=taken)
    assert badges_of(staff.get("/admin/django_q/ormq/")) == ["Running"]
    OrmQ.objects.update(lock=waiting)
    assert badges_of(staff.get("/admin/django_q/ormq/")) == ["Waiting"]


def badges_of(page):
    return re.findall(r'class="cdp-badge[^"]*">(Running|Waiting)<', page.content.decode())


def test_page_of_a_user_says_what_the_roles_may_and_shows_no_hash(staff):
    user = User.objects.create_user("berta", password="Kirsch-9876")
    page = staff.get(f"/admin/auth/user/{user.pk}/change/").content.decode()
    assert "Cannot erase customers" in page
    assert "Set a new password" in page
    assert "argon2" not in page
    sent = {"username": "berta", "is_active": "on", "first_name": "Anna"}
    assert staff.post(f"/admin/auth/user/{user.pk}/change/", sent).status_code == 302
    user.refresh_from_db()
    assert user.first_name == "Anna"
    assert user.check_password("Kirsch-9876")


def test_nobody_can_make_a_task(staff):
    for name in ("schedule", "ormq", "failure"):
        assert staff.get(f"/admin/django_q/{name}/add/").status_code == 403


def test_customer_is_erased_when_the_customer_id_is_typed(staff, make_customer, make_event):
    customer = make_customer("C1", fields={"city": "Bern"})
    make_event(customer=customer)
    address = f"/admin/customers/customer/{customer.pk}/delete/"
    staff.post(address, {"name": "C2"})
    assert Customer.objects.exists()
    staff.post(address, {"name": "C1"})
    assert not Customer.objects.exists()
    assert not Event.objects.exists()


def test_marketer_may_not_erase(member, make_customer):
    customer = make_customer("C1")
    answer = member("Marketer").post(
        f"/admin/customers/customer/{customer.pk}/delete/", {"name": "C1"}
    )
    assert answer.status_code == 403
    assert Customer.objects.exists()


def upload_events(staff, **more):
    content = b"customerId;event;timestamp;revenue\nC1;Order Completed;31.10.2026 12:30;1'249.90\n"
    form = {"kind": "events", "numbers": "1'234.50", "dates": "dd.mm.yyyy", **more}
    form["file"] = SimpleUploadedFile("till.csv", content)
    return staff.post("/admin/customers/import/add/", form)


def test_purchases_of_a_till_are_imported_as_events(staff, make_source):
    make_source("till")
    upload_events(staff, source="till")
    run = Import.objects.get()
    event_imports.check(run.pk)
    address = f"/admin/customers/import/{run.pk}/"
    assert "Import 1 event" in staff.get(f"{address}change/").content.decode()
    staff.post(f"{address}start/")
    event_imports.apply(run.pk)
    inbox.process(10)
    assert Event.objects.get().amount == Decimal("1249.90")


def test_events_without_a_source_are_refused_in_words(staff):
    assert "source" in upload_events(staff, source="").content.decode()
    assert not Import.objects.exists()


@pytest.mark.parametrize(
    "path",
    [
        "customers/customer/0/",
        "customers/customer/99999999999999999999999/",
        "customers/customer/x/delete/",
        "customers/customer/x/change/",
        "customers/customerfield/x/delete/",
        "customers/import/x/change/",
        "customers/import/99999999999999999999999/status/",
    ],
)
def test_address_of_nothing_is_not_found(staff, path):
    assert staff.get(f"/admin/{path}").status_code in (302, 404)


@pytest.mark.parametrize(
    "query",
    [
        "q=%00",
        "q=%F0%9F%98%80",
        "q='\"%25_\\",
        "who=nobody",
        "segment=%00",
        "p=x",
        "p=999999",
        "o=1.-99",
        "e=1",
        "fields__x=1",
    ],
)
def test_odd_addresses_of_lists_are_no_errors(staff, make_customer, query):
    make_customer("C1")
    assert staff.get(f"/admin/customers/customer/?{query}", follow=True).status_code in (200, 400)


def test_odd_words_in_the_search_of_the_sidebar_are_no_errors(staff):
    for text in ("%00", "a" * 3000, "%25_%5C", "x&page=x", "x&page=-1"):
        assert staff.get(f"/admin/search/?extended=1&s={text}").status_code == 200


def test_odd_addresses_of_the_timeline_are_no_errors(staff, make_customer):
    customer = make_customer("C1")
    for query in ("after=%00", "after=2026-01-01T00:00:00Z|2|x", "show=%00", "show=" + "9" * 40):
        address = f"/admin/customers/customer/{customer.pk}/timeline/?{query}"
        assert staff.get(address).status_code == 200, query

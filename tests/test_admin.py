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
from customers import definitions, search, usage
from customers.models import Customer, CustomerField, FieldChange, Import
from events import imports as event_imports
from events import inbox
from events.models import DiscoveredField, Event, Quarantine, Source
from segments import filling
from segments.models import Segment
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


# Customers


def test_search_finds_by_id_email_and_words_of_a_name(staff, make_customer):
    anna = make_customer("CH-1", fields={"firstName": "Anna", "lastName": "Weber"})
    make_customer("CH-2", fields={"firstName": "Anna", "lastName": "Frei", "email": "a@frei.ch"})
    search.rebuild()
    for text, names in (
        ("CH-1", {"Anna Weber"}),
        ("ch-1", set()),
        ("CH-", {"Anna Weber", "Anna Frei"}),
        ("weber ANNA", {"Anna Weber"}),
        ("a@frei.ch", {"Anna Frei"}),
        ("firstName", set()),
        ("100%", set()),
    ):
        found = staff.get("/admin/customers/customer/", {"q": text}).context["cl"].result_list
        assert {str(customer) for customer in found} == names, text
    found = staff.get("/admin/search/?extended=1&s=weber").content.decode()
    assert f"/admin/customers/customer/{anna.pk}/" in found


def test_list_is_filtered_by_segment_and_by_who_is_known(staff, make_customer, make_segment):
    make_customer("C1", fields={"city": "Bern"})
    make_customer()
    CustomerField.objects.create(name="city")
    segment = make_segment({"field": "city", "op": "is", "value": "Bern"})
    for query in (f"segment={segment.key}", "who=identified"):
        found = staff.get(f"/admin/customers/customer/?{query}").context["cl"].result_list
        assert [customer.external_id for customer in found] == ["C1"]
    found = staff.get("/admin/customers/customer/?who=anonymous").context["cl"].result_list
    assert [customer.external_id for customer in found] == [None]


def test_merged_customer_is_not_listed_and_leads_to_who_it_is_now(staff, make_customer):
    survivor = make_customer("C1")
    absorbed = make_customer(merged_into=survivor)
    found = staff.get("/admin/customers/customer/").context["cl"].result_list
    assert [customer.pk for customer in found] == [survivor.pk]
    answer = staff.get(f"/admin/customers/customer/{absorbed.pk}/")
    assert answer.url == f"/admin/customers/customer/{survivor.pk}/"


def form_of(customer, **values):
    """What the form of a customer sends: the controls are called after the fields' ids."""
    ids = dict(CustomerField.objects.values_list("name", "pk"))
    return {f"value_{ids[name]}": value for name, value in values.items()}


def test_edit_lays_typed_values_and_remembers_who_wrote_them(staff, make_customer, make_field):
    make_field("points", "number")
    make_field("vip", "boolean")
    make_field("born", "datetime")
    make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customer/{customer.pk}/change/"
    sent = form_of(customer, points="12.50", vip="true", born="1980-05-01T00:00", city="Bern")
    answer = staff.post(address, sent)
    assert answer.url == f"/admin/customers/customer/{customer.pk}/"
    customer.refresh_from_db()
    assert customer.fields["points"] == 12.5
    assert customer.fields["vip"] is True
    assert customer.fields["born"] == "1980-04-30T23:00:00Z"
    change = FieldChange.objects.get(customer=customer)
    assert change.source == "Anna"
    assert set(change.changes) == {"points", "vip", "born"}


def test_edit_refuses_a_value_beside_its_field_and_changes_nothing(
    staff, make_customer, make_field
):
    make_field("points", "number")
    make_field("city")
    customer = make_customer("C1")
    sent = form_of(customer, points="many", city="Bern")
    answer = staff.post(f"/admin/customers/customer/{customer.pk}/change/", sent)
    assert "is not a number" in answer.content.decode()
    customer.refresh_from_db()
    assert customer.fields == {}


def test_form_cannot_change_id_or_customer_id(staff, make_customer):
    customer = make_customer("C1")
    staff.post(
        f"/admin/customers/customer/{customer.pk}/change/", {"external_id": "X", "id": "999"}
    )
    customer.refresh_from_db()
    assert customer.external_id == "C1"


def test_clearing_a_control_clears_the_value(staff, make_customer, make_field):
    make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    staff.post(f"/admin/customers/customer/{customer.pk}/change/", form_of(customer, city=""))
    customer.refresh_from_db()
    assert customer.fields == {}


def test_customer_is_added_by_hand_once(staff, make_field):
    make_field("city")
    sent = {"external_id": "C7", **form_of(None, city="Bern")}
    answer = staff.post("/admin/customers/customer/add/", sent)
    customer = Customer.objects.get(external_id="C7")
    assert answer.url == f"/admin/customers/customer/{customer.pk}/"
    assert customer.fields == {"city": "Bern"}
    again = staff.post("/admin/customers/customer/add/", sent).content.decode()
    assert "already" in again
    assert Customer.objects.count() == 1


@pytest.mark.parametrize("name", ["", "undefined", "00000"])
def test_customer_cannot_be_added_with_an_id_that_is_none(staff, name):
    staff.post("/admin/customers/customer/add/", {"external_id": name})
    assert not Customer.objects.exists()


# The profile


def test_profile_says_where_a_value_came_from(staff, make_customer, make_field):
    make_field("city")
    customer = make_customer("C1", fields={"city": "Basel"})
    FieldChange.objects.create(customer=customer, source="Tom", changes={"city": [None, "Bern"]})
    FieldChange.objects.create(
        customer=customer, source='import "a.csv"', changes={"city": ["Bern", "Basel"]}
    )
    text = staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()
    assert "import &quot;a.csv&quot;" in text
    assert "before: Bern" in text


def test_single_value_is_set_cleared_and_restored(staff, make_customer, make_field):
    points = make_field("points", "number")
    customer = make_customer("C1", fields={"points": 5})
    address = f"/admin/customers/customer/{customer.pk}/field/{points.pk}/"
    assert address in staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()

    def post(**sent):
        answer = staff.post(address, sent)
        customer.refresh_from_db()
        return customer.fields.get("points"), answer

    key = f"value_{points.pk}"
    assert post(save="1", **{key: "7.5"})[0] == Decimal("7.5")
    value, answer = post(save="1", **{key: "many"})
    assert value == Decimal("7.5")
    assert "is not a number" in answer.content.decode()
    assert post(clear="1")[0] is None
    first = FieldChange.objects.filter(customer=customer).order_by("id").first()
    assert "7.5" in staff.get(address).content.decode()
    assert post(restore=str(first.id))[0] == Decimal("7.5")
    assert post(restore="x")[0] == Decimal("7.5")
    assert FieldChange.objects.filter(customer=customer, source="Anna").count() == 3


def test_viewer_sees_the_history_of_a_value_and_cannot_change_it(member, make_customer, make_field):
    city = make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customer/{customer.pk}/field/{city.pk}/"
    client = member("Viewer")
    assert client.get(address).status_code == 200
    assert client.post(address, {"clear": "1"}).status_code == 403
    secret = make_field("iban", is_personal=True)
    hidden = f"/admin/customers/customer/{customer.pk}/field/{secret.pk}/"
    assert client.get(hidden).status_code == 403


def test_values_lead_where_they_should_and_nowhere_else(staff, make_customer, make_field):
    for name, shown_as, value in (
        ("mail", "email", "a@b.ch"),
        ("tel", "phone", "+41 79 1"),
        ("web", "link", "https://b.ch/x"),
        ("evil", "link", "javascript:alert(1)"),
    ):
        make_field(name, display=shown_as)
        make_customer(name, fields={name: value})
    text = "".join(
        staff.get(f"/admin/customers/customer/{customer.pk}/").content.decode()
        for customer in Customer.objects.all()
    )
    for href in ("mailto:a%40b.ch", "tel:+41791", "https://b.ch/x"):
        assert f'href="{href}"' in text
    assert 'href="javascript' not in text


def test_profile_sums_purchases_less_refunds_in_our_currency(staff, make_customer, make_event):
    customer = make_customer("C1")
    make_event(customer=customer, amount="1234.50")
    make_event(customer=customer, amount="99", currency="EUR")
    make_event("Order Refunded", customer, amount="-34.50")
    bought = staff.get(f"/admin/customers/customer/{customer.pk}/").context["purchases"]
    assert (bought.revenue, bought.orders) == (1200, 2)


def test_profile_shows_hostile_values_as_text(staff, make_customer, make_event, make_field):
    nasty = "<script>alert(1)</script>"
    make_field("name", label=nasty)
    customer = make_customer(nasty, fields={"name": nasty})
    make_event(nasty, customer, properties={nasty: nasty, "name": nasty})
    for path in ("", "change/", "timeline/"):
        text = staff.get(f"/admin/customers/customer/{customer.pk}/{path}").content.decode()
        assert nasty not in text


# Fields


def test_field_with_values_keeps_its_name_and_type(staff, make_customer, make_field):
    field = make_field("city")
    make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/change/"
    assert "its name and type stay" in staff.get(address).content.decode()
    staff.post(address, {"name": "town", "type": "number", "label": "City"})
    field.refresh_from_db()
    assert (field.name, field.type, field.label) == ("city", "string", "City")


def test_type_of_a_field_changes_after_a_look_at_what_is_lost(
    transactional_db, staff, make_customer, make_field
):
    field = make_field("points")
    for number, value in enumerate(("12", "1.50", "many", "many")):
        make_customer(f"C{number}", fields={"points": value})
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    text = staff.get(address, {"type": "number"}).content.decode()
    assert "2 of the values cannot become a Number" in text
    assert "many" in text
    assert Customer.objects.get(external_id="C0").fields == {"points": "12"}
    staff.post(address, {"type": "number"})
    definitions.convert(field.pk, "Anna")
    values = {c.external_id: c.fields.get("points") for c in Customer.objects.all()}
    assert values == {"C0": 12, "C1": Decimal("1.50"), "C2": None, "C3": None}
    lost = FieldChange.objects.get(customer__external_id="C2")
    assert lost.changes == {"points": ["many", None]}


def test_type_of_a_field_that_a_segment_uses_stays(staff, make_field, make_segment):
    field = make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    assert "in use" in staff.get(address, {"type": "number"}).content.decode()
    staff.post(address, {"type": "number"})
    field.refresh_from_db()
    assert field.type == "string"


def test_viewer_may_not_change_a_type(member, make_field):
    field = make_field("city")
    client = member("Viewer")
    address = f"/admin/customers/customerfield/{field.pk}/retype/"
    assert client.post(address, {"type": "number"}).status_code == 403


def test_kept_figures_of_fields_are_counted_by_the_queue(make_customer, make_field, monkeypatch):
    monkeypatch.setattr(usage, "SAMPLED", 1)
    make_field("city")
    make_field("plan")
    make_customer("C1", fields={"city": "Bern"})
    make_customer("C2")  # the newest shows nothing
    usage.refresh()
    city, plan = CustomerField.objects.order_by("name")
    assert (city.holders, city.examples, plan.holders) == (1, ["Bern"], 0)


def test_list_of_fields_says_who_has_a_value_and_what_uses_it(
    staff, make_customer, make_field, make_segment
):
    make_field("city")
    make_customer("C1", fields={"city": "Bern"})
    make_customer("C2")
    segment = make_segment({"field": "city", "op": "is", "value": "Bern"})
    text = staff.get("/admin/customers/customerfield/").content.decode()
    assert "50" in text
    assert segment.name in text


def test_field_is_deleted_with_its_values_when_its_name_is_typed(
    transactional_db, staff, make_customer, make_field
):
    field = make_field("city")
    customer = make_customer("C1", fields={"city": "Bern"})
    address = f"/admin/customers/customerfield/{field.pk}/delete/"
    staff.post(address, {"name": "town"})
    assert CustomerField.objects.exists()
    staff.post(address, {"name": "city"})
    customer.refresh_from_db()
    assert not CustomerField.objects.exists()
    assert customer.fields == {}


def test_field_that_a_segment_uses_is_not_deleted(staff, make_field, make_segment):
    field = make_field("city")
    make_segment({"field": "city", "op": "is", "value": "Bern"})
    staff.post(f"/admin/customers/customerfield/{field.pk}/delete/", {"name": "city"})
    assert CustomerField.objects.exists()


def test_unknown_traits_are_offered_as_fields(staff, make_source):
    DiscoveredField.objects.create(
        name="plan", source=make_source(), type="string", example='"gold"'
    )
    text = staff.get("/admin/customers/customerfield/").content.decode()
    assert "add/?name=plan&amp;type=string" in text


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


# The list of customers


LIST = "/admin/customers/customer/"


@pytest.fixture
def bernese(make_customer, make_field):
    """Forty customers, every other one from Bern."""
    make_field("city", label="City")
    make_field("points", "number")
    return [
        make_customer(f"C{n}", fields={"city": "Bern" if n % 2 else "Basel", "points": n})
        for n in range(40)
    ]


def listed(client, query="", **data):
    answer = client.get(LIST + query, data, follow=True)
    return [customer.external_id for customer in answer.context["cl"].result_list]


def test_form_of_filters_leads_to_an_address_that_says_what_it_means(staff, bernese):
    form = "?field.city=er&op.city=contains&field.points[at_least]=30&field.points[at_most]=&who="
    answer = staff.get(LIST + form)
    assert answer.url == f"{LIST}?field.city%5Bcontains%5D=er&field.points%5Bat_least%5D=30"
    assert sorted(listed(staff, answer.url.removeprefix(LIST))) == [
        f"C{n}" for n in range(31, 40, 2)
    ]
    answer = staff.get(LIST + "?field.city=&op.city=missing")
    assert answer.url == f"{LIST}?field.city%5Bmissing%5D=true"


def test_chip_takes_its_filter_away_and_leaves_the_others(staff, bernese):
    chips = staff.get(LIST + "?field.city=Bern&field.points[at_least]=30").context["cl"].chips
    assert [chip.text for chip in chips] == ["City is “Bern”", "points is at least 30"]
    assert chips[0].href == "?field.points%5Bat_least%5D=30"


def test_filter_that_cannot_be_read_lists_nobody_and_says_why(staff, bernese):
    answer = staff.get(LIST + "?field.points[at_least]=many")
    assert "is not a number" in answer.content.decode()
    assert listed(staff, "?field.ctiy=x") == []


def test_pages_of_the_list_show_everybody_once(staff, bernese):
    seen, page = [], LIST
    while page:
        shown = staff.get(page).context["cl"]
        seen += [customer.external_id for customer in shown.result_list]
        page = LIST + shown.older if shown.older else ""
    assert sorted(seen) == sorted(customer.external_id for customer in bernese)
    assert "40 customers" in staff.get(LIST + "count/").content.decode()


def test_list_is_sorted_by_a_column(staff, bernese):
    staff.post(LIST + "columns/", {"column": ["points"]})
    assert listed(staff, "?o=3")[:2] == ["C0", "C1"]
    assert listed(staff, "?o=-3")[:2] == ["C39", "C38"]
    for odd in ("?o=99", "?o=x", "?o=-", "?o=3.-3", "?after=x", "?after=9" * 30, "?before=0"):
        assert staff.get(LIST + odd).status_code == 200, odd


def test_everybody_chooses_their_own_columns(staff, bernese):
    staff.post(LIST + "columns/", {"column": ["points", "nothing", "city"]})
    assert [str(c) for c in staff.get(LIST).context["cl"].list_display[-4:-2]] == ["points", "City"]
    staff.post(LIST + "columns/", {"column": ["points"], "reset": "1"})
    assert b"column-value_" not in staff.get(LIST).content


def test_filters_become_a_segment_with_the_same_members(staff, bernese):
    query = "?field.city=Bern&field.points[at_least]=30&who=identified"
    assert b"Save as segment" in staff.get(LIST + query).content
    staff.post(f"{LIST}save-segment/{query}", {"name": "Keen Bernese"})
    segment = Segment.objects.get(key="keen-bernese")
    while filling.fill_next():
        pass
    members = {m.customer.external_id for m in segment.memberships.select_related("customer")}
    assert members == {*listed(staff, query)} == {"C31", "C33", "C35", "C37", "C39"}
    assert segment.audience == "identified"


def test_search_by_words_cannot_become_a_segment(staff, bernese):
    assert b"Save as segment" not in staff.get(LIST + "?field.city=Bern&q=x").content


def test_viewer_can_neither_save_a_segment_nor_add_to_one(member, bernese):
    client = member("Viewer")
    assert client.post(f"{LIST}save-segment/?field.city=Bern", {"name": "x"}).status_code == 403
    assert client.post(f"{LIST}add-to-segment/", {"customer": "1"}).status_code == 403


def test_chosen_customers_are_added_to_a_segment_kept_by_hand(staff, bernese):
    ids = [str(customer.pk) for customer in bernese[:3]]
    text = staff.post(LIST, {"action": "add_to_segment", "_selected_action": ids}).content.decode()
    assert "Add 3 customers" in text
    staff.post(f"{LIST}add-to-segment/", {"customer": ids, "name": "VIP"})
    staff.post(f"{LIST}add-to-segment/", {"customer": ids[:1], "segment": "vip"})
    assert Segment.objects.get(key="vip").memberships.count() == 3

"""The list of customers: searched, filtered, paged, sorted, and what is done with it."""

import pytest
from django.core.cache import cache

from customers import search
from customers.models import CustomerField
from segments import filling
from segments.models import Segment

LIST = "/admin/customers/customer/"


@pytest.fixture(autouse=True)
def _fresh_figures():
    cache.clear()


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

"""The pages of segments: what they say, what they store, and who may do what."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from customers import clock
from customers.models import Customer
from segments import builder, definitions, growth
from segments.models import Membership, MembershipChange, Segment
from tests.people import queries_of

pytestmark = pytest.mark.django_db

LIST = "/admin/segments/segment/"
PREVIEW = f"{LIST}preview/"
IN_BERN = {"field": "city", "op": "is", "value": "Bern"}
BOUGHT = {"event": "Order Completed", "within": {"last": 90, "unit": "days"}}
SPENT_200 = BOUGHT | {"measure": "sum", "property": "amount", "op": "at_least", "value": 200}


@pytest.fixture
def bern(make_field, make_customer, make_segment):
    """A segment with two members."""
    make_field("city", label="City")
    for name in ("ann", "bob"):
        make_customer(name, fields={"city": "Bern", "firstName": name.title()})
    make_customer("zoe", fields={"city": "Basel"})
    return make_segment(IN_BERN, key="bern", name="In Bern")


@pytest.fixture
def by_hand(make_segment):
    return make_segment(None, key="vip", kind="static")


def page_of(segment, *rest):
    return f"{LIST}{segment.pk}/{''.join(rest)}"


def post(client, address, **body):
    answer = client.post(address, json.dumps(body), content_type="application/json")
    return answer.status_code, answer.json()


# The list and the page


def test_list_says_the_rule_the_size_and_who_uses_it(staff, bern, make_segment):
    make_segment({"segment": "bern"}, key="other", name="Other")
    text = staff.get(LIST).content.decode()
    assert "whose “city” is “Bern”" in text
    row = next(row for row in staff.get(LIST).context["cl"].result_list if row.pk == bern.pk)
    assert (row.size, [use.text for use in row.uses]) == (2, ["Other"])


def test_list_draws_the_last_30_days(staff, bern):
    assert "<polyline" not in staff.get(LIST).content.decode()
    growth.look_back(bern.pk)
    page = staff.get(LIST).content.decode()
    assert page.count("<polyline") == 1
    assert "From 0 to 2" in page or "From 2 to 2" in page


def test_empty_list_says_what_a_segment_is_for(staff):
    assert "No segments yet" in staff.get(LIST).content.decode()


def test_list_takes_as_many_queries_for_many_segments_as_for_few(staff, make_segment):
    make_segment(BOUGHT)
    few = queries_of(staff, LIST)
    for _ in range(8):
        make_segment(BOUGHT)
    assert queries_of(staff, LIST) == few


def test_page_shows_members_and_the_latest_changes_with_their_cause(staff, bern):
    answer = staff.get(page_of(bern))
    assert [str(row.customer) for row in answer.context["page"].rows] == ["Bob", "Ann"]
    assert answer.context["latest"][0].happened == "The rule was saved"
    assert answer.context["size"] == 2


def test_page_takes_as_many_queries_for_many_members_as_for_few(staff, bern, make_customer):
    staff.get(page_of(bern))  # asks the queue for the sizes of past days, once
    few = queries_of(staff, page_of(bern))
    now = clock.now()
    for number in range(60):
        customer = make_customer(f"C{number}")
        Membership.objects.create(customer=customer, segment=bern, entered_at=now, cause="event")
        MembershipChange.objects.create(
            customer=customer, segment=bern, entered=True, at=now, cause="event", entry_no=1
        )
    assert queries_of(staff, page_of(bern)) == few


def test_chart_counts_news_by_day_without_the_fill(staff, bern, make_customer):
    now = clock.now()
    for days, entered in ((0, True), (1, True), (1, False), (40, True)):
        MembershipChange.objects.create(
            customer=make_customer(),
            segment=bern,
            entered=entered,
            at=now - timedelta(days=days),
            cause="event",
            entry_no=1,
        )
    context = staff.get(page_of(bern)).context
    assert [tuple(day[1:]) for day in context["days"][:3]] == [(1, 0), (1, 1), (0, 0)]
    assert (context["entered"], context["left"], len(context["days"])) == (2, 1, 30)


def test_member_list_goes_on_where_it_stopped(staff, bern, make_customer):
    now = clock.now()
    for number in range(58):
        Membership.objects.create(
            customer=make_customer(f"C{number}"), segment=bern, entered_at=now, cause="event"
        )
    after, seen = "", []
    while page := staff.get(page_of(bern, "members/"), {"after": after}).context["page"]:
        seen += [row.customer_id for row in page.rows]
        if not (after := page.after):
            break
    assert len(seen) == len(set(seen)) == 60
    assert ">C57</a>" in staff.get(page_of(bern, "members/")).content.decode()


@pytest.mark.parametrize("after", ["x", "2026-01-01", "2026-01-01T00:00:00Z~", "~5", "\0~1"])
def test_member_list_begins_anew_when_asked_for_nonsense(staff, bern, after):
    assert len(staff.get(page_of(bern, "members/"), {"after": after}).context["page"].rows) == 2


def test_filling_shows_its_bar_until_it_is_done(staff, make_segment, make_customer):
    make_customer("ann")
    segment = make_segment(BOUGHT, fill=False)
    answer = staff.get(page_of(segment, "filling/"))
    assert "Finding the members" in answer.content.decode()
    assert "HX-Refresh" not in answer
    Segment.objects.update(state="live")
    assert staff.get(page_of(segment, "filling/"))["HX-Refresh"] == "true"


# Explaining


def test_explanation_shows_each_value_beside_its_condition(staff, bern, make_segment):
    segment = make_segment({"all": [IN_BERN, {"not": {"segment": "bern"}}]})
    ann = Membership.objects.filter(segment=bern).first().customer_id
    answer = staff.get(page_of(segment, f"explain/{ann}/"), headers={"HX-Request": "true"})
    assert [(one.value, one.holds) for one in answer.context["reasons"]] == [
        ("Bern", True),
        ("Yes", False),  # she is in the segment, and the rule wants her not to be
    ]
    assert "<html" not in answer.content.decode()
    assert "Not in" in answer.content.decode()


def test_explanation_opened_by_itself_is_a_page(staff, bern, make_customer):
    answer = staff.get(page_of(bern, f"explain/{make_customer().pk}/"))
    assert "<html" in answer.content.decode()


def test_explanation_of_nobody_is_not_found(staff, bern):
    assert staff.get(page_of(bern, "explain/999999/")).status_code == 404


# Preview


def test_preview_counts_the_rule_and_each_condition(staff, bern):
    rule = {"all": [IN_BERN, {"not": {"field": "city", "op": "missing"}}]}
    status, found = post(staff, PREVIEW, rule=rule, audience="everyone")
    assert (status, found["count"], found["total"]) == (200, 2, 3)
    assert found["conditions"] == {"all.0": 2, "all.1.not": 0}
    assert {person["name"] for person in found["sample"]} == {"Ann", "Bob"}


def test_preview_points_to_what_is_wrong(staff, bern):
    rule = {"all": [IN_BERN, {"field": "city", "op": "at_least", "value": 3}]}
    status, fault = post(staff, PREVIEW, rule=rule)
    assert (status, fault["path"]) == (400, "all.1.op")
    assert "at_least" in fault["message"]


def test_preview_says_in_words_what_stands_at_a_path(staff, bern):
    rule = {"any": [IN_BERN, {"sequence": [{"event": "A"}, {"event": "B"}]}]}
    _, found = post(staff, PREVIEW, rule=rule, quote=["any.1"])
    assert found["quoted"] == {"any.1": "they did “A”, then “B”"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"rule": ' + b"[" * 5_000, b'{"rule": {}, "quote": ["x.y"]}']
)
def test_preview_refuses_what_is_no_question(staff, body):
    answer = staff.post(PREVIEW, body, content_type="application/json")
    assert answer.status_code == 400


def test_preview_keeps_every_digit_of_a_number(staff, make_field, make_customer):
    make_field("points", kind="number")
    _, fault = post(staff, PREVIEW, rule=IN_BERN | {"field": "points", "value": "1"})
    assert fault["message"] == "This must be a number."
    body = '{"rule": {"field": "points", "op": "is", "value": 0.1000000000000000000000000001}}'
    answer = staff.post(PREVIEW, body, content_type="application/json").json()
    assert "0.1000000000000000000000000001" in answer["sentence"]


def test_preview_that_takes_long_says_so_and_still_says_the_rule(staff, bern, monkeypatch):
    monkeypatch.setattr(builder, "SECONDS", 0.001)
    slow = IN_BERN | {"op": "contains", "value": "berg"}
    Customer.objects.bulk_create([Customer(fields={"city": "Berg und Tal" * 50})] * 3_000)
    status, found = post(staff, PREVIEW, rule=slow)
    assert (status, found["slow"]) == (200, True)
    assert "city" in found["sentence"]
    assert post(staff, PREVIEW, rule=slow, exact=True)[1]["count"] == 3_000


def test_suggestions_are_real_values_but_no_personal_ones(staff, bern, make_field, make_event):
    make_field("firstName", is_personal=True)
    make_event("Order Completed", properties={"category": "shoes", "size": 42, "mail": "a@b.ch"})
    assert staff.get(f"{LIST}suggest/?field=city").json() == {"values": ["Bern", "Basel"]}
    assert staff.get(f"{LIST}suggest/?field=firstName").json() == {"values": []}
    found = staff.get(f"{LIST}suggest/?event=Order+Completed").json()["properties"]
    assert {one["name"]: (one["type"], one["values"]) for one in found} == {
        "category": ("string", ["shoes"]),
        "size": ("number", []),
        "mail": ("string", []),
    }


# Saving


def test_new_segment_is_stored_and_begins_to_fill(staff, make_customer):
    make_customer("ann")
    status, answer = post(
        staff, f"{LIST}add/", name="Big", key="Big", audience="identified", rule=SPENT_200
    )
    segment = Segment.objects.get(key="big")
    assert (status, answer["next"]) == (200, page_of(segment))
    assert (segment.rule, segment.audience, segment.state) == (SPENT_200, "identified", "filling")


@pytest.mark.parametrize(
    ("body", "faulty"),
    [
        ({"name": "", "key": "a"}, "name"),
        ({"name": "A", "key": "not a key"}, "key"),
        ({"name": "A", "key": "taken"}, "key"),
        ({"name": "A", "key": "preview"}, "key"),
    ],
)
def test_segment_with_a_wrong_name_is_not_stored(staff, make_segment, body, faulty):
    make_segment(BOUGHT, key="taken")
    status, answer = post(staff, f"{LIST}add/", rule=BOUGHT, **body)
    assert (status, [*answer["fields"]]) == (400, [faulty])
    assert Segment.objects.count() == 1


def test_segment_with_a_wrong_rule_is_not_stored(staff):
    status, answer = post(staff, f"{LIST}add/", name="A", key="a", rule={"all": []})
    assert (status, answer["path"]) == (400, "all")
    assert not Segment.objects.exists()


def test_edited_segment_keeps_its_key(staff, bern):
    body = {"name": "Bern!", "key": "changed", "rule": BOUGHT, "version": bern.version}
    status, _ = post(staff, page_of(bern, "change/"), **body)
    bern.refresh_from_db()
    assert (status, bern.key, bern.name, bern.rule) == (200, "bern", "Bern!", BOUGHT)


def test_edit_of_what_others_have_changed_meanwhile_is_refused(staff, bern):
    body = {"name": "Bern!", "rule": BOUGHT, "version": bern.version - 1}
    status, answer = post(staff, page_of(bern, "change/"), **body)
    assert status == 409
    assert "meanwhile" in answer["fields"]["name"]
    bern.refresh_from_db()
    assert bern.name == "In Bern"


def test_renaming_leaves_a_fill_as_far_as_it_is(staff, make_segment, make_customer):
    make_customer("ann")
    segment = make_segment(BOUGHT, fill=False)
    Segment.objects.update(fill_after=1)
    segment.name = "Other"
    definitions.save(segment)
    segment.refresh_from_db()
    assert (segment.name, segment.fill_after) == ("Other", 1)


def test_review_says_who_would_enter_and_leave(staff, bern):
    in_basel = IN_BERN | {"value": "Basel"}
    answer = post(staff, page_of(bern, "review/"), rule=in_basel, audience="everyone")
    assert answer == (200, {"entering": 1, "leaving": 2})
    both = {"any": [IN_BERN, in_basel]}
    assert post(staff, page_of(bern, "review/"), rule=both)[1] == {"entering": 1, "leaving": 0}
    bought = {"not": {"sequence": [{"event": "Product Added"}, {"event": "Order Completed"}]}}
    assert post(staff, page_of(bern, "review/"), rule=bought)[1] == {"entering": 1, "leaving": 0}


def test_builder_holds_the_rule_exactly_and_safely(staff, make_field, make_segment):
    make_field("points", kind="number")
    rule = {"any": [{"event": "</script><b>", "op": "at_most", "value": 3}, IN_BERN]}
    rule["any"][1] = {"field": "points", "op": "is", "value": 12345678901234567890123}
    text = staff.get(page_of(make_segment(rule), "change/")).content.decode()
    assert "12345678901234567890123" in text
    assert "</script><b>" not in text


def test_starters_that_cannot_be_used_say_what_they_wait_for(staff, make_event):
    def missing():
        setup = staff.get(f"{LIST}add/").context["setup"]
        inside = setup[setup.index(">") + 1 : setup.rindex("<")]
        return {one["key"]: one["missing"] for one in json.loads(inside)["starters"]}

    assert all("not arrived" in text or "Boolean" in text for text in missing().values())
    make_event("Order Completed")
    assert missing()["big-spenders"] == ""


# By hand


def test_segment_by_hand_is_made_by_a_form(staff):
    staff.post(f"{LIST}add/?kind=static", {"name": "Guests", "key": "guests"})
    assert Segment.objects.get().kind == "static"


def test_pasted_lines_each_get_a_verdict(staff, by_hand, make_customer):
    ann, _ = make_customer("ann"), make_customer("bob")
    definitions.add_members(by_hand, [ann.pk])
    lines = "ann\n  bob \nnobody\n\nbob"
    answer = staff.post(page_of(by_hand, "members/add/"), {"customer_ids": lines})
    assert {(one.line, one.text) for one in answer.context["verdicts"]} == {
        ("ann", "Was in already"),
        ("bob", "Added"),
        ("nobody", "No customer has this CustomerId"),
        ("bob", "Stands here twice"),
    }
    assert answer.context["text"] == "nobody"
    assert Membership.objects.filter(segment=by_hand).count() == 2


def test_nothing_pasted_is_said(staff, by_hand):
    answer = staff.post(page_of(by_hand, "members/add/"), {"customer_ids": " \n "})
    assert "Paste at least one" in answer.content.decode()


def test_member_by_hand_is_taken_out(staff, by_hand, make_customer):
    ann = make_customer("ann")
    definitions.add_members(by_hand, [ann.pk])
    staff.post(page_of(by_hand, "members/remove/"), {"customer_id": ann.pk})
    assert not Membership.objects.exists()


def test_members_by_rule_cannot_be_changed_by_hand(staff, bern):
    assert staff.get(page_of(bern, "members/add/")).status_code == 404
    assert staff.post(page_of(bern, "members/remove/")).status_code == 404


# Deleting


def test_segment_in_use_is_not_deleted_and_the_users_are_named(staff, bern, make_segment):
    make_segment({"segment": "bern"}, name="Swiss capital")
    answer = staff.post(page_of(bern, "delete/"))
    assert "Swiss capital" in answer.content.decode()
    assert Segment.objects.filter(pk=bern.pk).exists()


def test_segment_is_deleted_with_its_members(staff, bern):
    staff.post(page_of(bern, "delete/"))
    assert not Segment.objects.exists()
    assert not Membership.objects.exists()


# Who may


def test_viewer_looks_and_changes_nothing(member, bern, by_hand):
    viewer = member("Viewer")
    page = viewer.get(page_of(bern)).content.decode()
    assert reverse("admin:segments_segment_change", args=[bern.pk]) not in page
    assert reverse("admin:segments_segment_delete", args=[bern.pk]) not in page
    assert viewer.get(f"{LIST}add/").status_code == 403
    assert viewer.get(page_of(bern, "change/")).status_code == 302
    assert viewer.get(page_of(bern, "delete/")).status_code == 403
    assert viewer.post(page_of(bern, "delete/")).status_code == 403
    assert viewer.post(page_of(by_hand, "members/add/")).status_code == 403
    assert viewer.post(page_of(bern, "review/"), b"{}", "application/json").status_code == 403
    assert viewer.post(page_of(bern, "change/"), b"{}", "application/json").status_code == 302
    assert Segment.objects.get(pk=bern.pk).name == "In Bern"


def test_who_may_not_see_customers_gets_numbers_without_names(client, bern, django_user_model):
    user = django_user_model.objects.create_user("cora", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_segment"))
    client.force_login(user)
    page = client.get(page_of(bern)).content.decode()
    assert "Customer " in page
    assert ">Ann<" not in page
    status, found = post(client, PREVIEW, rule=IN_BERN)
    assert (status, found["count"], found["sample"]) == (200, 2, [])
    ann = Membership.objects.filter(segment=bern).first().customer_id
    assert client.get(page_of(bern, f"explain/{ann}/")).status_code == 403


def test_nobody_without_a_role_gets_anywhere(client, bern, django_user_model):
    client.force_login(django_user_model.objects.create_user("nobody", is_staff=True))
    for rest in ("", "members/", "filling/", "change/", "delete/", "explain/1/"):
        assert client.get(page_of(bern, rest)).status_code == 403, rest
    assert post_status(client, PREVIEW) == 403
    assert client.get(f"{LIST}suggest/?field=city").status_code == 403


def post_status(client, address):
    return client.post(address, b"{}", content_type="application/json").status_code


@pytest.mark.parametrize("rest", ["members/", "filling/", "explain/1/", "change/", "delete/", ""])
def test_segment_that_is_not_there_is_not_found(staff, rest):
    assert staff.get(f"{LIST}4711/{rest}").status_code == 404

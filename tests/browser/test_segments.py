"""Building segments by clicking, as a marketer does."""

import json
import random
import re
from decimal import Decimal

import pytest
from django.conf import settings
from playwright.sync_api import expect

from customers import clock, exact
from customers.models import ConsentPurpose
from segments import filling
from segments.models import Segment

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PAGE = re.compile(r"/segments/segment/\d+/$")
RULES = settings.BASE_DIR / "static" / "cdp" / "rules.js"
IN_BERN = {"field": "city", "op": "is", "value": "Bern"}
BOUGHT = {"event": "Order Completed", "within": {"last": 30, "unit": "days"}}


@pytest.fixture
def shop(make_field, make_customer, make_event):
    """Two customers, one of whom has bought for 250 francs."""
    make_field("city", label="City")
    make_field("points", kind="number", label="Points")
    ann = make_customer("CH-1", fields={"city": "Bern", "points": 5, "firstName": "Ann"})
    make_customer("CH-2", fields={"city": "Basel", "firstName": "Bob"})
    properties = {"category": "shoes", "quantity": 2}
    make_event(customer=ann, amount=250, at=clock.now(), properties=properties)
    make_event("Product Added", customer=ann, at=clock.now())
    ConsentPurpose.objects.create(key="newsletter", label="Newsletter")


@pytest.fixture
def builder(admin, shop):
    """The builder with an empty rule of one's own."""
    admin.open("segments/segment/add/")
    admin.page.get_by_role("button", name="Your own rule").click()
    return admin.page


def count_is(page, number):
    """Wait until the preview says so."""
    page.wait_for_function(
        "n => document.querySelector('[data-testid=count]').textContent === n", arg=str(number)
    )


def rule_of(page):
    """The rule as it would be saved."""
    page.locator(".builder-json summary").click()
    page.get_by_role("button", name="Show the present rule").click()
    text = page.locator("#rule-json").input_value()
    page.locator(".builder-json summary").click()
    return exact.loads(text)


def save(page, name=None):
    if name:
        page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Save segment").first.click()


# Building


def test_target_sentence_is_built_by_clicking(builder, faults):
    page = builder
    page.get_by_role("button", name="Something they did").click()
    expect(page.get_by_label("Event", exact=True)).to_be_focused()
    page.keyboard.type("Order Completed")
    page.get_by_label("How often, or how much").select_option(label="with a total")
    page.get_by_label("Value").fill("200")
    page.get_by_label("How long").fill("90")
    count_is(page, 1)
    sentence = "whose total amount of “Order Completed” in the last 90 days is at least CHF 200"
    assert sentence in page.locator(".builder-sentence").inner_text()
    assert "Ann" in page.locator(".builder-people").inner_text()
    save(page, "Big spenders")
    page.wait_for_url(PAGE)
    segment = Segment.objects.get(key="big-spenders")
    assert segment.rule == {
        "event": "Order Completed",
        "measure": "sum",
        "property": "amount",
        "op": "at_least",
        "value": 200,
        "within": {"last": 90, "unit": "days"},
    }
    while filling.fill_next():
        pass
    page.get_by_role("link", name="Ann").first.wait_for()  # the page notices by itself
    assert faults == []


def test_groups_fields_segments_and_opposites_are_clicked_together(builder, make_segment):
    page = builder
    page.get_by_role("button", name="A customer field").click()
    page.get_by_label("Value").fill("Bern")
    page.get_by_role("button", name="CustomerId known").click()
    page.get_by_role("button", name="A group").click()
    group = page.locator(".builder-nested")
    group.get_by_label("Event", exact=True).fill("Product Added")
    group.get_by_label("How often, or how much").select_option("never")
    group.get_by_role("button", name="A customer field").click()
    group.get_by_label("Field").select_option("points")
    group.get_by_label("Value").fill("1'000")
    group.get_by_label("Turn this condition into its opposite").last.click()
    count_is(page, 1)
    assert rule_of(page) == {
        "all": [
            IN_BERN,
            {"field": "@identified", "op": "is", "value": True},
            {
                "any": [
                    {
                        "event": "Product Added",
                        "op": "at_most",
                        "value": 0,
                        "within": {"last": 30, "unit": "days"},
                    },
                    {"not": {"field": "points", "op": "at_least", "value": 1000}},
                ]
            },
        ]
    }


def test_abandoned_cart_of_those_who_agree_is_built_by_clicking(builder, faults):
    page = builder
    page.get_by_role("button", name="Things in order").click()
    expect(page.get_by_label("Event", exact=True).first).to_be_focused()
    page.keyboard.type("Product Added")
    page.get_by_label("Event", exact=True).last.fill("Order Completed")
    page.get_by_label("How soon after the step before").last.select_option("soon")
    page.get_by_label("At most", exact=True).fill("3")
    page.get_by_role("button", name="Only some of these events").last.click()
    filters = page.get_by_label("Property of the filter")
    filters.focus()
    page.locator(".builder-step option[value=quantity]").wait_for(state="attached")
    filters.fill("quantity")
    page.get_by_label("Value").fill("0")
    page.get_by_label("Turn this condition into its opposite").click()
    page.get_by_role("button", name="Consent").click()
    page.get_by_label("What they said").select_option("silent")
    count_is(page, 2)
    bought = {"event": "Order Completed", "after": {"at_most": 3, "unit": "days"}}
    some = {"where": [{"property": "quantity", "op": "at_least", "value": 0}]}
    steps = [{"event": "Product Added"}, bought | some]
    assert rule_of(page) == {
        "all": [
            {"not": {"sequence": steps, "within": {"last": 30, "unit": "days"}}},
            {"field": "@consent.newsletter", "op": "missing"},
        ]
    }
    assert faults == []


def test_filter_knows_the_properties_and_their_types(builder):
    page = builder
    page.get_by_role("button", name="Something they did").click()
    page.get_by_label("Event", exact=True).fill("Order Completed")
    page.get_by_role("button", name="Only some of these events").click()
    page.locator(".builder-filter datalist option[value=quantity]").wait_for(state="attached")
    page.get_by_label("Property of the filter").fill("quantity")
    page.get_by_label("Value").fill("2")
    count_is(page, 1)
    assert rule_of(page)["where"] == [{"property": "quantity", "op": "at_least", "value": 2}]


def test_preview_waits_until_one_has_finished_typing(builder):
    page, asked = builder, []
    page.on("request", lambda request: "preview" in request.url and asked.append(request.url))
    page.get_by_role("button", name="A customer field").click()
    page.get_by_label("Value").press_sequentially("Bern", delay=20)
    count_is(page, 1)
    assert len(asked) == 1


def test_fault_stands_at_the_condition_that_has_it(builder):
    page = builder
    page.get_by_role("button", name="A customer field").click()
    page.get_by_label("Value").fill("Bern")
    page.get_by_role("button", name="A customer field").click()
    page.get_by_label("Field").last.select_option("points")
    page.get_by_label("Value").last.fill("many")
    fault = page.locator(".builder-condition[data-faulty=true]")
    fault.wait_for()
    assert "This must be a number." in fault.inner_text()
    assert page.get_by_label("Value").last.get_attribute("aria-invalid") == "true"
    assert page.get_by_label("Value").first.get_attribute("aria-invalid") is None
    page.get_by_label("Value").last.fill("5")
    count_is(page, 1)
    assert fault.count() == 0


def test_starter_fills_in_name_and_rule(admin, shop):
    admin.open("segments/segment/add/")
    page = admin.page
    page.get_by_role("button", name="Big spenders (90 days)").click()
    count_is(page, 1)
    assert page.get_by_label("Name", exact=True).input_value() == "Big spenders (90 days)"
    starter = page.get_by_role("button", name="Newsletter without purchase")
    admin.open("segments/segment/add/")
    assert starter.is_disabled()
    assert "Boolean" in starter.inner_text()


def test_name_that_is_taken_is_said_beside_the_key(builder, make_segment):
    make_segment(BOUGHT, key="vip")
    page = builder
    page.get_by_role("button", name="CustomerId known").click()
    save(page, "VIP")
    page.get_by_text("Segment with this Key already exists.").wait_for()
    page.get_by_label("Key").fill("vip-2")
    save(page)
    page.wait_for_url(PAGE)
    assert Segment.objects.filter(key="vip-2").exists()


# Editing


def test_edit_says_who_enters_and_leaves_before_it_is_saved(admin, shop, make_segment):
    segment = make_segment(IN_BERN, key="bern")
    admin.open(f"segments/segment/{segment.pk}/change/")
    page = admin.page
    page.get_by_label("Value").fill("Basel")
    count_is(page, 1)
    save(page)
    page.locator("[data-testid=entering]:text('1')").wait_for()
    assert page.locator("[data-testid=leaving]").inner_text() == "1"
    assert "silent" in page.locator("dialog").inner_text()
    page.locator("dialog").get_by_role("button", name="Save segment").click()
    page.wait_for_url(f"**/segments/segment/{segment.pk}/")
    segment.refresh_from_db()
    assert segment.rule["value"] == "Basel"


def test_renaming_asks_nothing(admin, shop, make_segment):
    segment = make_segment(IN_BERN, key="bern")
    admin.open(f"segments/segment/{segment.pk}/change/")
    save(admin.page, "In the capital")
    admin.page.wait_for_url(f"**/segments/segment/{segment.pk}/")
    segment.refresh_from_db()
    assert (segment.name, segment.rule) == ("In the capital", IN_BERN)


def test_rule_without_controls_is_shown_in_words_and_kept(admin, shop, make_segment):
    twice_not = {"not": {"not": {"event": "Product Added"}}}
    number = Decimal("0.1000000000000000000000000001")
    rule = {"all": [twice_not, {"field": "points", "op": "more_than", "value": number}]}
    segment = make_segment(rule, key="exotic")
    admin.open(f"segments/segment/{segment.pk}/change/")
    page = admin.page
    card = page.locator(".builder-condition[data-kind=raw]")
    card.get_by_text("“Product Added”").wait_for()
    page.get_by_role("button", name="CustomerId known").click()
    count_is(page, 1)
    save(page)
    page.locator("dialog").get_by_role("button", name="Save segment").click()
    page.wait_for_url(f"**/segments/segment/{segment.pk}/")
    segment.refresh_from_db()
    identified = {"field": "@identified", "op": "is", "value": True}
    assert segment.rule == {"all": [*rule["all"], identified]}


def test_json_of_an_expert_becomes_controls(builder):
    page = builder
    page.locator(".builder-json summary").click()
    page.locator("#rule-json").fill('{"any": [{"field": "city", "op": "one_of", "value": ["Bern"]}')
    page.get_by_role("button", name="Use this rule").click()
    page.get_by_text("This is not JSON").wait_for()
    page.locator("#rule-json").press("End")
    page.locator("#rule-json").fill(
        json.dumps({"any": [IN_BERN | {"op": "one_of", "value": ["Bern"]}]})
    )
    page.get_by_role("button", name="Use this rule").click()
    page.get_by_label("Add a value").fill("Basel")
    page.get_by_label("Add a value").press("Enter")
    count_is(page, 2)


def test_why_somebody_is_in_it_is_one_click_away(admin, shop, make_segment):
    segment = make_segment(IN_BERN, key="bern")
    admin.open(f"segments/segment/{segment.pk}/")
    admin.page.get_by_role("button", name="Why is Ann in it?").click()
    admin.page.locator("dialog").get_by_text("Their “city” is “Bern”").wait_for()


def test_builder_can_be_used_with_the_keyboard_alone(builder):
    page = builder
    page.locator("#add-event").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Event", exact=True)).to_be_focused()
    page.keyboard.type("Order Completed")
    count_is(page, 1)
    page.get_by_label("Name", exact=True).focus()
    page.keyboard.type("Buyers")
    page.get_by_role("button", name="Save segment").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(PAGE)


def test_builder_fits_a_phone(admin, shop, make_segment):
    rule = {"all": [IN_BERN, {"any": [BOUGHT, {"any": [IN_BERN, BOUGHT]}]}]}
    segment = make_segment(rule, key="deep")
    admin.page.set_viewport_size({"width": 390, "height": 844})
    for path in ("", "change/"):
        admin.open(f"segments/segment/{segment.pk}/{path}")
        admin.page.wait_for_timeout(300)
        assert admin.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


# Reading and writing


@pytest.fixture
def rewrite(page):
    """Read a rule into nodes and write it back, as text."""
    page.add_script_tag(path=RULES)

    def run(text):
        return page.evaluate(
            """text => {
                const nodes = CdpRules.read(CdpRules.parse(text));
                return CdpRules.stringify(CdpRules.write(nodes).rule);
            }""",
            text,
        )

    return run


EXOTIC = [
    {"event": "A", "op": "at_least", "value": 1},
    {"event": "A", "measure": "count"},
    {"event": ["A"], "where": []},
    {"event": "A", "measure": "count", "op": "is", "value": Decimal("2.50")},
    {"event": "A", "within": {"last": 9, "unit": "days", "except_last": 2}},
    {"event": "A", "within": {"from": None, "to": "2026-01-01"}},
    {"event": "A", "within": {"from": "2026-01-31T18:00:00Z"}},
    {"event": "A", "within": None},
    {"event": "A", "where": [{"property": "x", "op": "is", "value": "5"}]},
    {"event": "A", "where": [{"property": "x", "op": "is", "value": 5}]},
    {"event": "A", "where": [{"property": "x", "op": "one_of", "value": ["a", 5, True]}]},
    {"event": "A", "measure": "last", "property": "x", "op": "between", "value": [1, 2]},
    {"event": "A", "measure": "first", "property": "@time", "op": "exists"},
    {"field": "@identified", "op": "exists"},
    {"field": "@consent.mail", "op": "is", "value": False},
    {"field": "x", "op": "is", "value": Decimal("12345678901234567890.5")},
    {"field": "x", "op": "is", "value": ' "quoted", {"@number":"5"} and 1e5 '},
    {"field": "x", "op": "in_next", "value": {"next": 7, "unit": "weeks"}},
    {"field": "x", "op": "is", "value": None},
    {"not": {"not": {"segment": "a"}}},
    {"not": {"all": [{"segment": "a"}]}},
    {"all": [{"all": [{"all": [{"all": [{"all": [{"segment": "a"}]}]}]}]}]},
    {"all": [{"not": {"any": [{"not": {"segment": "a"}}]}}]},
    {"sequence": [{"event": "A"}, {"event": "B", "after": {"at_most": 2, "unit": "hours"}}]},
    {"unknown": 1},
    {"all": []},
]


@pytest.mark.parametrize("rule", EXOTIC, ids=exact.dumps)
def test_rule_is_written_as_it_was_read(rewrite, rule):
    for whole in (rule, {"all": [rule]}, {"not": rule}, {"any": [rule, {"segment": "b"}]}):
        assert exact.loads(rewrite(exact.dumps(whole))) == exact.loads(exact.dumps(whole))


def test_hundreds_of_random_rules_are_written_as_they_were_read(rewrite):
    dice = random.Random(4)
    for _ in range(300):
        rule = a_rule(dice, 0)
        assert exact.loads(rewrite(exact.dumps(rule))) == exact.loads(exact.dumps(rule))


def a_rule(dice, depth):
    kinds = ["event", "field", "segment", "sequence"] + ["all", "any", "not"] * (depth < 5)
    match dice.choice(kinds):
        case "all" | "any" as kind:
            return {kind: [a_rule(dice, depth + 1) for _ in range(dice.randint(1, 3))]}
        case "not":
            return {"not": a_rule(dice, depth + 1)}
        case "segment":
            return {"segment": dice.choice(["a", "b"])}
        case "field":
            return {"field": dice.choice(["city", "@last_seen", "@identified"]), **a_test(dice)}
        case "sequence":
            gap = {"after": {"at_most": dice.randint(1, 9), "unit": "hours"}}
            then = {
                "event": ["B", "C"],
                **dice.choice([{}, gap]),
                **dice.choice([{}, {"where": []}]),
            }
            steps = [{"event": "A", "where": [{"channel": "online"}]}, then][: dice.randint(1, 2)]
            return {"sequence": steps, **dice.choice([{}, a_window(dice)])}
    return an_event(dice)


def an_event(dice):
    rule = {"event": dice.choice(["A", ["A", "B"], ["A"], "Email *"])}
    if dice.random() < 0.5:
        rule |= {"measure": dice.choice(["count", "sum", "first", "distinct"])}
    if rule.get("measure", "count") != "count":
        rule |= {"property": dice.choice(["amount", "@time", "products.0.sku"])}
    if dice.random() < 0.8:
        rule |= a_test(dice)
    if dice.random() < 0.5:
        filters = [{"property": "x", **a_test(dice)}, {"channel": "online"}, {"source": "till"}]
        rule |= {"where": dice.sample(filters, dice.randint(0, 3))}
    return rule | dice.choice([{}, a_window(dice)])


def a_window(dice):
    sliding = {"last": dice.randint(1, 99), "unit": dice.choice(["days", "hours", "weeks"])}
    fixed = {"from": "2026-01-01", "to": "2026-02-01T00:00:00+01:00"}
    windows = [sliding, sliding | {"except_last": 1}, fixed, {"calendar": "this_week"}]
    return {"within": dice.choice(windows)}


def a_test(dice):
    values = ["Bern", "", 5, 0, -3, Decimal("2.5"), True, [1, 2], ["a"], None, "2026-01-01"]
    values += [{"last": 3, "unit": "days"}, {"next": 3, "unit": "weeks"}, 10**25]
    ops = ["is", "is_not", "one_of", "contains", "at_least", "at_most", "between", "before"]
    op = dice.choice([*ops, "in_last", "not_in_last", "in_next", "exists", "missing"])
    return {"op": op, "value": dice.choice(values)} if dice.random() < 0.9 else {"op": op}

import pytest

from segments import parsing, sentences
from segments.evaluation import zone
from segments.parsing import Known
from segments.rules import Member

TYPES = {"city": "string", "points": "number", "birthDate": "datetime", "newsletter": "boolean"}
DAYS_7 = {"last": 7, "unit": "days"}
BOUGHT = {"event": "Order Completed", "within": DAYS_7}
ADDED = {"event": "Product Added"}
IN_ZURICH = {"field": "city", "op": "is", "value": "Zürich"}
OLDER = {"last": 9, "unit": "days", "except_last": 2}
SPENT = {"event": "Order Completed", "measure": "sum", "property": "amount"}


def a_segment(key, path):
    return Member(1, key, path)


def said(rule, audience="identified"):
    known = Known(TYPES, frozenset(["till"]), a_segment, zone())
    return sentences.sentence(parsing.parse(rule, known), audience).removeprefix("Customers ")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (BOUGHT, "who did “Order Completed” in the last 7 days"),
        ({"event": "A", "within": {"last": 1, "unit": "days"}}, "who did “A” in the last day"),
        ({"event": ["A", "B"]}, "who did “A” or “B”"),
        (
            BOUGHT | {"op": "at_most", "value": 0},
            "who did not do “Order Completed” in the last 7 days",
        ),
        (ADDED | {"op": "at_least", "value": 3}, "who did “Product Added” at least 3 times"),
        (ADDED | {"op": "at_least", "value": 1.5}, "who did “Product Added” at least 1.5 times"),
        (ADDED | {"within": OLDER}, "who did “Product Added” between 9 days and 2 days ago"),
        (ADDED | {"within": {"calendar": "this_month"}}, "who did “Product Added” this month"),
        (
            SPENT | {"within": DAYS_7, "op": "at_least", "value": 1200},
            "whose total amount of “Order Completed” in the last 7 days is at least CHF 1'200",
        ),
        (
            SPENT
            | {"where": [{"property": "currency", "op": "is", "value": "eur"}]}
            | {"op": "between", "value": [1, 2]},
            "whose total amount of “Order Completed” is between EUR 1 and EUR 2",
        ),
        (
            SPENT | {"measure": "distinct", "property": "sku", "op": "more_than", "value": 2},
            "whose number of different “sku” of “Order Completed” is more than 2",
        ),
        (
            SPENT | {"measure": "first", "property": "@time", "op": "in_last", "value": DAYS_7},
            "whose first “Order Completed” was in the last 7 days",
        ),
        (
            BOUGHT | {"where": [{"channel": "offline"}, {"property": "sku", "op": "exists"}]},
            "who did “Order Completed” where the channel is offline and sku is set"
            " in the last 7 days",
        ),
        (IN_ZURICH, "whose “city” is “Zürich”"),
        ({"field": "city", "op": "missing"}, "whose “city” is not known"),
        ({"field": "points", "op": "at_least", "value": 5000}, "whose “points” is at least 5'000"),
        ({"field": "newsletter", "op": "is", "value": True}, "whose “newsletter” is yes"),
        ({"field": "@identified", "op": "is", "value": False}, "who have no CustomerId"),
        (
            {"field": "@first_seen", "op": "in_last", "value": DAYS_7},
            "whose first visit is in the last 7 days",
        ),
        (
            {"sequence": [ADDED, BOUGHT | {"after": {"at_most": 2, "unit": "hours"}}]},
            "who did “Product Added”, then “Order Completed” at most 2 hours later",
        ),
        ({"not": {"segment": "vip"}}, "who are not in the segment “vip”"),
        ({"not": IN_ZURICH}, "who are not among those whose “city” is “Zürich”"),
        ({"not": ADDED}, "who did not do “Product Added”"),
        (
            {"all": [{"any": [IN_ZURICH, ADDED]}, {"segment": "vip"}, {"not": IN_ZURICH}]},
            "(whose “city” is “Zürich” or who did “Product Added”) and who are in the segment"
            " “vip”, except those whose “city” is “Zürich”",
        ),
    ],
)
def test_rule_reads_as_english(rule, words, settings):
    settings.CURRENCY = "CHF"
    if "sequence" in rule:
        rule["sequence"][1].pop("within", None)
    assert said(rule) == words


def test_condition_by_itself_is_a_statement():
    known = Known(TYPES, frozenset(), a_segment, zone())

    def clause(rule):
        return sentences.clause(parsing.parse(rule, known))

    assert clause(IN_ZURICH) == "their “city” is “Zürich”"
    assert clause(ADDED) == "they did “Product Added”"
    assert clause({"not": IN_ZURICH}) == "they are not among those whose “city” is “Zürich”"
    assert clause({"any": [ADDED]}) == "they are among those who did “Product Added”"

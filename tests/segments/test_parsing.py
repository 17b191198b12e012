from datetime import UTC
from decimal import Decimal

import pytest

from segments import parsing, rules


def segment(key, path):
    if key == "vips":
        return rules.Member(7, key)
    raise parsing.RuleError(path, f"There is no segment {key!r}.")


KNOWN = parsing.Known(
    types={"plan": "string", "points": "number", "renewal": "datetime", "vip": "boolean"},
    sources=frozenset({"shop"}),
    segment=segment,
    zone=UTC,
)
ORDER = {"event": "Order Completed"}
GAP, NEXT = {"at_most": 1, "unit": "days"}, {"next": 1, "unit": "days"}
DAYS = {"last": 3, "unit": "days"}


def parse(rule):
    return parsing.parse(rule, KNOWN)


def nested(levels):
    rule = ORDER
    for _ in range(levels):
        rule = {"not": rule}
    return rule


@pytest.mark.parametrize(
    ("rule", "path", "hint"),
    [
        ([], "", "JSON object"),
        ({}, "", "exactly one of"),
        ({"all": []}, "all", "at least one"),
        ({"all": [ORDER], "any": [ORDER]}, "", "exactly one of"),
        ({"all": [ORDER, {"not": {"any": []}}]}, "all.1.not.any", "at least one"),
        ({"field": "plam", "op": "exists"}, "field", "'plan'"),
        ({"field": "@nothing", "op": "exists"}, "field", "no customer field"),
        ({"field": "plan", "op": "at_least", "value": 1}, "op", "starts_with"),
        ({"field": "plan", "op": "is", "value": 3}, "value", "text"),
        ({"field": "plan", "op": "is"}, "", '"value"'),
        ({"field": "plan", "op": "exists", "value": 1}, "value", "no value"),
        ({"field": "plan", "op": "one_of", "value": []}, "value", "list"),
        ({"field": "plan", "op": "is", "value": "a\0"}, "value", "cannot be stored"),
        ({"field": "points", "op": "is", "value": "3"}, "value", "number"),
        ({"field": "points", "op": "is", "value": True}, "value", "number"),
        ({"field": "points", "op": "between", "value": [3, 1]}, "value", "low end"),
        ({"field": "vip", "op": "is", "value": "yes"}, "value", "true or false"),
        ({"field": "renewal", "op": "before", "value": "soon"}, "value", "2026-01-31"),
        ({"field": "renewal", "op": "in_last", "value": NEXT}, "value.next", "last"),
        (ORDER | {"within": {"last": 0, "unit": "days"}}, "within.last", "1 or more"),
        (ORDER | {"within": {"last": 3, "unit": "months"}}, "within.unit", "minutes"),
        (ORDER | {"within": {"last": 600, "unit": "weeks"}}, "within.last", "10 years"),
        (ORDER | {"within": DAYS | {"except_last": 3}}, "within.except_last", "less"),
        (ORDER | {"within": {}}, "within", "calendar"),
        (ORDER | {"within": {"from": "2026-01-02", "to": "2026-01-02"}}, "within", "begin"),
        (ORDER | {"measure": "median"}, "measure", "average"),
        (ORDER | {"measure": "sum", "op": "is", "value": 1}, "", '"property"'),
        (ORDER | {"measure": "sum", "property": "amount"}, "", '"op"'),
        (ORDER | {"op": "contains", "value": "1"}, "op", "at_least"),
        (ORDER | {"where": [{"property": "a..b", "op": "exists"}]}, "where.0.property", "empty"),
        (ORDER | {"where": [{"channel": "fax"}]}, "where.0.channel", "offline"),
        (ORDER | {"where": [{"source": "shoop"}]}, "where.0.source", "'shop'"),
        (ORDER | {"were": []}, "were", "where"),
        ({"event": []}, "event", "at least one"),
        ({"segment": "nobody"}, "segment", "no segment"),
        ({"sequence": [ORDER | {"after": GAP}]}, "sequence.0.after", "first"),
        (nested(11), ".".join(["not"] * 10), "10 levels"),
        ({"all": [ORDER] * 101}, "", "100 conditions"),
        (ORDER | {"within": {"from": None}}, "within", "calendar"),
        (ORDER | {"within": {"from": None, "too": None}}, "within.too", "only from, to"),
        (ORDER | {"within": {"last": 3}}, "within", "minutes, hours"),
        (ORDER | {"within": {"last": 3, "unit": []}}, "within.unit", "minutes"),
        (ORDER | {"within": {"last": 3, "unit": None}}, "within.unit", "minutes"),
        (
            ORDER | {"within": {"last": Decimal("1e5000"), "unit": "days"}},
            "within.last",
            "10 years",
        ),
        (ORDER | {"within": {"last": 1.5, "unit": "days"}}, "within.last", "whole"),
        (ORDER | {"within": {"last": Decimal("1.5"), "unit": "days"}}, "within.last", "whole"),
        (ORDER | {"within": {"last": True, "unit": "days"}}, "within.last", "whole"),
        (ORDER | {"within": {"last": "3", "unit": "days"}}, "within.last", "whole"),
        (ORDER | {"within": DAYS | {"calendar": "today"}}, "within.calendar", "last"),
        (ORDER | {"within": {"from": "2000-01-01", "to": "2011-01-01"}}, "within", "10 years"),
        (ORDER | {"within": {"calendar": "this_quarter"}}, "within.calendar", "this_month"),
        (ORDER | {"within": "today"}, "within", "JSON object"),
        (ORDER | {"op": ["at_least"], "value": 1}, "op", "at_least"),
        (ORDER | {"op": "at_least"}, "", '"value"'),
        (ORDER | {"value": 3}, "", '"op"'),
        (ORDER | {"op": "at_least", "value": None}, "value", "number"),
        (ORDER | {"op": "between", "value": [1, 2, 3]}, "value", "[low, high]"),
        (ORDER | {"op": "one_of", "value": [1, "2"]}, "value.1", "number"),
        (ORDER | {"op": "at_least", "value": Decimal("1e999")}, "value", "out of range"),
        (ORDER | {"property": "amount"}, "property", "leave the property out"),
        (
            ORDER | {"measure": "max", "property": "@time", "op": "is", "value": 1},
            "property",
            "last",
        ),
        (
            ORDER | {"measure": "sum", "property": "@amount", "op": "is", "value": 1},
            "property",
            "@time",
        ),
        (ORDER | {"where": {}}, "where", "list"),
        (ORDER | {"where": [{"channel": "online", "source": "shop"}]}, "where.0.source", "channel"),
        (ORDER | {"where": [{}]}, "where.0", "property, channel, source"),
        (
            ORDER | {"where": [{"property": "a", "op": "in_last", "value": 3}]},
            "where.0.value",
            "last",
        ),
        (ORDER | {"where": [{"channel": "online"}] * 21}, "where", "20 filters"),
        ({"event": 3}, "event", "event name"),
        ({"event": ["A", ""]}, "event.1", "event name"),
        ({"sequence": []}, "sequence", "at least one"),
        ({"sequence": [ORDER] * 21}, "sequence", "20 steps"),
        ({"sequence": [ORDER, {"events": "B"}]}, "sequence.1.events", "event"),
        (
            {"sequence": [ORDER, ORDER | {"after": {"last": 1, "unit": "days"}}]},
            "sequence.1.after.last",
            "at_most",
        ),
        ({"sequence": [ORDER, ORDER | {"op": "is", "value": 1}]}, "sequence.1.op", "after"),
        ({"not": [ORDER]}, "not", "JSON object"),
        ({"all": ORDER}, "all", "list"),
        ({"all": [ORDER], "op": "is"}, "op", "only all"),
        (
            {
                "field": "renewal",
                "op": "anniversary_in_next",
                "value": {"next": 5, "unit": "hours"},
            },
            "value.unit",
            "days or weeks",
        ),
        (
            {"field": "renewal", "op": "between", "value": ["2026-02-01", "2026-01-01"]},
            "value",
            "low end",
        ),
        ({"field": "renewal", "op": "after", "value": 5}, "value", "2026-01-31"),
        ({"field": "renewal", "op": "after", "value": "2026-02-30"}, "value", "2026-01-31"),
        ({"field": "vip", "op": "is_not", "value": True}, "op", "exists, missing, is"),
        ({"field": "points", "op": "x" * 5000, "value": 1}, "op", "x…"),
        ({"field": "renewal", "op": "after", "value": "0001-01-01"}, "value", "2026-01-31"),
        ({"field": "renewal", "op": "after", "value": "9999-12-31"}, "value", "2026-01-31"),
        ({"field": "plan", "op": "one_of", "value": ["x"] * 1001}, "value", "1000 values"),
        ({"segment": ["vips"]}, "segment", "key of a segment"),
        ({"segment": "vips", "op": "is"}, "op", "only segment"),
    ],
)
def test_a_fault_is_refused_with_its_path_and_what_would_be_right(rule, path, hint):
    with pytest.raises(parsing.RuleError) as caught:
        parse(rule)
    assert caught.value.path == path
    assert hint in caught.value.message


def test_ten_levels_of_groups_are_read():
    assert len([*rules.conditions(parse(nested(10)))]) == 1


def test_event_alone_means_at_least_once():
    assert parse(ORDER).test == rules.Test("at_least", "number", Decimal(1))


def test_a_float_is_read_as_it_is_written():
    assert parse({"field": "points", "op": "is", "value": 0.1}).test.value == Decimal("0.1")


def test_the_value_decides_the_type_of_a_property():
    where = [
        {"property": "size", "op": "is", "value": 42},
        {"property": "size", "op": "is", "value": "42"},
        {"property": "size", "op": "is", "value": True},
        {"property": "size", "op": "between", "value": ["2026-01-01", "2026-02-01"]},
    ]
    kinds = [one.test.type for one in parse(ORDER | {"where": where}).where]
    assert kinds == ["number", "string", "boolean", "datetime"]

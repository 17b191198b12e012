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
    ],
)  # fmt: skip
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

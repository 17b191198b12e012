"""Random people, pasts and rules over a small vocabulary, so that boundaries are often met."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import strategies as st

from tests.makers import NOON

FIELDS = {"plan": "string", "points": "number", "renewal": "datetime", "vip": "boolean"}
NAMES = ["Order Completed", "Page Viewed", "Email Opened", "Email Clicked"]
SOURCES = {"web": "online", "till": "offline"}

hours = st.integers(-24 * 12, 24 * 4).map(lambda n: n - n % 12)
instants = st.builds(
    lambda h, us: NOON + timedelta(hours=h, microseconds=us), hours, st.sampled_from([0, 0, 0, 1])
)
texts = st.sampled_from(["gold", "GOLD", " Silver", "Zürich", "zürich", "12", "7.50"])
numbers = st.sampled_from(["0", "0.1", "0.3", "7.5", "12", "-3", "100"]).map(Decimal)
events = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "at": instants,
        "amount": st.none() | numbers,
        "currency": st.sampled_from(["CHF", "CHF", "EUR"]),
        "source": st.sampled_from([*SOURCES]),
        "properties": st.fixed_dictionaries(
            {},
            optional={
                "cat": texts,
                "qty": numbers | texts,
                "vip": st.booleans(),
                "ship": instants.map(lambda t: t.isoformat().replace("+00:00", "Z")),
                "items": st.lists(st.fixed_dictionaries({"sku": texts}), max_size=2),
            },
        ),
    }
).map(lambda e: e | {"currency": None} if e["amount"] is None else e)
field_values = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["gold", "Silver", "Zürich"]),
        "points": numbers,
        "renewal": instants,
        "vip": st.booleans(),
        "@consent.mail": st.booleans(),
    },
)
people = st.fixed_dictionaries(
    {
        "known": st.booleans(),
        "fields": field_values,
        "events": st.lists(events, max_size=5),
    }
)

days = st.integers(1, 5)
units = st.sampled_from(["days", "days", "hours", "weeks"])
isos = instants.map(lambda t: t.isoformat(timespec="microseconds").replace("+00:00", "Z"))


def _spans(word):
    return st.builds(lambda n, unit: {word: n, "unit": unit}, days, units)


def _between(values):
    return st.lists(values, min_size=2, max_size=2).map(sorted)


def _tests(*kinds):
    options = [st.sampled_from([{"op": "exists"}, {"op": "missing"}])]
    for kind in kinds:
        options += TESTS[kind]
    return st.one_of(options)


def _op(ops, values):
    return st.builds(lambda op, value: {"op": op, "value": value}, st.sampled_from(ops), values)


TESTS = {
    "string": [
        _op(["is", "is_not", "contains", "not_contains", "starts_with", "ends_with"], texts),
        _op(["one_of", "none_of"], st.lists(texts, min_size=1, max_size=2)),
    ],
    "number": [
        _op(["is", "is_not", "at_least", "at_most", "more_than", "less_than"], numbers),
        _op(["between"], _between(numbers)),
        _op(["one_of"], st.lists(numbers, min_size=1, max_size=2)),
    ],
    "datetime": [
        _op(["before", "after"], isos),
        _op(["between"], _between(isos)),
        _op(["in_last", "not_in_last"], _spans("last")),
        _op(["in_next"], _spans("next")),
    ],
    "boolean": [_op(["is"], st.booleans())],
}
anniversaries = _op(["anniversary_in_next"], st.builds(lambda n: {"next": n, "unit": "days"}, days))
windows = st.one_of(
    st.none(),
    _spans("last"),
    st.builds(lambda n, m: {"last": n + m, "unit": "days", "except_last": m}, days, days),
    st.sampled_from(["today", "this_week", "this_month", "this_year"]).map(
        lambda c: {"calendar": c}
    ),
    st.builds(lambda a, b: {"from": min(a, b), "to": max(a, b)}, isos, isos).filter(
        lambda w: w["from"] < w["to"]
    ),
    isos.map(lambda t: {"from": t}),
    isos.map(lambda t: {"to": t}),
)
filters = st.one_of(
    st.sampled_from([{"channel": "online"}, {"channel": "offline"}, {"source": "till"}]),
    _tests("string").map(lambda t: {"property": "cat"} | t),
    _tests("number").map(lambda t: {"property": "qty"} | t),
    _tests("boolean").map(lambda t: {"property": "vip"} | t),
    _tests("string").map(lambda t: {"property": "items.0.sku"} | t),
    st.one_of(TESTS["datetime"]).map(lambda t: {"property": "ship"} | t),
    st.one_of(TESTS["datetime"]).map(lambda t: {"property": "@time"} | t),
    st.just({"property": "currency", "op": "is", "value": "eur"}),
    _tests("number").map(lambda t: {"property": "amount"} | t),
)
names = st.one_of(
    st.sampled_from([*NAMES, "Email *", "Never Seen"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
)


def _with(rule, where, window):
    more = {"where": where} if where else {}
    return rule | more | ({"within": window} if window else {})


few_filters = st.lists(filters, max_size=1)
number_tests = st.one_of(
    _op(["is", "is_not", "at_least", "at_most", "more_than", "less_than"], st.integers(0, 3)),
    *TESTS["number"],
)
counted = st.builds(
    lambda name, test, where, window: _with({"event": name} | test, where, window),
    names,
    st.just({}) | number_tests,
    few_filters,
    windows,
)
measured = st.builds(
    lambda name, measure, prop, test, where, window: _with(
        {"event": name, "measure": measure, "property": prop} | test, where, window
    ),
    names,
    st.sampled_from(["sum", "average", "min", "max", "distinct"]),
    st.sampled_from(["amount", "amount", "qty"]),
    number_tests | st.sampled_from([{"op": "exists"}, {"op": "missing"}]),
    few_filters,
    windows,
)
edges = st.builds(
    lambda name, measure, what, where, window: _with(
        {"event": name, "measure": measure} | what, where, window
    ),
    names,
    st.sampled_from(["first", "last"]),
    st.one_of(
        st.one_of(TESTS["datetime"]).map(lambda t: {"property": "@time"} | t),
        st.one_of(TESTS["number"]).map(lambda t: {"property": "qty"} | t),
        st.one_of(TESTS["number"]).map(lambda t: {"property": "amount"} | t),
        st.sampled_from([{"op": "exists"}, {"op": "missing"}]).map(
            lambda t: {"property": "cat"} | t
        ),
    ),
    few_filters,
    windows,
)
steps = st.builds(
    lambda name, where, gap: (
        {"event": name} | ({"where": where} if where else {}) | ({"after": gap} if gap else {})
    ),
    names,
    few_filters,
    st.none() | st.builds(lambda n: {"at_most": n, "unit": "days"}, days),
)
sequences = st.builds(
    lambda steps, window: _with(
        {"sequence": [{k: v for k, v in steps[0].items() if k != "after"}, *steps[1:]]}, [], window
    ),
    st.lists(steps, min_size=1, max_size=3),
    windows,
)
fields = st.one_of(
    _tests("string").map(lambda t: {"field": "plan"} | t),
    _tests("number").map(lambda t: {"field": "points"} | t),
    (_tests("datetime") | anniversaries).map(lambda t: {"field": "renewal"} | t),
    _tests("boolean").map(lambda t: {"field": "vip"} | t),
    _tests("boolean").map(lambda t: {"field": "@identified"} | t),
    _tests("boolean").map(lambda t: {"field": "@consent.mail"} | t),
    st.one_of(TESTS["datetime"]).map(lambda t: {"field": "@last_seen"} | t),
    _tests("datetime").map(lambda t: {"field": "@first_seen"} | t),
)
leaves = st.one_of(counted, measured, edges, sequences, fields)
rules = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda r: {"all": r}),
        st.lists(inner, min_size=1, max_size=3).map(lambda r: {"any": r}),
        inner.map(lambda r: {"not": r}),
    ),
    max_leaves=4,
)
audiences = st.sampled_from(["everyone", "everyone", "identified", "anonymous"])

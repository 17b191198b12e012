"""docs/rules.md sentence by sentence, through the API: one customer, one rule, in or out."""

from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tests.makers import NOON

pytestmark = pytest.mark.django_db

ZURICH = ZoneInfo("Europe/Zurich")
TICK = timedelta(microseconds=1)
DAY, HOUR, MINUTE, WEEK = (timedelta(**{u: 1}) for u in ("days", "hours", "minutes", "weeks"))
ORDER = "Order Completed"
FIELDS = {"plan": "string", "points": "number", "until": "datetime", "vip": "boolean"}


def did(at=NOON, name=ORDER, **more):
    return {"name": name, "at": at} | more


def sold(amount, at=NOON, currency="CHF", **more):
    return did(at, amount=amount, currency=currency, **more)


def wore(*, at=NOON, **properties):
    return did(at, properties=properties)


def zurich(*parts, **more):
    return datetime(*parts, tzinfo=ZURICH, **more)


def last(n, unit="days", **more):
    return {"last": n, "unit": unit} | more


def event(op=None, value=None, name=ORDER, **more):
    test = {} if op is None else {"op": op} | ({} if value is None else {"value": value})
    return {"event": name} | test | more


def total(op, value, **more):
    return event(op, value, measure="sum", property="amount", **more)


def measured(measure, prop, op, value=None, **more):
    return event(op, value, measure=measure, property=prop, **more)


def where(prop, op, value=None, **more):
    value = {} if value is None else {"value": value}
    return event(where=[{"property": prop, "op": op} | value], **more)


def has(name, op, value=None):
    return {"field": name, "op": op} | ({} if value is None else {"value": value})


def steps(*names, within=None, **gaps):
    found = [{"event": name} for name in names]
    for n, gap in gaps.items():
        found[int(n[1:])]["after"] = {"at_most": gap, "unit": "hours"}
    return {"sequence": found} | ({"within": within} if within else {})


def ago(span):
    return did(NOON - span)


A_B = [did(NOON, "A"), did(NOON, "B")]

# (what is said, events, fields, rule, the instants at which it holds or not)
CASES = [
    # 1. Windows: (now - N, now - M]
    ("90 days: one microsecond less", [ago(90 * DAY - TICK)], {}, event(within=last(90)), True),
    ("90 days: exactly", [ago(90 * DAY)], {}, event(within=last(90)), False),
    ("now itself", [ago(0 * DAY)], {}, event(within=last(90)), True),
    ("in the future", [ago(-TICK)], {}, event(within=last(90)), False),
    ("in the future, without a window", [ago(-TICK)], {}, event(), False),
    ("minutes", [ago(15 * MINUTE - TICK)], {}, event(within=last(15, "minutes")), True),
    ("minutes, over", [ago(15 * MINUTE)], {}, event(within=last(15, "minutes")), False),
    ("hours", [ago(2 * HOUR - TICK)], {}, event(within=last(2, "hours")), True),
    ("weeks are seven days", [ago(2 * WEEK - TICK)], {}, event(within=last(2, "weeks")), True),
    ("weeks, over", [ago(14 * DAY)], {}, event(within=last(2, "weeks")), False),
    ("9 to 2: at 9", [ago(9 * DAY)], {}, event(within=last(9, except_last=2)), False),
    ("9 to 2: within", [ago(9 * DAY - TICK)], {}, event(within=last(9, except_last=2)), True),
    ("9 to 2: at 2", [ago(2 * DAY)], {}, event(within=last(9, except_last=2)), True),
    ("9 to 2: past 2", [ago(2 * DAY - TICK)], {}, event(within=last(9, except_last=2)), False),
    ("from included", [did()], {}, event(within={"from": "2026-01-15T12:00:00Z"}), True),
    ("to excluded", [did()], {}, event(within={"to": "2026-01-15T12:00:00Z"}), False),
    ("to, just", [ago(TICK)], {}, event(within={"to": "2026-01-15T12:00:00Z"}), True),
    ("from in Zurich", [did()], {}, event(within={"from": "2026-01-15T13:00:00"}), True),
    ("from, too late", [did()], {}, event(within={"from": "2026-01-15T13:00:01"}), False),
    ("a day alone", [did(zurich(2026, 1, 15))], {}, event(within={"from": "2026-01-15"}), True),
    ("the eve", [did(zurich(2026, 1, 15) - TICK)], {}, event(within={"from": "2026-01-15"}), False),
    ("null is left out", [did()], {}, event(within={"from": None, "to": "2027-01-01"}), True),
    ("today", [did(zurich(2026, 1, 15))], {}, event(within={"calendar": "today"}), True),
    (
        "yesterday",
        [did(zurich(2026, 1, 15) - TICK)],
        {},
        event(within={"calendar": "today"}),
        False,
    ),
    ("Monday", [did(zurich(2026, 1, 12))], {}, event(within={"calendar": "this_week"}), True),
    (
        "Sunday",
        [did(zurich(2026, 1, 12) - TICK)],
        {},
        event(within={"calendar": "this_week"}),
        False,
    ),
    ("New Year", [did(zurich(2026, 1, 1))], {}, event(within={"calendar": "this_month"}), True),
    (
        "New Year's Eve",
        [did(zurich(2026, 1, 1) - TICK)],
        {},
        event(within={"calendar": "this_year"}),
        False,
    ),
    ("later today", [ago(-HOUR)], {}, event(within={"calendar": "today"}), False),
    # 2. Nothing
    ("count 0 at_most", [], {}, event("at_most", 0), True),
    ("count 0 less_than", [], {}, event("less_than", 1), True),
    ("count 0 is", [], {}, event("is", 0), True),
    ("count 0 is_not", [], {}, event("is_not", 0), False),
    ("count 0 between", [], {}, event("between", [0, 3]), True),
    ("count 0 one_of", [], {}, event("one_of", [0, 3]), True),
    ("count 0 at_least 0", [], {}, event("at_least", 0), True),
    ("count 0 more_than -1", [], {}, event("more_than", -1), True),
    ("count of an unheard-of event", [did()], {}, event("is", 0, "Never Heard"), True),
    ("sum 0", [], {}, total("is", 0), True),
    ("sum 0 of texts", [wore(size="x")], {}, measured("sum", "size", "is", 0), True),
    ("distinct 0", [], {}, measured("distinct", "size", "at_most", 0), True),
    ("average of none", [], {}, measured("average", "amount", "at_most", 9), False),
    ("average of none is_not", [], {}, measured("average", "amount", "is_not", 9), False),
    ("average of none missing", [], {}, measured("average", "amount", "missing"), True),
    ("average of none exists", [], {}, measured("average", "amount", "exists"), False),
    ("min of none", [], {}, measured("min", "amount", "less_than", 9), False),
    ("max of none", [], {}, measured("max", "amount", "more_than", -9), False),
    ("first of none", [], {}, measured("first", "size", "is_not", "x"), False),
    ("last of none", [], {}, measured("last", "size", "none_of", ["x"]), False),
    ("last of none missing", [], {}, measured("last", "size", "missing"), True),
    ("last of none not_in_last", [], {}, measured("last", "@time", "not_in_last", last(3)), False),
    ("count never missing", [], {}, event("missing"), False),
    # 3. Missing values
    *[
        (
            f"no value {op}",
            [],
            {},
            has("plan", op, value),
            op in ("is_not", "none_of", "not_contains"),
        )
        for op, value in [
            *[(op, "x") for op in ("is", "is_not", "contains", "not_contains", "starts_with")],
            *[("ends_with", "x"), ("one_of", ["x"]), ("none_of", ["x"])],
        ]
    ],
    ("no value missing", [], {}, has("plan", "missing"), True),
    ("no value exists", [], {}, has("plan", "exists"), False),
    ("a value exists", [], {"plan": "x"}, has("plan", "exists"), True),
    ("a value missing", [], {"plan": "x"}, has("plan", "missing"), False),
    ("no number is_not", [], {}, has("points", "is_not", 5), True),
    ("no number is 0", [], {}, has("points", "is", 0), False),
    ("no number at_most", [], {}, has("points", "at_most", 5), False),
    ("zero exists", [], {"points": 0}, has("points", "exists"), True),
    ("false exists", [], {"vip": False}, has("vip", "exists"), True),
    ("no boolean is false", [], {}, has("vip", "is", False), False),
    ("no time not_in_last", [], {}, has("until", "not_in_last", last(3)), True),
    ("no time before", [], {}, has("until", "before", "2030-01-01"), False),
    ("no time in_next", [], {}, has("until", "in_next", {"next": 3, "unit": "days"}), False),
    ("no property is_not", [wore()], {}, where("size", "is_not", "x"), True),
    ("no property is_not number", [wore(size="x")], {}, where("size", "is_not", 3), True),
    ("no property missing", [wore()], {}, where("size", "missing"), True),
    ("null is missing", [wore(size=None)], {}, where("size", "missing"), True),
    ("is_not needs an event", [], {}, where("size", "is_not", "x"), False),
    # 4. Numbers
    ("ten times 0.1", [sold("0.1")] * 10, {}, total("is", 1), True),
    ("0.1 and 0.2", [sold("0.1"), sold("0.2")], {}, total("is", Decimal("0.3")), True),
    ("199.99", [sold("199.99")], {}, total("at_least", 200), False),
    ("200.00", [sold("200.00")], {}, total("at_least", 200), True),
    ("200.00 more_than", [sold("200.00")], {}, total("more_than", 200), False),
    (
        "17 digits",
        [],
        {"points": Decimal("9007199254740993")},
        has("points", "is", 9007199254740992),
        False,
    ),
    ("between, low", [], {"points": 3}, has("points", "between", [3, 5]), True),
    ("between, high", [], {"points": 5}, has("points", "between", [3, 5]), True),
    ("between, over", [], {"points": Decimal("5.01")}, has("points", "between", [3, 5]), False),
    ("5.00 is 5", [], {"points": Decimal("5.00")}, has("points", "is", 5), True),
    ("one_of", [], {"points": 5}, has("points", "one_of", [3, Decimal("5.0")]), True),
    (
        "texts that are numbers",
        [wore(n="12.50"), wore(n="-2")],
        {},
        measured("sum", "n", "is", Decimal("10.5")),
        True,
    ),
    (
        "others left out",
        [wore(n="12 CHF"), wore(n="1e3"), wore(n=True), wore(n=[1]), wore(n=2)],
        {},
        measured("sum", "n", "is", 2),
        True,
    ),
    (
        "left out of the average",
        [wore(n="x"), wore(n=2), wore(n=4)],
        {},
        measured("average", "n", "is", 3),
        True,
    ),
    ("min of numbers", [wore(n="10"), wore(n=9)], {}, measured("min", "n", "is", 9), True),
    ("max of numbers", [wore(n="10"), wore(n=9)], {}, measured("max", "n", "is", 10), True),
    ("JSON exponent", [wore(n=Decimal("1E+3"))], {}, measured("sum", "n", "is", 1000), True),
    ("foreign digits", [wore(n="١٢")], {}, measured("sum", "n", "is", 0), True),
    (
        "refund",
        [sold("120"), sold("-20", name="Order Refunded")],
        {},
        total("is", 100, name=[ORDER, "Order Refunded"]),
        True,
    ),
    # 5. Texts
    ("case", [], {"plan": "Gold"}, has("plan", "is", "GOLD"), True),
    ("accents and case", [], {"plan": "Zürich"}, has("plan", "is", "ZÜRICH"), True),
    ("Greek", [], {"plan": "Ωμέγα"}, has("plan", "contains", "ΜΈΓ"), True),
    ("composed", [], {"plan": "Zürich"}, has("plan", "is", "Zu\u0308rich"), True),
    ("property composed", [wore(c="Zu\u0308rich")], {}, where("c", "is", "zürich"), True),
    ("property trimmed", [wore(c=" \t gold\n\u00a0")], {}, where("c", "is", "gold"), True),
    ("value trimmed", [], {"plan": "gold"}, has("plan", "is", "  gold\u00a0"), True),
    ("starts_with", [], {"plan": "Goldstück"}, has("plan", "starts_with", "gOLD"), True),
    ("ends_with", [], {"plan": "Goldstück"}, has("plan", "ends_with", "STÜCK"), True),
    ("percent is no wildcard", [], {"plan": "gold"}, has("plan", "contains", "%"), False),
    ("underscore is no wildcard", [], {"plan": "gold"}, has("plan", "is", "g_ld"), False),
    ("backslash", [], {"plan": "a\\b"}, has("plan", "contains", "\\"), True),
    ("quote", [], {"plan": "O'Hara"}, has("plan", "is", "o'hara"), True),
    ("not_contains", [], {"plan": "gold"}, has("plan", "not_contains", "OL"), False),
    ("none_of", [], {"plan": "gold"}, has("plan", "none_of", ["silver", "GOLD"]), False),
    ("a number as text", [wore(c=12)], {}, where("c", "is", "12"), True),
    # 6. Times
    (
        "until: after",
        [],
        {"until": NOON},
        has("until", "after", "2026-01-15T12:59:59.999999"),
        True,
    ),
    ("until: not after", [], {"until": NOON}, has("until", "after", "2026-01-15T13:00:00"), False),
    (
        "until: before",
        [],
        {"until": NOON},
        has("until", "before", "2026-01-15T12:00:00.000001Z"),
        True,
    ),
    (
        "until: between",
        [],
        {"until": NOON},
        has("until", "between", ["2026-01-15T12:00:00Z", "2026-01-16"]),
        True,
    ),
    ("in_last: now", [], {"until": NOON}, has("until", "in_last", last(3)), True),
    ("in_last: at its end", [], {"until": NOON - 3 * DAY}, has("until", "in_last", last(3)), False),
    ("in_last: not yet", [], {"until": NOON + TICK}, has("until", "in_last", last(3)), False),
    (
        "not_in_last: not yet",
        [],
        {"until": NOON + TICK},
        has("until", "not_in_last", last(3)),
        True,
    ),
    (
        "in_next: now",
        [],
        {"until": NOON},
        has("until", "in_next", {"next": 3, "unit": "days"}),
        False,
    ),
    (
        "in_next: soon",
        [],
        {"until": NOON + TICK},
        has("until", "in_next", {"next": 3, "unit": "days"}),
        True,
    ),
    (
        "in_next: its end",
        [],
        {"until": NOON + 30 * DAY},
        has("until", "in_next", {"next": 30, "unit": "days"}),
        True,
    ),
    (
        "in_next: beyond",
        [],
        {"until": NOON + 30 * DAY + TICK},
        has("until", "in_next", {"next": 30, "unit": "days"}),
        False,
    ),
    (
        "birthday in a week",
        [],
        {"until": zurich(1990, 1, 22)},
        has("until", "anniversary_in_next", {"next": 7, "unit": "days"}),
        True,
    ),
    (
        "birthday later",
        [],
        {"until": zurich(1990, 1, 23)},
        has("until", "anniversary_in_next", {"next": 7, "unit": "days"}),
        False,
    ),
    (
        "birthday yesterday",
        [],
        {"until": zurich(1990, 1, 14)},
        has("until", "anniversary_in_next", {"next": 7, "unit": "days"}),
        False,
    ),
    (
        "property is a time",
        [wore(s="2026-01-20T10:00:00+01:00")],
        {},
        where("s", "in_next", {"next": 5, "unit": "days"}),
        True,
    ),
    (
        "property is a day",
        [wore(s="2026-01-15")],
        {},
        where("s", "before", "2026-01-15T00:00:00.000001"),
        True,
    ),
    (
        "property in nanoseconds",
        [wore(s="2026-01-15T00:00:00.123456789Z")],
        {},
        where("s", "in_last", last(1)),
        True,
    ),
    (
        "property is no time",
        [wore(s="infinity"), wore(s="2026-02-30"), wore(s="now"), wore(s=5)],
        {},
        where("s", "after", "2000-01-01"),
        False,
    ),
    # 7. Amounts
    (
        "own currency only",
        [sold("150"), sold("150", currency="EUR")],
        {},
        total("at_least", 200),
        False,
    ),
    (
        "named currency",
        [sold("150"), sold("250", currency="EUR")],
        {},
        total("is", 250, where=[{"property": "currency", "op": "is", "value": "eur"}]),
        True,
    ),
    (
        "every currency",
        [sold("150"), sold("150", currency="EUR")],
        {},
        total("is", 300, where=[{"property": "currency", "op": "exists"}]),
        True,
    ),
    ("amount as a filter", [sold("150")], {}, where("amount", "at_least", 150), True),
    # 8. Sequences
    ("in order", [did(NOON - HOUR, "A"), did(NOON, "B")], {}, steps("A", "B"), True),
    ("in the other order", [did(NOON - HOUR, "B"), did(NOON, "A")], {}, steps("A", "B"), False),
    ("at the same instant as received", A_B, {}, steps("A", "B"), True),
    ("at the same instant, the other way", A_B[::-1], {}, steps("A", "B"), False),
    ("distinct events", [did(NOON, "A")], {}, steps("A", "A"), False),
    ("twice", [did(NOON, "A"), did(NOON, "A")], {}, steps("A", "A"), True),
    (
        "others between",
        [did(NOON - 2 * HOUR, "A"), did(NOON - HOUR, "C"), did(NOON, "B")],
        {},
        steps("A", "B"),
        True,
    ),
    ("gap", [did(NOON - 2 * HOUR, "A"), did(NOON, "B")], {}, steps("A", "B", _1=2), True),
    (
        "gap too wide",
        [did(NOON - 2 * HOUR - TICK, "A"), did(NOON, "B")],
        {},
        steps("A", "B", _1=2),
        False,
    ),
    (
        "a later start",
        [did(NOON - 9 * HOUR, "A"), did(NOON - HOUR, "A"), did(NOON, "B")],
        {},
        steps("A", "B", _1=2),
        True,
    ),
    (
        "not the greedy way",
        [
            did(NOON - 4 * HOUR, "A"),
            did(NOON - 3 * HOUR, "B"),
            did(NOON - 2 * HOUR, "A"),
            did(NOON - HOUR, "B"),
            did(NOON, "C"),
        ],
        {},
        steps("A", "B", "C", _2=1),
        True,
    ),
    (
        "gap to the step before only",
        [did(NOON - 4 * HOUR, "A"), did(NOON - 2 * HOUR, "B"), did(NOON, "C")],
        {},
        steps("A", "B", "C", _1=2, _2=2),
        True,
    ),
    (
        "within bounds all",
        [did(NOON - 2 * DAY, "A"), did(NOON, "B")],
        {},
        steps("A", "B", within=last(2)),
        False,
    ),
    (
        "prefixes",
        [did(NOON, "Email Opened"), did(NOON, "Email Clicked")],
        {},
        steps("Email *", "Email C*"),
        True,
    ),
    # Names, channels, sources
    ("prefix", [did(name="Email Opened")], {}, event(name="Email *"), True),
    ("prefix is a beginning", [did(name="An Email Opened")], {}, event(name="Email *"), False),
    ("prefix with care for case", [did(name="email opened")], {}, event(name="Email *"), False),
    ("exact name", [did(name="order completed")], {}, event(), False),
    ("exact name, no wildcard inside", [did()], {}, event(name="Order * Completed"), False),
    ("all events", [did()], {}, event(name="*"), True),
    ("list of names", [did(name="B")], {}, event(name=["A", "B"]), True),
    ("offline", [did(source="till")], {}, event(where=[{"channel": "offline"}]), True),
    ("not online", [did(source="till")], {}, event(where=[{"channel": "online"}]), False),
    ("source", [did(source="till")], {}, event(where=[{"source": "till"}]), True),
    ("other source", [did(source="shop")], {}, event(where=[{"source": "till"}]), False),
    # Measures
    (
        "first",
        [wore(at=NOON - DAY, c="a"), wore(c="b")],
        {},
        measured("first", "c", "is", "A"),
        True,
    ),
    (
        "last",
        [wore(at=NOON - DAY, c="a"), wore(c="b")],
        {},
        measured("last", "c", "is", "A"),
        False,
    ),
    ("last as received", [wore(c="a"), wore(c="b")], {}, measured("last", "c", "is", "b"), True),
    ("first as received", [wore(c="a"), wore(c="b")], {}, measured("first", "c", "is", "a"), True),
    (
        "first by number",
        [wore(at=NOON - DAY, c="10"), wore(c=3)],
        {},
        measured("first", "c", "more_than", 9),
        True,
    ),
    (
        "first amount",
        [sold("7", NOON - DAY), sold("9")],
        {},
        measured("first", "amount", "is", 7),
        True,
    ),
    (
        "first time",
        [ago(31 * DAY), did()],
        {},
        measured("first", "@time", "in_last", last(30)),
        False,
    ),
    (
        "first time, new",
        [ago(30 * DAY - TICK)],
        {},
        measured("first", "@time", "in_last", last(30)),
        True,
    ),
    ("last time", [ago(31 * DAY), did()], {}, measured("last", "@time", "in_last", last(30)), True),
    (
        "first in a window",
        [ago(31 * DAY), ago(2 * DAY)],
        {},
        measured("first", "@time", "in_last", last(3), within=last(5)),
        True,
    ),
    (
        "last has no such property",
        [wore(at=NOON - DAY, c="a"), wore()],
        {},
        measured("last", "c", "missing"),
        True,
    ),
    (
        "distinct",
        [wore(c="a"), wore(c=" A "), wore(c="b"), wore()],
        {},
        measured("distinct", "c", "is", 2),
        True,
    ),
    (
        "distinct numbers",
        [wore(c=1), wore(c="1.0"), wore(c=2)],
        {},
        measured("distinct", "c", "is", 2),
        True,
    ),
    (
        "distinct products",
        [wore(products=[{"sku": "a"}]), wore(products=[{"sku": "b"}])],
        {},
        measured("distinct", "products.0.sku", "is", 2),
        True,
    ),
    (
        "deep property",
        [wore(products=[{"sku": "a"}, {"sku": "b"}])],
        {},
        where("products.1.sku", "is", "B"),
        True,
    ),
    (
        "filters are all",
        [wore(c="a", d="b")],
        {},
        event(
            where=[
                {"property": "c", "op": "is", "value": "a"},
                {"property": "d", "op": "is", "value": "x"},
            ]
        ),
        False,
    ),
    ("a true property", [wore(gift=True)], {}, where("gift", "is", True), True),
    ("@time as a filter", [ago(3 * DAY)], {}, where("@time", "in_last", last(3)), False),
    # Groups
    ("not", [], {}, {"not": event()}, True),
    ("not not", [did()], {}, {"not": {"not": event()}}, True),
    ("all", [did()], {"plan": "x"}, {"all": [event(), has("plan", "is", "x")]}, True),
    ("any", [did()], {}, {"any": [event(), has("plan", "is", "x")]}, True),
    ("not any", [], {}, {"not": {"any": [event(), has("plan", "is", "x")]}}, True),
    ("not a missing value", [], {}, {"not": has("plan", "is", "x")}, True),
    # Built-ins, as of then
    (
        "@last_seen as of then",
        [ago(2 * DAY), ago(-9 * DAY)],
        {},
        has("@last_seen", "in_last", last(3)),
        True,
    ),
    (
        "@last_seen as of then, gone",
        [ago(4 * DAY), ago(-9 * DAY)],
        {},
        has("@last_seen", "in_last", last(3)),
        False,
    ),
    ("@first_seen not yet", [ago(-DAY)], {}, has("@first_seen", "missing"), True),
    ("@first_seen", [ago(2 * DAY)], {}, has("@first_seen", "in_last", last(3)), True),
    ("@identified", [], {}, has("@identified", "is", True), True),
]


@pytest.fixture
def vocabulary(make_field, make_source):
    for name, kind in FIELDS.items():
        make_field(name, kind)
    make_source("till", channel="offline")


@pytest.fixture
def person(vocabulary, make_customer, make_event, make_source):
    def make(events, fields):
        stored = {
            name: value.astimezone(ZoneInfo("UTC")).isoformat().replace("+00:00", "Z")
            if isinstance(value, datetime)
            else value
            for name, value in fields.items()
        }
        at = [each["at"] for each in events]
        seen = {"first_seen_at": min(at), "last_seen_at": max(at)} if at else {}
        ann = make_customer("ann", fields=stored, **seen)
        for each in events:
            source = make_source(each.get("source", "shop"))
            make_event(customer=ann, **each | {"source": source})
        return ann

    return make


@pytest.mark.parametrize(
    ("said", "events", "fields", "rule", "holds"), CASES, ids=[c[0] for c in CASES]
)
def test_meaning(api, person, said, events, fields, rule, holds):
    ann = person(events, fields)
    question = {"rule": rule, "as_of": NOON.isoformat(), "members": True}
    status, answer = api.post("/api/segments/preview/", question)
    assert status == 200, answer
    assert answer["members"] == [ann.pk] * holds
    assert (answer["count"], answer["total"]) == (holds, 1)
    opposite = api.post("/api/segments/preview/", question | {"rule": {"not": rule}})[1]
    assert opposite["count"] == (not holds)


CLOCKS = [
    # The night to 29 March 2026 is an hour short, that to 25 October an hour long.
    ("2026-03-29T12:00+02:00", "2026-03-28T23:00Z", {"calendar": "today"}, True),
    ("2026-03-29T12:00+02:00", "2026-03-28T22:59:59.999999Z", {"calendar": "today"}, False),
    ("2026-03-29T12:00+02:00", "2026-03-28T11:00:00.000001+01:00", last(1), True),
    ("2026-03-29T12:00+02:00", "2026-03-28T11:00:00+01:00", last(1), False),
    ("2026-03-29T23:59:59+02:00", "2026-03-23T00:00+01:00", {"calendar": "this_week"}, True),
    ("2026-03-29T23:59:59+02:00", "2026-03-22T23:59:59+01:00", {"calendar": "this_week"}, False),
    ("2026-03-30T00:00+02:00", "2026-03-29T23:59:59+02:00", {"calendar": "this_week"}, False),
    ("2026-10-25T02:30+01:00", "2026-10-25T00:00+02:00", {"calendar": "today"}, True),
    ("2026-10-25T23:59+01:00", "2026-10-24T22:00Z", {"calendar": "today"}, True),
    ("2026-10-25T23:59+01:00", "2026-10-24T21:59:59Z", {"calendar": "today"}, False),
    ("2026-10-26T00:00+01:00", "2026-10-25T23:59:59+01:00", {"calendar": "today"}, False),
    ("2026-03-31T23:00Z", "2026-03-31T21:59:59Z", {"calendar": "this_month"}, False),
    ("2026-03-31T23:00Z", "2026-03-31T22:00Z", {"calendar": "this_month"}, True),
    ("2026-12-31T23:00Z", "2026-12-31T22:59:59Z", {"calendar": "this_year"}, False),
    ("2028-02-29T12:00Z", "2018-03-01T12:00Z", last(3650), False),
    ("2028-02-29T12:00Z", "2018-03-04T12:00Z", last(3650), True),
]


@pytest.mark.parametrize(("now", "at", "within", "holds"), CLOCKS)
def test_windows_across_changes_of_the_clocks(api, person, now, at, within, holds):
    person([did(datetime.fromisoformat(at))], {})
    question = {"rule": event(within=within), "as_of": now}
    assert api.post("/api/segments/preview/", question)[1]["count"] == holds


BIRTHDAYS = [
    ("1992-02-29", "2026-02-24T00:00+01:00", 4, True),  # kept on the 28th where there is no 29th
    ("1992-02-29", "2026-02-23T23:59:59+01:00", 4, False),
    ("1992-02-29", "2026-02-28T00:00+01:00", 4, False),
    ("1992-02-29", "2028-02-25T00:00+01:00", 4, True),
    ("1992-02-29", "2028-02-28T00:00+01:00", 1, True),
    ("1990-01-01", "2025-12-31T00:00+01:00", 1, True),
    ("1990-01-01", "2026-01-01T00:00+01:00", 1, False),
    ("1990-03-30", "2026-03-28T22:59:59+01:00", 1, False),  # that day has 23 hours
    ("1990-03-30", "2026-03-28T23:00+01:00", 1, True),
    ("1990-12-31", "2026-01-15T12:00Z", 350, True),
]


@pytest.mark.parametrize(("born", "now", "days", "holds"), BIRTHDAYS)
def test_birthdays(api, person, born, now, days, holds):
    person([], {"until": datetime.fromisoformat(born).replace(tzinfo=ZURICH)})
    rule = has("until", "anniversary_in_next", {"next": days, "unit": "days"})
    question = {"rule": rule, "as_of": now}
    assert api.post("/api/segments/preview/", question)[1]["count"] == holds


def test_segments_in_segments_with_their_audiences_and_lists_as_of_then(
    api, make_customer, make_event, make_segment, monkeypatch
):
    ann, visitor = make_customer("ann"), make_customer()
    for customer in (ann, visitor):
        make_event(customer=customer, at=NOON - 2 * DAY)
    make_segment(event(), key="known", audience="identified")
    api.post("/api/segments/", {"key": "vips", "name": "VIPs", "kind": "static"})
    monkeypatch.setattr("customers.clock.now", lambda: NOON - DAY)
    api.post("/api/segments/vips/members/", {"ids": [visitor.pk]})
    monkeypatch.setattr("customers.clock.now", lambda: NOON)
    api.delete("/api/segments/vips/members/", {"ids": [visitor.pk]})

    def found(rule, at, **more):
        question = {"rule": rule, "as_of": at.isoformat(), "members": True} | more
        return api.post("/api/segments/preview/", question)[1]["members"]

    known, vips = {"segment": "known"}, {"segment": "vips"}
    assert found(known, NOON) == [ann.pk]
    assert found(known, NOON - 3 * DAY) == []
    assert found({"not": known}, NOON) == [visitor.pk]
    assert found({"not": known}, NOON, audience="identified") == []
    assert found({"any": [known, event()]}, NOON, audience="anonymous") == [visitor.pk]
    assert found(vips, NOON - DAY) == [visitor.pk]
    assert found(vips, NOON - DAY - TICK) == found(vips, NOON) == []
    assert found({"not": vips}, NOON - TICK) == [ann.pk]


def test_too_deep_through_other_segments_is_refused(api, make_segment):
    make_segment(event(), key="s0")
    for n in range(1, 7):
        make_segment(
            {"not": {"segment": f"s{n - 1}"}} if n % 2 else {"segment": f"s{n - 1}"}, f"s{n}"
        )
    body = {"key": "deep", "name": "Deep", "rule": {"not": {"not": {"segment": "s6"}}}}
    status, answer = api.post("/api/segments/", body)
    assert status == 400
    assert "10 levels" in answer["errors"][0]["detail"]
    inner = {"rule": {"not": {"not": {"not": event()}}}}
    status, answer = api.patch("/api/segments/s0/", inner)
    assert status == 400
    assert "uses this one" in answer["errors"][0]["detail"]

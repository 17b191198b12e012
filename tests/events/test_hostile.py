"""Whatever arrives: no 500, nothing a neighbour suffers from, nothing lost without a reason."""

import json
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events import payload
from events.models import Event, Quarantine
from tests.events.reading import reasons

GOOD = b'{"type":"track","userId":"good","event":"Good","messageId":"%d"}'


def between(raw):
    """A batch with a good event on either side of a raw one."""
    return b'{"batch":[' + GOOD % 1 + b"," + raw + b"," + GOOD % 2 + b"]}"


def track(properties, **more):
    """A track call as bytes, with raw bytes for its properties."""
    event = {"type": "track", "userId": "u1", "event": "Odd"} | more
    return json.dumps(event).encode()[:-1] + b',"properties":' + properties + b"}"


STORED = {
    "NUL in a value": (b'{"x":"a\\u0000b"}', {"x": "ab"}),
    "NUL in a key": (b'{"a\\u0000b":1}', {"ab": 1}),
    "raw NUL byte": (b'{"x":"a\x00b"}', {"x": "ab"}),
    "raw newline": (b'{"x":"a\nb"}', {"x": "a\nb"}),
    "lone surrogate": (b'{"x":"\\ud800"}', {"x": "\ufffd"}),
    "no UTF-8": (b'{"x":"\xff"}', {"x": "\ufffd"}),
    "NaN": (b'{"x":NaN,"y":-Infinity}', {"x": None, "y": None}),
    "1e400": (b'{"x":1e400}', {"x": "1e400"}),
    "1e-400": (b'{"x":1e-400}', {"x": "1e-400"}),
    "1e99": (b'{"x":1e99}', {"x": 10**99}),
    "5,000 digits": (b'{"x":' + b"7" * 5000 + b"}", {"x": "7" * 5000}),
    "24 digits": (
        b'{"x":0.100000000000000000000001}',
        {"x": Decimal("0.100000000000000000000001")},
    ),
    "64 bits": (b'{"x":18446744073709551616}', {"x": 18446744073709551616}),
    "more than a float": (b'{"x":9007199254740993.5}', {"x": Decimal("9007199254740993.5")}),
    "null properties": (b"null", {}),
    "20 levels": (b'{"x":' + b"[" * 18 + b"]" * 18 + b"}", None),
    "twice the same key": (b'{"x":1,"x":2}', {"x": 2}),
    "999 keys": (json.dumps({str(n): n for n in range(990)}).encode(), None),
}
REFUSED = {
    "5,000 levels": (track(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"), "too_deep"),
    "5,000 objects deep": (track(b'{"x":' * 5000 + b"1" + b"}" * 5000), "too_deep"),
    "300 levels": (track(b'{"x":' + b"[" * 300 + b"]" * 300 + b"}"), "too_deep"),
    "900 levels": (track(b'{"x":' + b"[" * 900 + b"]" * 900 + b"}"), "too_deep"),
    "21 levels": (track(b'{"x":' + b"[" * 19 + b"]" * 19 + b"}"), "too_deep"),
    "1,001 keys": (track(json.dumps({str(n): n for n in range(1001)}).encode()), "too_many_keys"),
    "100,000 keys": (track(json.dumps({str(n): n for n in range(100_000)}).encode()), "too_large"),
    "33 KB": (track(json.dumps({"x": "y" * 33_000}).encode()), "too_large"),
    "list of properties": (track(b"[1]"), "bad_properties"),
    "text for properties": (track(b'"x"'), "bad_properties"),
    "no object": (b"5", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "list": (b"[[[]]]", "not_an_object"),
    "no id": (track(b"{}", userId=None), "no_identity"),
    "nobody's id": (track(b"{}", userId="undefined", anonymousId="0000-0000"), "no_identity"),
    "an object as id": (track(b"{}", userId={"a": 1}), "no_identity"),
    "no name": (track(b"{}", event=None), "no_name"),
    "list as name": (track(b"{}", event=["Odd"]), "bad_name"),
    "empty name": (track(b"{}", event=" \u0000 "), "no_name"),
    "long name": (track(b"{}", event="x" * 5000), "bad_name"),
    "unknown type": (track(b"{}", type="click"), "unknown_type"),
    "type that is a list": (track(b"{}", type=["track"]), "unknown_type"),
    "bad time": (track(b"{}", timestamp="yesterday"), "bad_time"),
    "time before all time": (track(b"{}", timestamp="0001-01-01T00:00:00Z"), "bad_time"),
    "time after all time": (track(b"{}", timestamp=10**30), "bad_time"),
    "time that is an object": (track(b"{}", timestamp={}), "bad_time"),
}


@pytest.mark.parametrize("case", STORED)
def test_odd_but_usable_event_is_stored(send, take_in, case):
    properties, wanted = STORED[case]
    assert send("/v1/batch", between(track(properties))).status_code == 200
    take_in()
    assert reasons() == []
    events = [*Event.objects.select_related("name").order_by("id")]
    assert [event.name.name for event in events] == ["Good", "Odd", "Good"]
    if wanted is not None:
        assert events[1].properties == wanted


@pytest.mark.parametrize("case", REFUSED)
def test_unusable_event_is_set_aside_and_its_neighbours_stored(send, take_in, case):
    raw, reason = REFUSED[case]
    assert send("/v1/batch", between(raw)).status_code == 200
    take_in()
    assert reasons() == [reason]
    assert Event.objects.filter(name__name="Good").count() == 2
    assert Quarantine.objects.get().message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"batch":5}', "unknown_type"),
        (b"{}", "unknown_type"),
        (b'{"batch":[[]]}', "not_an_object"),
        (b'{"batch":[],"context":[]}', None),
        (b'{"batch":[' + GOOD % 1 + b'],"context":"x","sentAt":{}}', None),
        (b'{"batch":[' + GOOD % 1 + b'],"sentAt":"no time"}', None),
    ],
)
def test_odd_envelope_is_taken(send, take_in, body, reason):
    assert send("/v1/batch", body).status_code == 200
    take_in()
    assert reasons() == ([reason] if reason else [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
MEMBERS = ["type", "event", "userId", "anonymousId", "previousId", "groupId", "properties"]
MEMBERS += ["traits", "context", "timestamp", "originalTimestamp", "sentAt", "messageId"]
CALLS = st.sampled_from(["track", "identify", "page", "alias", "group", "screen"])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    events=st.lists(
        st.dictionaries(st.sampled_from(MEMBERS), JSON).flatmap(
            lambda event: st.fixed_dictionaries({"type": CALLS}).map(lambda call: event | call)
        ),
        max_size=4,
    )
)
def test_any_json_is_stored_or_set_aside(send, take_in, events):
    body = json.dumps({"batch": events, "context": {"traits": 5}}).encode()
    assert send("/v1/batch", between(body)).status_code == 200
    assert send("/v1/batch", body).status_code == 200
    take_in()
    assert not Quarantine.objects.filter(code="refused").exists()


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_what_is_written_is_read_again(value):
    text = json.dumps(value, allow_nan=False) if _is_finite(value) else "null"
    once = payload.scrub(payload.read(text.encode()).value)
    assert exactly(payload.read(payload.write(once)).value) == exactly(once)


@pytest.mark.parametrize("before", ["[", "[ -", "[1,", "[\n", '{"a":', '{"e123":-'])
@pytest.mark.parametrize(
    "number", ["12345678901234567", "0.1234567890123456789", "1e400", "1.25E-300", "12e+100"]
)
def test_number_that_a_float_cannot_hold_keeps_its_digits(before, number):
    value = payload.read(f"{before}{number}{']' if '[' in before else '}'}".encode()).value
    kept = value[-1] if "[" in before else [*value.values()][-1]
    assert str(kept) == ("-" if "-" in before else "") + number


def exactly(value):
    """The same JSON with decimals for floats, which are exact where they are used."""
    if isinstance(value, dict):
        return {key: exactly(member) for key, member in value.items()}
    if isinstance(value, list):
        return [exactly(member) for member in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


def _is_finite(value):
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True

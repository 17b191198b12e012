"""What a rule means, written down a second time in plain Python, from docs/rules.md alone.

It shares no code with the product. People are dicts {"customer_id", "fields", "events"}; an event
is {"name", "at", "order", "seen", "amount", "currency", "channel", "source", "properties"}, where
"seen" is the earlier of when it happened and when it was received. A person's own "seen", (first,
last), says when they were, if it is known otherwise.
"""

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal

UNITS = {"minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
NOTHING = object()


def belongs(rule, audience, person, now, zone, segments=None):
    if audience == "identified" and person["customer_id"] is None:
        return False
    if audience == "anonymous" and person["customer_id"] is not None:
        return False
    return holds(rule, person, now, zone, segments or {})


def holds(rule, person, now, zone, segments):
    if "all" in rule:
        return all(holds(r, person, now, zone, segments) for r in rule["all"])
    if "any" in rule:
        return any(holds(r, person, now, zone, segments) for r in rule["any"])
    if "not" in rule:
        return not holds(rule["not"], person, now, zone, segments)
    if "segment" in rule:
        other = segments[rule["segment"]]
        return belongs(other["rule"], other["audience"], person, now, zone, segments)
    if "field" in rule:
        return _field(rule, person, now, zone)
    if "sequence" in rule:
        return _sequence(rule, person, now, zone)
    return _event(rule, person, now, zone)


def _field(rule, person, now, zone):
    name = rule["field"]
    times = (
        [at for at in person["seen"] if at]
        if "seen" in person
        else [e["seen"] for e in person["events"] if e["seen"] <= now]
    )
    if name == "@identified":
        value = person["customer_id"] is not None
    elif name == "@first_seen":
        value = min(times, default=NOTHING)
    elif name == "@last_seen":
        value = max(times, default=NOTHING)
    else:
        value = person["fields"].get(name, NOTHING)
    if value is NOTHING:
        return rule["op"] in ("missing", "is_not", "none_of", "not_contains", "not_in_last")
    return _test(rule["op"], value, rule.get("value"), now, zone)


def _event(rule, person, now, zone):
    events = [
        e
        for e in sorted(person["events"], key=lambda e: (e["at"], e["order"]))
        if _named(rule["event"], e)
        and e["at"] <= now
        and _inside(rule.get("within"), e["at"], now, zone)
        and all(_passes(f, e, now, zone) for f in rule.get("where", []))
    ]
    measure, prop = rule.get("measure", "count"), rule.get("property")
    op, wanted = (rule["op"], rule.get("value")) if "op" in rule else ("at_least", 1)
    if (
        measure in ("sum", "average")
        and prop == "amount"
        and not any(f.get("property") == "currency" for f in rule.get("where", []))
    ):
        events = [e for e in events if e["currency"] == "CHF"]
    value = _measure(measure, prop, events, op, wanted)
    if value is NOTHING:
        return op == "missing"
    return _test(op, value, wanted, now, zone)


def _measure(measure, prop, events, op, wanted):
    if measure == "count":
        return Decimal(len(events))
    values = [_value(prop, e) for e in events]
    if measure in ("first", "last"):
        if not values:
            return NOTHING
        value = values[0 if measure == "first" else -1]
        probe = wanted[0] if isinstance(wanted, list) else wanted
        if op in ("at_least", "at_most", "more_than", "less_than") or isinstance(
            probe, int | Decimal
        ):
            value = value if isinstance(value, datetime) else _number(value)
        return value
    if measure == "distinct":
        return Decimal(len({_identity(v) for v in values if v is not NOTHING}))
    numbers = [n for n in map(_number, values) if n is not NOTHING]
    if measure == "sum":
        return sum(numbers, Decimal(0))
    if not numbers:
        return NOTHING
    return {
        "average": lambda: sum(numbers) / len(numbers),
        "min": lambda: min(numbers),
        "max": lambda: max(numbers),
    }[measure]()


def _identity(value):
    number = _number(value)
    return number if number is not NOTHING else _fold(value)


def _sequence(rule, person, now, zone):
    events = [
        e
        for e in sorted(person["events"], key=lambda e: (e["at"], e["order"]))
        if e["at"] <= now and _inside(rule.get("within"), e["at"], now, zone)
    ]

    def follow(step, start, before):
        if step == len(rule["sequence"]):
            return True
        wanted = rule["sequence"][step]
        for n in range(start, len(events)):
            e = events[n]
            if not _named(wanted["event"], e):
                continue
            if not all(_passes(f, e, now, zone) for f in wanted.get("where", [])):
                continue
            gap = wanted.get("after")
            if gap and e["at"] - before > timedelta(seconds=gap["at_most"] * UNITS[gap["unit"]]):
                continue
            if follow(step + 1, n + 1, e["at"]):
                return True
        return False

    return follow(0, 0, None)


def _named(names, event):
    names = names if isinstance(names, list) else [names]
    return any(
        event["name"].startswith(n[:-1]) if n.endswith("*") else event["name"] == n for n in names
    )


def _inside(window, at, now, zone):
    if window is None:
        return True
    if "last" in window:
        unit = UNITS[window["unit"]]
        oldest = now - timedelta(seconds=window["last"] * unit)
        newest = now - timedelta(seconds=window.get("except_last", 0) * unit)
        return oldest < at <= newest
    if "calendar" in window:
        a, b = at.astimezone(zone), now.astimezone(zone)
        return {
            "today": a.date() == b.date(),
            "this_week": a.isocalendar()[:2] == b.isocalendar()[:2],
            "this_month": (a.year, a.month) == (b.year, b.month),
            "this_year": a.year == b.year,
        }[window["calendar"]]
    start, end = window.get("from"), window.get("to")
    return (start is None or _instant(start, zone) <= at) and (
        end is None or at < _instant(end, zone)
    )


def _passes(one, event, now, zone):
    if "channel" in one:
        return event["channel"] == one["channel"]
    if "source" in one:
        return event["source"] == one["source"]
    value, op, wanted = _value(one["property"], event), one["op"], one.get("value")
    if value is not NOTHING and not isinstance(value, datetime):
        probe = wanted[0] if isinstance(wanted, list) else wanted
        if isinstance(probe, bool):
            value = value if isinstance(value, bool) else NOTHING
        elif isinstance(probe, int | Decimal):
            value = _number(value)
        elif op in ("before", "after", "between", "in_last", "not_in_last", "in_next"):
            value = _instant(value, zone) if isinstance(value, str) else NOTHING
    if value is NOTHING:
        return op in ("missing", "is_not", "none_of", "not_contains", "not_in_last")
    return _test(op, value, wanted, now, zone)


def _value(path, event):
    if path == "@time":
        return event["at"]
    if path in ("amount", "currency"):
        return NOTHING if event[path] is None else event[path]
    value = event["properties"]
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return NOTHING
    return NOTHING if value is None else value


def _number(value):
    if isinstance(value, bool) or value is NOTHING:
        return NOTHING
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return Decimal(value)
    return NOTHING


def _instant(text, zone):
    if isinstance(text, datetime):
        return text
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _fold(value):
    return unicodedata.normalize("NFC", str(value)).strip().lower()


def _test(op, value, wanted, now, zone):
    if op in ("exists", "missing"):
        return op == "exists"
    if isinstance(value, datetime):
        return _datetime_test(op, value, wanted, now, zone)
    if isinstance(value, bool):
        return value is wanted
    if isinstance(value, str):
        return _text_test(op, _fold(value), wanted)
    return {
        "is": lambda: value == wanted,
        "is_not": lambda: value != wanted,
        "at_least": lambda: value >= wanted,
        "at_most": lambda: value <= wanted,
        "more_than": lambda: value > wanted,
        "less_than": lambda: value < wanted,
        "between": lambda: wanted[0] <= value <= wanted[1],
        "one_of": lambda: value in wanted,
        "none_of": lambda: value not in wanted,
    }[op]()


def _text_test(op, value, wanted):
    if op in ("one_of", "none_of"):
        return (value in [_fold(w) for w in wanted]) == (op == "one_of")
    wanted = _fold(wanted)
    return {
        "is": lambda: value == wanted,
        "is_not": lambda: value != wanted,
        "contains": lambda: wanted in value,
        "not_contains": lambda: wanted not in value,
        "starts_with": lambda: value.startswith(wanted),
        "ends_with": lambda: value.endswith(wanted),
    }[op]()


def _datetime_test(op, value, wanted, now, zone):
    if op in ("before", "after", "between"):
        if op == "between":
            return _instant(wanted[0], zone) <= value <= _instant(wanted[1], zone)
        wanted = _instant(wanted, zone)
        return value < wanted if op == "before" else value > wanted
    span = timedelta(seconds=wanted.get("last", wanted.get("next")) * UNITS[wanted["unit"]])
    if op in ("in_last", "not_in_last"):
        return (now - span < value <= now) == (op == "in_last")
    if op == "in_next":
        return now < value <= now + span
    return now < _anniversary(value, now, zone) <= now + span


def _anniversary(value, now, zone):
    """The first instant after now with the same month, day and time on the wall."""
    local = value.astimezone(zone)
    for year in range(now.astimezone(zone).year, now.year + 3):
        try:
            again = local.replace(year=year)
        except ValueError:
            again = local.replace(year=year, day=28)
        if again.astimezone(UTC) > now:
            return again.astimezone(UTC)
    raise AssertionError

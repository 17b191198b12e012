"""Reading a rule: JSON in, a checked tree out, or an error that says where and what would be right.

The language is described in docs/rules.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from decimal import Decimal

from customers import consent
from segments import operands, rules, shapes
from segments.shapes import JSON, Node
from segments.shapes import RuleError as RuleError

MAX_LEVELS = 10  # of groups, those in segments that a rule names included
MAX_CONDITIONS = 100
MAX_STEPS = 20  # of a sequence
MAX_FILTERS = 20  # of an event
BUILT_INS = {"@first_seen": "datetime", "@last_seen": "datetime", "@identified": "boolean"}


@dataclass(frozen=True)
class Known:
    """What a rule may speak of. `segments` reads another segment: its tree or, by hand, its id."""

    types: Mapping[str, str]  # customer field -> type
    sources: frozenset[str]
    segment: Callable[[str, str], "rules.Member | rules.Within"]
    zone: tzinfo


def parse(rule: JSON, known: Known) -> rules.Rule:
    """Read a rule. Raises `RuleError` on anything that is not fully understood."""
    tree = _rule(rule, "", 1, known)
    if sum(1 for _ in rules.conditions(tree)) > MAX_CONDITIONS:
        raise RuleError("", f"A rule may have at most {MAX_CONDITIONS} conditions.")
    if rules.levels(tree) > MAX_LEVELS:
        message = f"With the segments it names, a rule may be at most {MAX_LEVELS} levels deep."
        raise RuleError("", message)
    return tree


def _rule(node: JSON, path: str, level: int, known: Known) -> rules.Rule:
    node = shapes.an_object(node, path, "a rule")
    kinds = [kind for kind in KINDS if kind in node]
    if len(kinds) != 1:
        raise RuleError(path, f"A rule has exactly one of {shapes.listed(KINDS)}.")
    if level > MAX_LEVELS and kinds[0] in ("all", "any", "not"):
        raise RuleError(path, f"Groups may be at most {MAX_LEVELS} levels deep.")
    return KINDS[kinds[0]](node, path, level, known)


def _all(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    return rules.All(_group(node, "all", path, level, known))


def _any(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    return rules.Any(_group(node, "any", path, level, known))


def _group(node: Node, kind: str, path: str, level: int, known: Known) -> tuple[rules.Rule, ...]:
    shapes.only(node, {kind}, path)
    at = shapes.join(path, kind)
    inner = shapes.a_list(node[kind], at, "at least one rule")
    return tuple(_rule(rule, shapes.join(at, n), level + 1, known) for n, rule in enumerate(inner))


def _not(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    shapes.only(node, {"not"}, path)
    return rules.Not(_rule(node["not"], shapes.join(path, "not"), level + 1, known))


def _member(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    shapes.only(node, {"segment"}, path)
    at = shapes.join(path, "segment")
    key = shapes.a_text(node["segment"], at, "the key of a segment")
    return replace(known.segment(key, at), path=path)


def _field(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    shapes.only(node, {"field", "op", "value"}, path)
    at = shapes.join(path, "field")
    name = shapes.a_text(node["field"], at, "the name of a customer field")
    kind = known.types.get(name) or BUILT_INS.get(name)
    if kind is None and (purpose := _purpose(name)):
        name, kind = consent.PREFIX + purpose, "boolean"
    if kind is None:
        raise RuleError(
            at, f"There is no customer field {name!r}.{shapes.nearest(name, known.types)}"
        )
    return rules.Field(name, operands.read_test(node, (kind,), path, known.zone), path)


def _purpose(name: str) -> str | None:
    """The purpose whose decision this built-in is."""
    if not name.startswith(consent.PREFIX):
        return None
    return consent.normalise(name.removeprefix(consent.PREFIX))


def _event(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    shapes.only(node, {"event", "where", "within", "measure", "property", "op", "value"}, path)
    measure = node.get("measure", "count")
    if measure not in operands.MEASURES:
        shapes.refuse(shapes.join(path, "measure"), measure, operands.MEASURES)
    where = _where(node, path, known)
    return rules.Event(
        names=_event_names(node, path),
        where=where,
        window=operands.read_window(node.get("within"), shapes.join(path, "within"), known.zone),
        measure=measure,
        property=_measured(node, measure, path),
        test=_measure_test(node, measure, path, known),
        path=path,
    )


def _measured(node: Node, measure: str, path: str) -> str | None:
    """The property that is measured."""
    if measure == "count":
        if "property" in node:
            raise RuleError(
                shapes.join(path, "property"), "To count events, leave the property out."
            )
        return None
    if "property" not in node:
        raise RuleError(path, f'The measure {measure} needs a "property", such as "amount".')
    prop = _property(node["property"], shapes.join(path, "property"))
    if prop == rules.TIME and measure in ("sum", "average", "min", "max"):
        raise RuleError(
            shapes.join(path, "property"),
            f"A time has no {measure}; use the measure first or last.",
        )
    return prop


def _measure_test(node: Node, measure: str, path: str, known: Known) -> rules.Test:
    if "op" not in node:
        if measure != "count" or "value" in node:
            raise RuleError(path, f'The measure {measure} needs an "op", such as "at_least".')
        return rules.Test("at_least", "number", Decimal(1))
    if measure not in ("first", "last"):
        return operands.read_test(node, ("number",), path, known.zone)
    prop = node.get("property")
    if prop == rules.TIME:
        return operands.read_test(node, ("datetime",), path, known.zone)
    if prop == rules.AMOUNT:
        return operands.read_test(node, ("number",), path, known.zone)
    return operands.read_test(node, ("string", "number", "datetime", "boolean"), path, known.zone)


def _sequence(node: Node, path: str, level: int, known: Known) -> rules.Rule:
    shapes.only(node, {"sequence", "within"}, path)
    at = shapes.join(path, "sequence")
    steps = shapes.a_list(node["sequence"], at, "at least one step")
    if len(steps) > MAX_STEPS:
        raise RuleError(at, f"A sequence may have at most {MAX_STEPS} steps.")
    return rules.Sequence(
        steps=tuple(_step(step, shapes.join(at, n), n == 0, known) for n, step in enumerate(steps)),
        window=operands.read_window(node.get("within"), shapes.join(path, "within"), known.zone),
        path=path,
    )


def _step(node: JSON, path: str, is_first: bool, known: Known) -> rules.Step:  # noqa: FBT001
    node = shapes.an_object(node, path, "a step")
    shapes.only(node, {"event", "where", "after"}, path)
    if "event" not in node:
        raise RuleError(path, 'A step needs an "event".')
    after = None
    if "after" in node:
        at = shapes.join(path, "after")
        if is_first:
            raise RuleError(at, "The first step has none before it.")
        gap = shapes.an_object(node["after"], at, 'a gap like {"at_most": 2, "unit": "hours"}')
        shapes.only(gap, {"at_most", "unit"}, at)
        after = operands.read_span(gap, "at_most", at)
    return rules.Step(_event_names(node, path), _where(node, path, known), after)


def _event_names(node: Node, path: str) -> tuple[str, ...]:
    at = shapes.join(path, "event")
    given = node["event"]
    if isinstance(given, list):
        names = shapes.a_list(given, at, "at least one event name")
        return tuple(
            shapes.a_text(name, shapes.join(at, n), "an event name") for n, name in enumerate(names)
        )
    return (shapes.a_text(given, at, "an event name or a list of them"),)


def _where(node: Node, path: str, known: Known) -> tuple[rules.Filter, ...]:
    if "where" not in node:
        return ()
    at = shapes.join(path, "where")
    given = node["where"]
    if not isinstance(given, list):
        raise RuleError(at, "This must be a list of filters.")
    if len(given) > MAX_FILTERS:
        raise RuleError(at, f"There may be at most {MAX_FILTERS} filters.")
    return tuple(_filter(item, shapes.join(at, n), known) for n, item in enumerate(given))


def _filter(node: JSON, path: str, known: Known) -> rules.Filter:
    node = shapes.an_object(node, path, "a filter")
    if "channel" in node:
        shapes.only(node, {"channel"}, path)
        if node["channel"] not in ("online", "offline"):
            shapes.refuse(shapes.join(path, "channel"), node["channel"], ("online", "offline"))
        return rules.ChannelFilter(node["channel"])
    if "source" in node:
        shapes.only(node, {"source"}, path)
        at = shapes.join(path, "source")
        source = shapes.a_text(node["source"], at, "the key of a source")
        if source not in known.sources:
            raise RuleError(
                at, f"There is no source {source!r}.{shapes.nearest(source, known.sources)}"
            )
        return rules.SourceFilter(source)
    if "property" not in node:
        raise RuleError(path, "A filter has one of property, channel, source.")
    shapes.only(node, {"property", "op", "value"}, path)
    prop = _property(node["property"], shapes.join(path, "property"))
    kinds = {rules.AMOUNT: ("number",), rules.CURRENCY: ("string",), rules.TIME: ("datetime",)}
    possible = kinds.get(prop, ("string", "number", "datetime", "boolean"))
    return rules.PropertyFilter(prop, operands.read_test(node, possible, path, known.zone))


def _property(given: JSON, path: str) -> str:
    prop = shapes.a_text(given, path, 'a path into the properties, like "products.0.sku"')
    if prop.startswith("@") and prop != rules.TIME:
        raise RuleError(path, f'There is no {prop!r}; "@time" is the instant of the event.')
    if not all(prop.split(".")):
        raise RuleError(path, "A path must not have empty parts.")
    return prop


KINDS: dict[str, Callable[[Node, str, int, Known], rules.Rule]] = {
    "all": _all,
    "any": _any,
    "not": _not,
    "field": _field,
    "event": _event,
    "sequence": _sequence,
    "segment": _member,
}

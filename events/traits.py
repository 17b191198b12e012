"""What identify and group calls tell about customers becomes values of their fields."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from customers import fields
from customers.models import CustomerField
from events import catalogue, quarantine, sources, withholding
from events.cleaning import Message
from events.models import Source
from events.quarantine import Rejected


class Told(NamedTuple):
    """What a message told about a customer."""

    customer_id: int
    message: Message


def came_by(message: Message) -> str:
    """Name the identifier that a message came by: the strongest it has."""
    kind, value = message.identifiers[0]
    return f"{kind}:{value}"


def apply(told: Sequence[Told]) -> None:
    """Set the customers' fields; what was told last counts.

    A value that does not fit its field is refused alone and set aside, and so is one that the
    source may not change. A trait that is no field becomes one if the source creates fields, else
    it is remembered as discovered.
    """
    if not told:
        return
    known = _create_missing(told, fields.known())
    latest: dict[tuple[int, str], tuple[Message, fields.Value]] = {}
    unknown: dict[str, tuple[int, Any]] = {}
    rejected: list[Rejected] = []
    for customer_id, message in told:
        checked = fields.check(message.traits, known)
        source = message.envelope.source
        for name, value in checked.values.items():
            latest[customer_id, name] = (message, value)
        for problem in checked.problems:
            if problem.code == "unknown_field":
                unknown[problem.name] = (source.pk, message.traits[problem.name])
            else:
                code = quarantine.FIELD_TYPE
                rejected.append(_rejected(message, problem.name, code, problem.message))
    for key, (message, reason) in withholding.find(latest).items():
        del latest[key]
        rejected.append(_rejected(message, key[1], quarantine.WITHHELD, reason))
    _set(latest)
    quarantine.add(rejected)
    if unknown:
        catalogue.discover(unknown)


def _create_missing(
    told: Iterable[Told], known: dict[str, CustomerField]
) -> dict[str, CustomerField]:
    missing = {
        name: value
        for _, message in told
        if message.envelope.source.creates_fields
        for name, value in message.traits.items()
        if name not in known and value not in (None, "")
    }
    if missing:
        fields.create_missing(missing)
        known = fields.known()
    return known


def _rejected(message: Message, name: str, code: str, reason: str) -> Rejected:
    """Set aside the call with the one trait that was refused."""
    told = {"type": message.call, "traits": {name: message.traits[name]}}
    event = {**message.event, **told}
    return quarantine.reject(event, message.envelope, code, f"{name}: {reason}")


def _set(latest: Mapping[tuple[int, str], tuple[Message, fields.Value]]) -> None:
    """Write the values, source after source: each is noted with its own values.

    So is each identifier of one customer; all first ones are written together, then the second.
    """
    of_source: dict[Source, dict[int, dict[str, dict[str, fields.Value]]]] = {}
    for (customer_id, name), (message, value) in latest.items():
        by_key = of_source.setdefault(message.envelope.source, {}).setdefault(customer_id, {})
        by_key.setdefault(came_by(message), {})[name] = value
    for source, customers in of_source.items():
        while customers:
            turn = {customer_id: by_key.popitem() for customer_id, by_key in customers.items()}
            fields.set_values(
                {customer_id: values for customer_id, (_, values) in turn.items()},
                source=sources.describe(source),
                came_by={customer_id: key for customer_id, (key, _) in turn.items()},
            )
            customers = {one: by_key for one, by_key in customers.items() if by_key}

"""Decisions as other systems tell them: many at once, each with its own verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from customers import clock, consent, fields, identity, lookups, spelling
from customers.consent import Decision
from customers.models import Consent, CustomerField, FieldType, Identifier
from customers.upserts import Problem, Rejected

WHO = ("customer_id", "customer", "identifier")
MEMBERS = (*WHO, "purpose", "granted", "at", "text_version", "via")
_MOMENT = CustomerField(name="at", type=FieldType.DATETIME)


@dataclass
class Outcome:
    """How many decisions were recorded, and the items that were left out."""

    recorded: int = 0
    errors: list[Rejected] = field(default_factory=list)


@dataclass
class _Item:
    """An item on its way: what can be said of it without looking anybody up."""

    index: int
    who: tuple[str, Any] = ("", None)
    values: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def external_id(self) -> str | None:
        return self.who[1] if self.who[0] == "customer_id" else None


@transaction.atomic
def apply(items: Sequence[Any], *, source: str) -> Outcome:
    """Record decisions: {customer_id | customer | identifier, purpose, granted, at?, …} items.

    Bad items are left out and told. The number of statements does not depend on how many there
    are. Who they are about must be known already.
    """
    now = clock.now()
    read = [_read(index, item, now) for index, item in enumerate(items)]
    customer_of = _customers([one for one in read if not one.problems])
    known = consent.admit({one.values["purpose"] for one in read if not one.problems})
    outcome, decisions = Outcome(), []
    for one in read:
        customer_id = customer_of.get(one.who)
        if not one.problems:
            one.problems += _obstacles(one, customer_id, known)
        if one.problems or customer_id is None:
            external_id = one.external_id
            shown = external_id if isinstance(external_id, str) else None
            outcome.errors.append(Rejected(one.index, shown, one.problems))
        else:
            decisions.append(Decision(customer_id, **one.values))
    consent.record(decisions, source=source)
    outcome.recorded = len(decisions)
    return outcome


def present(item: Mapping[str, Any]) -> Consent:
    """Return the present decision about what an item that was recorded speaks of."""
    who = _who(item, [])
    customer_id = _customers([_Item(0, who)])[who]
    return Consent.objects.get(customer=customer_id, purpose=consent.normalise(item["purpose"]))


def _obstacles(one: _Item, customer_id: int | None, known: set[str]) -> list[Problem]:
    if customer_id is None:
        return [Problem(one.who[0], "unknown", "There is no such customer.")]
    if one.values["purpose"] not in known:
        detail = f"There are {consent.MAX_PURPOSES} purposes: no more come to be in this way."
        return [Problem("purpose", "too_many", detail)]
    return []


def _read(index: int, item: Any, now: datetime) -> _Item:
    one = _Item(index)
    if not isinstance(item, dict):
        one.problems.append(Problem(None, "invalid", "Expected an object."))
        return one
    one.problems += [
        Problem(str(key)[:100], "unknown", spelling.unknown(str(key), MEMBERS))
        for key in item
        if key not in MEMBERS
    ]
    one.who = _who(item, one.problems)
    one.values = {
        "purpose": _purpose(item.get("purpose"), one.problems),
        "granted": _granted(item.get("granted"), one.problems),
        "at": _at(item.get("at"), one.problems) or now,
        "text_version": _text("text_version", item, one.problems),
        "via": _text("via", item, one.problems),
    }
    return one


def _who(item: Mapping[str, Any], problems: list[Problem]) -> tuple[str, Any]:
    given = [(name, item[name]) for name in WHO if item.get(name) not in (None, "")]
    if len(given) != 1:
        detail = "Say who, by one of customer_id (of your CRM), customer (our id) and identifier."
        problems.append(Problem("customer_id", "required", detail))
        return "", None
    (name, value) = given[0]
    if name == "customer":
        is_id = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63
    else:
        value = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        is_id = isinstance(value, str) and (name == "customer_id" or ":" in value)
    if not is_id:
        expected = {"customer": "a whole number", "identifier": "KIND:VALUE"}.get(name, "a text")
        problems.append(Problem(name, "invalid", f"Expected {expected}."))
        return "", None
    return name, value


def _customers(read: Sequence[_Item]) -> dict[tuple[str, Any], int]:
    """Return {(how, who): our id of the customer} of those who are known."""
    asked = {one.who for one in read}
    by_own = lookups.current({value for name, value in asked if name == "customer"})
    by_crm = lookups.by_external_id({value for name, value in asked if name == "customer_id"})
    by_key = _by_identifier({value for name, value in asked if name == "identifier"})
    return {
        **{("customer", value): customer_id for value, customer_id in by_own.items()},
        **{("customer_id", value): customer_id for value, customer_id in by_crm.items()},
        **{("identifier", value): customer_id for value, customer_id in by_key.items()},
    }


def _by_identifier(texts: set[str]) -> dict[str, int]:
    keys = {}
    for text in texts:
        kind, _, value = text.partition(":")
        if normal := identity.normalise(kind, value):
            keys[text] = (kind, normal)
    found = Identifier.objects.filter(
        kind__in={kind for kind, _ in keys.values()}, value__in={v for _, v in keys.values()}
    )
    owners = {(kind, v): c for kind, v, c in found.values_list("kind", "value", "customer_id")}
    return {text: owners[key] for text, key in keys.items() if key in owners}


def _purpose(raw: Any, problems: list[Problem]) -> str:
    key = consent.normalise(raw) if isinstance(raw, str) else None
    if key is None:
        detail = "Expected the key of a purpose, such as newsletter: 1 to 100 characters."
        problems.append(Problem("purpose", "required" if raw is None else "invalid", detail))
    return key or ""


def _granted(raw: Any, problems: list[Problem]) -> bool:
    if not isinstance(raw, bool):
        code = "required" if raw is None else "invalid"
        problems.append(Problem("granted", code, "Expected true or false."))
    return raw is True


def _at(raw: Any, problems: list[Problem]) -> datetime | None:
    try:
        text = fields.parse_value(_MOMENT, raw)
    except fields.FieldValueError as error:
        problems.append(Problem("at", error.code, str(error)))
        return None
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _text(name: str, item: Mapping[str, Any], problems: list[Problem]) -> str:
    raw = item.get(name)
    if raw is not None and not isinstance(raw, str):
        problems.append(Problem(name, "invalid", "Expected a text."))
    return raw if isinstance(raw, str) else ""

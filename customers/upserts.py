"""Customers as another system knows them: created or updated by their CustomerId, in sets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import transaction

from customers import fields, identity, spelling, tombstones
from customers.fields import Value
from customers.models import Customer, CustomerField, Identifier

MEMBERS = ("customer_id", "fields")


class CustomerExistsError(Exception):
    """A CustomerId that somebody has already."""

    def __init__(self, customer_id: int) -> None:
        super().__init__(f"There is a customer with this CustomerId already: {customer_id}.")
        self.customer_id = customer_id


class ErasedError(Exception):
    """A CustomerId of somebody who was erased."""


class Problem(NamedTuple):
    """Why an item was left out; `attr` is the member at fault, as in fields.age."""

    attr: str | None
    code: str
    detail: str

    @property
    def name(self) -> str:
        """The field at fault."""
        return (self.attr or "").removeprefix("fields.")


@dataclass(frozen=True)
class Rejected:
    """An item that was left out, by its place in the list, with every reason."""

    index: int
    customer_id: str | None
    problems: list[Problem]


@dataclass
class Outcome:
    """How many customers were created and updated or had these values already; and the rest."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    errors: list[Rejected] = field(default_factory=list)


def create(external_id: str, values: Mapping[str, Value], *, source: str) -> int:
    """Create a customer and return their id. Raises `CustomerExistsError`, `ErasedError`.

    The CustomerId is normalised and the values are checked. Call it inside a transaction.
    """
    if _erased([external_id]):
        raise ErasedError(tombstones.REASON)
    if owner := _owners([external_id]):
        raise CustomerExistsError(owner[external_id])
    (customer_id,) = _resolve([external_id], source)
    fields.set_values({customer_id: values}, source=source)
    return customer_id


@transaction.atomic
def apply(items: Sequence[Any], *, source: str) -> Outcome:
    """Create or update the customers of {"customer_id", "fields"} items; bad items are left out.

    Of two items for one customer the later wins, field by field. The number of statements does
    not depend on how many items there are.
    """
    outcome = Outcome()
    known = fields.known()
    wanted: dict[str, dict[str, Value]] = {}
    index_of: dict[str, int] = {}
    for index, item in enumerate(items):
        external_id, values, problems = _read(item, known)
        if external_id is None or problems:
            outcome.errors.append(Rejected(index, external_id, problems))
        else:
            wanted.setdefault(external_id, {}).update(values)
            index_of[external_id] = index
    for external_id in _erased(wanted):
        del wanted[external_id]
        problem = Problem("customer_id", "erased", tombstones.REASON)
        outcome.errors.append(Rejected(index_of[external_id], external_id, [problem]))
    outcome.errors.sort(key=lambda rejected: rejected.index)
    if wanted:
        _store(wanted, source, outcome)
    return outcome


def _erased(external_ids: Iterable[str]) -> list[str]:
    keys = tombstones.erased([(identity.CUSTOMER_ID, each) for each in external_ids])
    return sorted(external_id for _, external_id in keys)


def _store(wanted: Mapping[str, Mapping[str, Value]], source: str, outcome: Outcome) -> None:
    external_ids = sorted(wanted)
    owners = _owners(external_ids)
    customer_ids = dict(zip(external_ids, _resolve(external_ids, source), strict=True))
    present = dict(
        Customer.objects.filter(id__in=customer_ids.values()).values_list("id", "fields")
    )
    for external_id, customer_id in customer_ids.items():
        if external_id not in owners:
            outcome.created += 1
        elif _differ(present[customer_id], wanted[external_id]):
            outcome.updated += 1
        else:
            outcome.unchanged += 1
    values = {customer_ids[external_id]: values for external_id, values in wanted.items()}
    fields.set_values(values, source=source)


def _owners(external_ids: Sequence[str]) -> dict[str, int]:
    found = Identifier.objects.filter(kind=identity.CUSTOMER_ID, value__in=external_ids)
    return dict(found.values_list("value", "customer_id"))


def _resolve(external_ids: Sequence[str], source: str) -> list[int]:
    keys = [(identity.CUSTOMER_ID, external_id) for external_id in external_ids]
    return identity.resolve([identity.Person((key,), cause=source) for key in keys]).customer_ids


def _differ(present: Mapping[str, Any], wanted: Mapping[str, Value]) -> bool:
    return any(present.get(name) != value for name, value in wanted.items())


def _read(
    item: Any, known: Mapping[str, CustomerField]
) -> tuple[str | None, dict[str, Value], list[Problem]]:
    """Return the CustomerId and the typed values of an item, and what is wrong with it."""
    if not isinstance(item, dict):
        return None, {}, [Problem(None, "invalid", "Expected an object.")]
    problems = [
        Problem(str(key)[:100], "unknown", spelling.unknown(str(key), MEMBERS))
        for key in item
        if key not in MEMBERS
    ]
    external_id, problem = read_external_id(item.get("customer_id"))
    values, faults = read_values(item.get("fields", {}), known)
    return external_id, values, problems + ([problem] if problem else []) + faults


def read_external_id(raw: Any) -> tuple[str | None, Problem | None]:
    """Return a CustomerId as we keep it, or what is wrong with it. A whole number becomes text."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw)
    if raw is None or raw == "":
        return None, Problem("customer_id", "required", "A CustomerId is needed.")
    if not isinstance(raw, str):
        return None, Problem("customer_id", "invalid", "A CustomerId is a text.")
    normal = identity.normalise(identity.CUSTOMER_ID, raw)
    if normal is None:
        detail = f"This cannot be a CustomerId: it {identity.objection(identity.CUSTOMER_ID, raw)}."
        return None, Problem("customer_id", "invalid", detail)
    return normal, None


def read_values(
    raw: Any, known: Mapping[str, CustomerField]
) -> tuple[dict[str, Value], list[Problem]]:
    """Return {field name: typed value}, and what is wrong with the others."""
    if not isinstance(raw, dict):
        return {}, [Problem("fields", "invalid", "Expected an object of field names and values.")]
    checked = fields.check(raw, known)
    return checked.values, [
        Problem(f"fields.{problem.name[:100]}", problem.code, _advised(problem, known))
        for problem in checked.problems
    ]


def _advised(problem: fields.Problem, known: Mapping[str, CustomerField]) -> str:
    if problem.code != "unknown_field":
        return problem.message
    return problem.message + spelling.suggestion(problem.name, known)

"""Columns of a file that hold decisions about consent: `@consent.<purpose>`, true or false."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TypeAlias

from customers import consent
from customers.consent import PREFIX, Decision
from customers.imports import shapes, sql
from customers.imports.shapes import Given
from customers.models import ConsentPurpose, CustomerField, FieldType, Import

Answers: TypeAlias = dict[str, dict[str, bool]]  # by CustomerId and purpose


def known() -> dict[str, CustomerField]:
    """Return the purposes there are, as if they were fields; no field's name begins with an @."""
    return {
        PREFIX + purpose.key: CustomerField(
            id=-number,  # for counting: a field's is greater than 0
            name=PREFIX + purpose.key,
            type=FieldType.BOOLEAN,
            label=f"Consent: {purpose.label or purpose.key}",
        )
        for number, purpose in enumerate(ConsentPurpose.objects.order_by("pk"), 1)
    }


def is_meant(name: str) -> bool:
    return name[: len(PREFIX)].lower() == PREFIX


def normalised(name: str) -> str:
    """Return the name of a column as it is looked up: purposes are compared without case."""
    if not is_meant(name):
        return name
    return PREFIX + (consent.normalise(name[len(PREFIX) :]) or "")


def create(name: str) -> str | None:
    """Make the purpose that a column is named after; say what is wrong with its name, if anything.

    There may be so many purposes only, as everywhere.
    """
    key = consent.normalise(name[len(PREFIX) :])
    if key is None:
        return "The key of a purpose has 1 to 100 characters."
    return None if consent.admit([key]) else f"There are {consent.MAX_PURPOSES} purposes already."


def taken(customers: Mapping[str, Given]) -> tuple[dict[str, Given], Answers]:
    """Take the decisions out of what is said of customers; return the rest, and them."""
    rest: dict[str, Given] = {}
    answers: Answers = {}
    for customer_id, (shape, cells) in customers.items():
        rest[customer_id] = shape, cells
        if not any(map(is_meant, shape.names)):
            continue
        values = shape.values(cells)
        told = {name: values.pop(name) for name in shape.names if is_meant(name)}
        rest[customer_id] = shapes.given(values)
        if granted := {name: each == "true" for name, each in told.items() if each != "null"}:
            answers[customer_id] = granted
    return rest, answers


def record(run: Import, answers: Answers, decided_at: datetime | None) -> set[int]:
    """Record decisions, made when the file was uploaded unless it is said otherwise.

    Returns the ids of whose they are. Call it inside a transaction, once the customers exist.
    """
    owners = sql.select_owners([*answers])
    at = decided_at or run.created_at
    decisions = [
        Decision(owners[customer_id], name.removeprefix(PREFIX), granted, at, via=origin(run))
        for customer_id, told in answers.items()
        if customer_id in owners
        for name, granted in told.items()
    ]
    consent.record(decisions, source=f"import “{run.file_name}”")
    return {*owners.values()}


def take_back(run: Import, customer_ids: Collection[int]) -> None:
    """Forget what a file said these customers decided; they must be held."""
    consent.take_back(customer_ids, origin(run))


def origin(run: Import) -> str:
    return f"import {run.pk}"

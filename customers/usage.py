"""How many customers have a value of each field, and what these look like."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.core.cache import cache
from django.utils import timezone
from django_q.tasks import async_task

from customers import adminkit, forms
from customers.models import Customer, CustomerField
from customers.sql import lists

COUNTED_AT_ONCE: Final = 20_000  # customers; above, the queue counts and figures are kept
KEPT: Final = timedelta(minutes=10)
SAMPLED: Final = 300  # customers, the newest and as many of the oldest, for examples
EXAMPLES: Final = 3
_LONG = 40  # characters of an example


class Usage(NamedTuple):
    """`holders` is None while nobody has counted; `total` counts all customers."""

    holders: int | None
    total: int
    examples: Sequence[str]

    @property
    def percent(self) -> int:
        return min(100, round(100 * (self.holders or 0) / self.total)) if self.total else 0


def of(fields: Iterable[CustomerField]) -> dict[str, Usage]:
    """Return the usage of fields by name: counted now, or among many customers as last kept."""
    if adminkit.estimated_rows(Customer) <= COUNTED_AT_ONCE:
        counts = lists.count_values()
        examples = _examples(fields)
        total = Customer.objects.current().count()
        return {f.name: Usage(counts.get(f.name, 0), total, examples[f.name]) for f in fields}
    total = adminkit.count_rows(Customer)
    if any(f.counted_at is None or f.counted_at < timezone.now() - KEPT for f in fields):
        _ask()
    return {f.name: Usage(f.holders, total, f.examples) for f in fields}


def refresh() -> None:
    """Count anew and keep the figures; a task of the queue."""
    counts = lists.count_values()
    fields = list(CustomerField.objects.all())
    examples = _examples(fields)
    for field in fields:
        field.holders = counts.get(field.name, 0)
        field.examples = [*examples[field.name]]
        field.counted_at = timezone.now()
    CustomerField.objects.bulk_update(fields, ["holders", "examples", "counted_at"])


def _ask() -> None:
    """Have the queue count, unless somebody asked a moment ago."""
    if cache.add("customers.usage", True, timeout=120):
        async_task("customers.usage.refresh")


def _examples(fields: Iterable[CustomerField]) -> Mapping[str, Sequence[str]]:
    """The commonest values of each field among some customers, as people read them.

    Those are the newest; and the oldest, for what the newest, often visitors, lack.
    """
    seen: dict[str, Counter[str]] = {field.name: Counter() for field in fields}
    by_name = {field.name: field for field in fields}
    for order in ("-pk", "pk"):
        lacking = {name for name, counter in seen.items() if not counter}
        found = Customer.objects.current().order_by(order).values_list("fields", flat=True)
        for values in found[:SAMPLED] if lacking else ():
            for name in lacking & values.keys():
                seen[name][_shortened(by_name[name], values[name])] += 1
    return {name: [text for text, _ in c.most_common(EXAMPLES)] for name, c in seen.items()}


def _shortened(field: CustomerField, value: Any) -> str:
    text = forms.plain(field, value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"

"""What a website may not change: values that others have told of identified customers."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from customers import fields
from customers.models import Customer
from events import sources
from events.cleaning import Message
from events.sql import history

Told: TypeAlias = Mapping[tuple[int, str], tuple[Message, fields.Value]]

REASON: Final = (
    "a website does not change what others told of a customer with a CustomerId. Allow it in the "
    "settings of the source, then send this through again."
)


def find(latest: Told) -> dict[tuple[int, str], tuple[Message, str]]:
    """Return which of the values, by (customer id, field), must be left, each with the reason.

    Those of a source that is not trusted with it, of a customer with a CustomerId, where another
    value is that came from elsewhere.
    """
    suspects = {
        key: message
        for key, (message, _) in latest.items()
        if sources.is_protective(message.envelope.source)
    }
    if not suspects:
        return {}
    ids = {customer_id for customer_id, _ in suspects}
    identified = Customer.objects.filter(pk__in=ids, external_id__isnull=False)
    present = dict(identified.values_list("pk", "fields"))
    changing = [
        (customer_id, name)
        for customer_id, name in suspects
        if (value := present.get(customer_id, {}).get(name)) is not None
        and value != latest[customer_id, name][1]
    ]
    origins = history.select_origins(changing) if changing else {}
    return {
        key: (suspects[key], REASON)
        for key in changing
        if origins.get(key) != sources.describe(suspects[key].envelope.source)
    }

"""What the tests of events read from the database."""

from customers.models import Customer
from events.models import Event, Quarantine


def people():
    """Each current customer as {kind: sorted values} of identifiers, oldest first."""
    result = []
    for customer in Customer.objects.current().order_by("id").prefetch_related("identifiers"):
        kinds = {}
        for row in customer.identifiers.all():
            kinds.setdefault(row.kind, []).append(row.value)
        result.append({kind: sorted(values) for kind, values in sorted(kinds.items())})
    return result


def events_of(**identifier):
    """Names of the events of whoever has this identifier, in the order received."""
    ((kind, value),) = identifier.items()
    found = Event.objects.filter(
        customer__identifiers__kind=kind, customer__identifiers__value=value
    )
    return [event.name.name for event in found.select_related("name").order_by("id")]


def reasons():
    return [*Quarantine.objects.order_by("id").values_list("code", flat=True)]

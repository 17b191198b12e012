"""What the tests of events share: a source, and requests sent to it and taken in."""

import json

import pytest
from django.db import transaction

from customers.models import Customer
from events import inbox
from events.models import Event, Quarantine


@pytest.fixture
def source(make_source):
    return make_source("shop")


@pytest.fixture
def send(client, source):
    """POST an object (or raw bytes) to a collection path with the source's key."""

    def post(path, body, key=source.write_key, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers.setdefault("X-Write-Key", key)
        return client.post(path, raw, content_type="text/plain", headers=headers)

    return post


@pytest.fixture
def take_in():
    """Let the pipeline take in what waits."""

    def run():
        with transaction.atomic():
            return inbox.process(1_000)

    return run


@pytest.fixture
def tell(send, take_in):
    """Send one call after the other, each taken in before the next is sent."""

    def run(*calls, together=False):
        if together:
            assert send("/v1/batch", {"batch": calls}).status_code == 200
            return take_in()
        for call in calls:
            assert send(f"/v1/{call.get('type', 'track')}", call).status_code == 200
            take_in()
        return None

    return run


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

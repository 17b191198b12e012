"""The API keeps what its OpenAPI description says, whatever is sent."""

import json
import os
import re
from io import BytesIO

import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import Client, override_settings
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.specs.openapi import checks

from activation import destinations, outbox, triggers
from activation.models import Destination, Trigger
from cdp import apikeys, exports
from customers import consent, imports, suppression
from customers.models import Customer, CustomerField, Erasure, PossibleDuplicate
from events.models import Event, EventName, Quarantine, Source, Waiting
from segments import definitions, filling
from segments.models import Segment
from tests.makers import NOON

EXAMPLES = int(os.environ.get("CDP_EXAMPLES", "60")) // 12  # of each operation

schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())
if EXAMPLES < 10:  # else also every boundary of every member, which takes minutes
    schema.config.phases.update(phases=["examples", "fuzzing"])

# We take more than we describe (a number for a text) and refuse more (a rule that says nothing).
NOT_PROMISED = [checks.negative_data_rejection, checks.positive_data_acceptance]


@pytest.fixture(scope="module")
def _stored(django_db_setup, django_db_blocker):
    """A key, and rows, over a connection that outlives requests; what tests change is undone."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    with django_db_blocker.unblock(), transaction.atomic(), override_settings(DEMO=True):
        key = apikeys.create("schemathesis")
        yield key[1], store(key[0])
        transaction.set_rollback(True)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def stored(_stored, db):
    cache.clear()  # so that there are not too many requests a minute
    return _stored


def store(key):
    """Make what is there to be read and changed; return {resource: parameters of its paths}."""
    CustomerField.objects.create(name="age", type="number")
    customer = Customer.objects.create(external_id="a", fields={"age": 40})
    other = Customer.objects.create(external_id="b")
    absorbed = Customer.objects.create(merged_into=customer)
    for one in (customer, other):
        one.identifiers.create(kind="customer_id", value=one.external_id)
    merge = customer.merges.create(absorbed_id=absorbed.pk, cause="x", identifiers=[])
    decision = consent.Decision(customer.pk, "mail", granted=True, at=NOON)
    consent.record([decision], source="test")
    suppression.add("email", ["a@example.com"], "manual", "test")
    rule = {"field": "age", "op": "at_least", "value": 18}
    segment = Segment(key="x", name="X", rule=rule)
    definitions.save(segment)
    while filling.fill_next():
        pass
    # Loopback is open, and nobody listens there.
    destination = Destination(key="x", name="X", config={"url": "http://127.0.0.1:9/"})
    destinations.save(destination)
    trigger = Trigger(key="x", name="X", segment=segment, destination=destination)
    triggers.save(trigger)
    more = {"kind": "website", "channel": "online", "currency": "CHF"}
    source = Source.objects.create(key="x", name="X", write_key="wk_x", **more)
    name = EventName.objects.create(name="Order Completed")
    stored = {"message_id": "m", "came_by": "", "occurred_at": NOON, "properties": {}}
    Event.objects.create(customer=customer, name=name, source=source, **stored)
    refused = Quarantine.objects.create(source=source, call="track", code="no_name", body="{}")
    waiting = Waiting.objects.create(source=source, email="a@x.com", body="{}")
    pair = PossibleDuplicate.objects.create(one=customer, other=other, score=12, reasons=[])
    proof = Erasure.objects.create(by="x", counts={"events": 1}, digests=["0"])
    run = imports.create(BytesIO(b"customerId,age\n1,2\n"), name="ages.csv")
    export = exports.create("customers", "csv", "", apikeys.ApiKeyUser(key), filters={})
    exports.run(export.pk)
    return {
        "customer-fields": {"name": "age"},
        "possible-duplicates": {"id": pair.pk},
        "erasures": {"id": str(proof.pk)},
        "customers": {"id": customer.pk, "merge_id": merge.id},
        "consent-purposes": {"key": "mail"},
        "imports": {"id": run.pk},
        "exports": {"id": export.pk},
        "segments": {"key": "x"},
        "sources": {"key": "x"},
        "event-names": {"id": name.pk},
        "quarantine": {"id": refused.pk},
        "waiting-events": {"id": waiting.pk},
        "destinations": {"key": "x"},
        "triggers": {"key": "x"},
        "deliveries": {"id": str(outbox.send_test(trigger, customer.pk).delivery_id)},
    }


@schema.parametrize()
@examples(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case, stored):
    key, parameters = stored
    resource = case.path.split("/")[2]
    if "{" in case.path:
        case.path_parameters = {**case.path_parameters, **parameters[resource]}
    else:
        case.path_parameters = {}
    headers = {"Authorization": f"Bearer {key}"}
    case.call_and_validate(headers=headers, excluded_checks=NOT_PROMISED)


def test_description_asks_for_nothing_from_outside():
    page = Client().get("/api/docs/").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "http://" not in page
    assert "https://" not in page
    description = json.loads(Client().get("/api/schema/").content)
    assert description["openapi"] == "3.1.0"
    # Those whose name was taken end in digits of a hash: ENUM_NAME_OVERRIDES must name them.
    names = [name for name in description["components"]["schemas"] if name.endswith("Enum")]
    assert [name for name in names if re.search("[0-9a-f]{3}Enum", name)] == []

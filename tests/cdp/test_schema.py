"""The API keeps what its OpenAPI description says, whatever is sent."""

import json
import os
import re
from io import BytesIO

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.specs.openapi import checks

from activation import destinations, outbox, triggers
from activation.models import Destination, Trigger
from cdp import apikeys, exports
from customers import consent, imports, suppression
from customers.models import Erasure, PossibleDuplicate
from events.models import EventName, Quarantine, Waiting
from tests.makers import NOON

EXAMPLES = int(os.environ.get("CDP_EXAMPLES", "60")) // 12  # of each operation

schema = schemathesis.openapi.from_wsgi("/api/schema/", get_wsgi_application())
if EXAMPLES < 10:  # else also every boundary of every member, which takes minutes
    schema.config.phases.update(phases=["examples", "fuzzing"])

# We take more than we describe (a number for a text) and refuse more (a rule that says nothing).
NOT_PROMISED = [checks.negative_data_rejection, checks.positive_data_acceptance]


@pytest.fixture
def key(db):
    """A key, and a connection that outlives its requests."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield apikeys.create("schemathesis")
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def stored(key, make_field, make_customer, make_source, make_event, make_segment, settings):
    """What is there to be read and changed: {resource: parameters of its paths}."""
    make_field("age", "number")
    customer = make_customer("a", fields={"age": 40})
    absorbed = make_customer(merged_into=customer)
    merge = customer.merges.create(absorbed_id=absorbed.pk, cause="x", identifiers=[])
    decision = consent.Decision(customer.pk, "mail", granted=True, at=NOON)
    consent.record([decision], source="test")
    suppression.add("email", ["a@example.com"], "manual", "test")
    segment = make_segment({"field": "age", "op": "at_least", "value": 18}, "x")
    settings.DEMO = True  # opens loopback, where nobody listens
    destination = Destination(key="x", name="X", config={"url": "http://127.0.0.1:9/"})
    destinations.save(destination)
    trigger = Trigger(key="x", name="X", segment=segment, destination=destination)
    triggers.save(trigger)
    source = make_event(customer=customer, source=make_source("x")).source
    refused = Quarantine.objects.create(source=source, call="track", code="no_name", body="{}")
    waiting = Waiting.objects.create(source=source, email="a@x.com", body="{}")
    pair = PossibleDuplicate.objects.create(
        one=customer, other=make_customer("b"), score=12, reasons=[]
    )
    proof = Erasure.objects.create(by="x", counts={"events": 1}, digests=["0"])
    run = imports.create(BytesIO(b"customerId,age\n1,2\n"), name="ages.csv")
    export = exports.create("customers", "csv", "", apikeys.ApiKeyUser(key[0]), filters={})
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
        "event-names": {"id": EventName.objects.get().pk},
        "quarantine": {"id": refused.pk},
        "waiting-events": {"id": waiting.pk},
        "destinations": {"key": "x"},
        "triggers": {"key": "x"},
        "deliveries": {"id": str(outbox.send_test(trigger, customer.pk).delivery_id)},
    }


@schema.parametrize()
@examples(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_described(case, key, stored):
    resource = case.path.split("/")[2]
    case.path_parameters = {**case.path_parameters, **stored[resource]} if "{" in case.path else {}
    headers = {"Authorization": f"Bearer {key[1]}"}
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

"""Personal data are seen by those who may, and by nobody else, wherever they stand."""

import json

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from activation import destinations, outbox, triggers
from activation.models import Destination, Trigger
from cdp import apikeys
from customers import fields, masking, search
from customers.imports import reports
from customers.models import Identifier, Import
from events.models import Quarantine, Waiting
from tests.makers import Api

pytestmark = pytest.mark.django_db

SECRETS = ("Zebulon", "zeb@secret.example", "+41791112233", "1999-09-09", "old@secret.example")
RULE = {"any": [{"field": "firstName", "op": "exists"}, {"field": "born", "op": "exists"}]}


@pytest.fixture
def person(make_field, make_customer, make_event, make_segment, settings):
    """Somebody with personal data in every place; addresses of all pages that tell of them."""
    settings.DEMO = True  # opens loopback, where nobody listens
    for name in ("firstName", "born"):
        make_field(name, is_personal=True)
    for name in ("email", "city"):
        make_field(name)
    customer = make_customer("Z-1")
    values = {"firstName": "Zebulon", "email": "zeb@secret.example", "born": "1999-09-09"}
    with transaction.atomic():
        fields.set_values({customer.pk: {"email": "old@secret.example"}}, source="test")
        fields.set_values({customer.pk: values | {"city": "Bern"}}, source="test")
    Identifier.objects.create(kind="email", value="zeb@secret.example", customer=customer)
    Identifier.objects.create(kind="phone", value="+41791112233", customer=customer)
    sent = {"first_name": "Zebulon", "note": "call +41791112233", "list": [{"born": "1999-09-09"}]}
    event = make_event(customer=customer, properties=sent)
    segment = make_segment(RULE, "x")
    destination = Destination(key="x", name="X", config={"url": "http://127.0.0.1:9/"})
    destinations.save(destination)
    trigger = Trigger(key="x", name="X", segment=segment, destination=destination)
    triggers.save(trigger)
    delivery = outbox.send_test(trigger, customer.pk).delivery_id
    body = json.dumps({"traits": {"firstName": "Zebulon", "email": "zeb@secret.example"}})
    refused = Quarantine.objects.create(source=event.source, call="track", code="x", body=body)
    email = "zeb@secret.example"
    waiting = Waiting.objects.create(source=event.source, email=email, body=body)
    run = Import.objects.create(kind="customer_fields", file="x", file_name="x", file_size=1)
    run.problems.create(line=1, code="x", message="x", row=["Zebulon"])
    return {
        "customer": customer.pk,
        "segment": segment.pk,
        "trigger": trigger.pk,
        "delivery": delivery,
        "refused": refused.pk,
        "run": run.pk,
        "waiting": waiting.pk,
    }


LIST = "/admin/customers/customer/"
PAGES = (
    "",
    "search/?s=zeb@secret.example",
    "customers/customer/",
    "customers/customer/?q=zeb@secret.example",
    "customers/customer/{customer}/",
    "customers/customer/{customer}/timeline/",
    "customers/customer/{customer}/change/",
    "segments/segment/",
    "segments/segment/{segment}/",
    "segments/segment/{segment}/explain/{customer}/",
    "activation/delivery/",
    "activation/delivery/{delivery}/",
    "activation/trigger/{trigger}/",
    "events/quarantine/",
    "events/quarantine/{refused}/change/",
    "customers/import/{run}/",
    "customers/import/{run}/errors.csv",
)
ENDPOINTS = (
    "customers/",
    "customers/?email=zeb@secret.example",
    "customers/{customer}/",
    "customers/{customer}/changes/",
    "customers/{customer}/events/",
    "customers/{customer}/export/",
    "customers/{customer}/explain/?segment=x",
    "customers/{customer}/identifiers/",
    "deliveries/",
    "deliveries/{delivery}/",
    "events/",
    "quarantine/",
    "quarantine/{refused}/",
    "waiting-events/",
    "waiting-events/{waiting}/",
    "imports/{run}/errors.csv",
)


def seen(answer):
    text = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return [secret for secret in SECRETS if secret in text.decode()]


@pytest.mark.parametrize("path", PAGES)
def test_viewer_reads_no_personal_data_on_any_page(person, member, path):
    address = f"/admin/{path.format(**person)}"
    client = member("Viewer")
    answer = client.get(address, follow=True)
    assert answer.status_code in (200, 403)
    assert "errors" in path or answer.status_code == 200 or "change" in path
    assert seen(answer) == []


def test_no_list_of_the_admin_shows_a_viewer_personal_data(person, member):
    client = member("Viewer")
    for model in admin.site._registry:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert seen(client.get(address, follow=True)) == [], address


@pytest.mark.parametrize(
    "path", ["customers/customer/{customer}/", "customers/customer/?q=zeb@secret.example"]
)
@pytest.mark.parametrize("roles", [["Marketer"], ["Administrator"], ["Viewer", "Personal data"]])
def test_who_may_see_personal_data_does(person, member, path, roles):
    client = member(roles[0])
    for role in roles[1:]:
        User.objects.get().groups.add(Group.objects.get(name=role))
    assert "zeb@secret.example" in seen(client.get(f"/admin/{path.format(**person)}"))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_key_without_the_scope_reads_no_personal_data(person, path):
    scopes = {*apikeys.ALL_SCOPES} - {apikeys.PERSONAL_DATA}
    client = Client(headers={"Authorization": f"Bearer {apikeys.create('x', scopes)[1]}"})
    answer = client.get(f"/api/{path.format(**person)}")
    assert answer.status_code == (403 if "export" in path or "errors" in path else 200)
    assert seen(answer) == []


def test_preview_and_writes_answer_masked_too(person):
    scopes = {*apikeys.ALL_SCOPES} - {apikeys.PERSONAL_DATA}
    api = Api(apikeys.create("x", scopes)[1])
    found = api.post("/api/segments/preview/", {"rule": RULE})[1]
    assert found["sample"][0]["fields"]["firstName"] == masking.MASK
    status, answer = api.patch(
        f"/api/customers/{person['customer']}/", {"fields": {"firstName": "Zoe", "city": "Chur"}}
    )
    assert (status, answer["fields"]["firstName"], answer["fields"]["city"]) == (
        *(200, masking.MASK),
        "Chur",
    )


@pytest.mark.parametrize(("role", "status"), [("Viewer", 403), ("Marketer", 201)])
def test_roles_that_change_customers_record_decisions_over_the_api_too(
    person, member, role, status
):
    decision = {"customer": person["customer"], "purpose": "mail", "granted": False}
    client = member(role)
    assert client.get("/api/consents/").status_code == 200
    answer = client.post("/api/consents/", decision, content_type="application/json")
    assert answer.status_code == status


def test_mask_sent_back_is_no_value(person, api):
    status, answer = api.patch(
        f"/api/customers/{person['customer']}/", {"fields": {"firstName": masking.MASK}}
    )
    assert (status, answer["errors"][0]["code"]) == (400, "masked")


def test_viewer_signed_in_reads_the_api_masked(person, member):
    client = member("Viewer")
    for path in ("customers/", "customers/{customer}/changes/", "customers/{customer}/export/"):
        assert seen(client.get(f"/api/{path.format(**person)}")) == []


def test_names_of_things_are_no_names_of_people(make_field, person):
    make_field("name", is_personal=True)
    scopes = {*apikeys.ALL_SCOPES} - {apikeys.PERSONAL_DATA}
    api = Api(apikeys.create("x", scopes)[1])
    assert api.get("/api/segments/x/")[1]["name"] == "X"
    assert {field["name"] for field in api.get("/api/customer-fields/")[1]["results"]} > {"name"}


def test_error_file_itself_holds_the_lines(person):
    assert "Zebulon" in "".join(reports.error_file(Import.objects.get()))


GUESS = {"field": "firstName", "op": "is", "value": "Zebulon"}
OF_EVENT = {
    "event": "*",
    "measure": "count",
    "op": "at_least",
    "value": 1,
    "where": [{"property": "first_name", "op": "is", "value": "Zebulon"}],
}


def test_guesses_of_a_viewer_tell_nothing(person, member):
    search.rebuild()
    client = member("Viewer")
    found = {
        query: f"/customer/{person['customer']}/" in client.get(LIST, {"q": query}).content.decode()
        for query in ("Z-1", "bern", "zeb@secret.example", "zeb@sec", "zebu", "+417911", "secret")
    }
    assert {query for query, is_found in found.items() if is_found} == {
        *("Z-1", "bern", "zeb@secret.example")
    }
    for name in ("firstName", "email"):
        page = client.get(LIST, {f"field.{name}[starts_with]": "z"}).content.decode()
        assert "There is no customer field called" in page
        assert client.get("/admin/segments/segment/suggest/", {"field": name}).json() == {
            "values": []
        }
    for rule in (GUESS, {"all": [{"not": GUESS}]}, OF_EVENT):
        answer = client.post(
            "/admin/segments/segment/preview/", {"rule": rule}, content_type="application/json"
        )
        assert "may not see" in answer.content.decode()


def test_guesses_of_a_key_tell_nothing(person):
    search.rebuild()
    scopes = {*apikeys.ALL_SCOPES} - {apikeys.PERSONAL_DATA}
    api = Api(apikeys.create("x", scopes)[1])
    for query in ("field.firstName=Zebulon", "field.email[contains]=zeb"):
        assert api.get(f"/api/customers/?{query}")[0] == 400
    assert api.get("/api/customers/?q=zebul")[1]["results"] == []
    assert len(api.get("/api/customers/?q=bern")[1]["results"]) == 1
    assert api.post("/api/segments/preview/", {"rule": GUESS})[0] == 400
    wanted = {"key": "y", "name": "Y", "rule": GUESS}
    assert api.post("/api/segments/", wanted)[0] == 400
    assert api.patch("/api/segments/x/", {"rule": GUESS})[0] == 400
    assert api.patch("/api/segments/x/", {"name": "Ex"})[0] == 200

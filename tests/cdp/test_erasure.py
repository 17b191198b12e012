"""Erasing a person: nothing is left in the database, and nothing brings them back."""

import json
from io import BytesIO

import pytest
from django.core.files.storage import default_storage
from django.core.management import CommandError, call_command
from django.db import connection

from cdp import erasure, pipeline
from customers import imports, tombstones
from customers.models import Customer, Erasure, Identifier, Import, Merge, Tombstone
from events.models import DiscoveredField, Event, Inbox, Quarantine
from tests.cdp.test_identities import picture
from tests.cdp.test_identities import send as send

pytestmark = pytest.mark.django_db

# What is nobody else's; each must be gone.
STRINGS = ["u-ann-77", "a-phone-77", "ann.77@example.com", "791234577", "Annabelle77", "secret77"]


@pytest.fixture(autouse=True)
def log(settings, tmp_path):
    settings.ERASURE_LOG = tmp_path / "erasures.jsonl"
    return settings.ERASURE_LOG


@pytest.fixture
def upload(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path

    def upload(text, **more):
        return imports.create(BytesIO(text.encode()), name="file.csv", **more)

    return upload


def everything():
    """Every row of every table as text: what a dump of the database would hold."""
    found = []
    with connection.cursor() as cursor:
        # Temporary tables are empty when a transaction ends, which in a test never happens.
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            found += [f"{table}: {row[0]}" for row in cursor.fetchall()]
            if table == "events_inbox":
                cursor.execute("SELECT convert_from(body, 'UTF8') FROM events_inbox")
                found += [f"body: {row[0]}" for row in cursor.fetchall()]
    return found


def left_of(strings=STRINGS):
    return [row for row in everything() for text in strings if text.lower() in row.lower()]


ANN = {"userId": "u-ann-77", "anonymousId": "a-phone-77"}
TRAITS = {"email": "Ann.77@example.com", "phone": "+41 79 123 45 77", "firstName": "Annabelle77"}


def ann(**more):
    return {"type": "track", "event": "Bought", "properties": {"note": "secret77"}, **ANN, **more}


@pytest.fixture
def known(send, make_field, make_segment, upload, api):
    """Ann and Bob, with traces of her wherever there can be some."""
    for name in ("email", "phone", "firstName"):
        make_field(name)
    make_segment({"event": "Bought"}, "buyers")
    send({"type": "track", "event": "Seen", "anonymousId": "a-phone-77"})
    send({"type": "identify", "userId": "u-ann-77", "traits": TRAITS}, ann())
    send({"type": "identify", **ANN, "traits": {"nickname": "Annabelle77"}})
    send({"type": "track", "userId": "u-ann-77"})  # has no name
    send({"type": "track", "traits": {"email": TRAITS["email"]}, "event": ""})
    send({"type": "track", "userId": "uBob", "event": "Bought"}, "track uBob")
    assert DiscoveredField.objects.get().example
    lines = ["customerId,fieldName,fieldValue", "u-ann-77,email,ann.77@example.com"]
    lines += ["u-ann-77,nonsense,Annabelle77", "uBob,nonsense,x", "uBob,firstName,Bob"]
    run = upload("\n".join(lines) + "\n")
    imports.check(run.pk)
    while pipeline.refresh(1000):
        pass
    source = Quarantine.objects.first().source
    body = {"batch": [ann(messageId="late-1"), {"type": "track", "event": "B", "userId": "uBob"}]}
    Inbox.objects.create(source=source, call="batch", body=json.dumps(body).encode(), error="odd")
    Inbox.objects.create(source=source, call="track", body=json.dumps(ann()).encode())
    customer = Customer.objects.get(external_id="u-ann-77")
    assert len(left_of()) > 10
    assert Merge.objects.exists()
    return customer


def test_nothing_is_left_of_an_erased_person_and_all_of_the_others(known, api, log):
    assert api.delete(f"/api/customers/{known.pk}/")[0] == 204
    assert left_of() == []
    assert not any(text in log.read_text() for text in STRINGS)
    assert log.stat().st_mode & 0o077 == 0
    (run,) = Import.objects.exclude(file="")
    with default_storage.open(run.file.name) as file:
        assert b"ann" not in file.read().lower()
    assert Quarantine.objects.get().body.count("uBob") == 1
    assert Inbox.objects.count() == 1
    while pipeline.ingest(1000):
        pass
    assert picture() == {"uBob": "Bought"}


def test_nothing_brings_an_erased_person_back(known, api, send, upload):
    api.delete(f"/api/customers/{known.pk}/")
    send(
        ann(messageId="late-2"),
        {"type": "track", "event": "A", "anonymousId": "a-phone-77"},
        {"type": "identify", "anonymousId": "a-new", "traits": TRAITS},
        {"type": "identify", "traits": {"phone": "079 123 45 77"}},
        {"type": "alias", "userId": "u-ann-77", "previousId": "a-new-too"},
    )
    run = upload("customerId,email\nu-ann-77,ann.77@example.com\nuBob,bob@example.com\n")
    imports.check(run.pk)
    imports.apply(run.pk)
    run.refresh_from_db()
    assert run.summary["warnings"]["erased"]["count"] == 1
    status, answer = api.post("/api/customers/", {"customer_id": "u-ann-77"})
    assert (status, answer["errors"][0]["code"]) == (400, "erased")
    items = [{"customer_id": each, "fields": {"firstName": "x"}} for each in ("u-ann-77", "uBob")]
    _, outcome = api.put("/api/customers/", items)
    assert [e["problems"][0]["code"] for e in outcome["errors"]] == ["erased"]
    assert outcome["updated"] == 1
    assert left_of() == []
    assert Customer.objects.count() == 1


def test_another_customer_takes_over_the_device_of_an_erased_one(known, api, send):
    api.delete(f"/api/customers/{known.pk}/")
    send({"type": "track", "event": "A", "userId": "uEve", "anonymousId": "a-phone-77"})
    assert picture() == {"uBob": "Bought", "uEve": "A"}


def test_proof_has_counts_and_no_personal_data(known, api):
    api.delete(f"/api/customers/{known.pk}/")
    status, page = api.get("/api/erasures/")
    (proof,) = page["results"]
    assert (status, proof["by"]) == (200, 'API key "tests"')
    assert proof["counts"]["events"] == 2
    assert proof["counts"]["profiles"] == 2
    assert not any(text in json.dumps(page) for text in STRINGS)


def test_persons_erased_together_have_each_their_own_proof(known, log):
    bob = Customer.objects.get(external_id="uBob")
    proofs = erasure.erase_each([[known.pk], [bob.pk]], by="Anna")
    of_ann, of_bob = sorted((proof.counts for proof in proofs), key=lambda c: -c["profiles"])
    assert (of_ann["profiles"], of_bob["profiles"]) == (2, 1)
    assert (of_ann["events"], of_bob["events"]) == (2, 1)
    assert (of_ann["lines of files"], of_bob["lines of files"]) == (3, 3)
    assert of_ann["events set aside or waiting"] > of_bob["events set aside or waiting"] == 2
    assert Event.objects.count() == Inbox.objects.count() == 0
    assert left_of() == []
    logged = [json.loads(line)["digests"] for line in log.read_text().splitlines()]
    assert sorted(logged) == sorted(proof.digests for proof in proofs)
    assert not {*logged[0]} & {*logged[1]}


def test_erasures_are_done_again_after_a_restore(known, api, log, send, capsys):
    api.delete(f"/api/customers/{known.pk}/")
    Erasure.objects.all().delete()
    Tombstone.objects.all().delete()
    send({"type": "identify", "userId": "u-ann-77", "traits": TRAITS})  # the backup
    assert left_of()
    call_command("reapply_erasures")
    assert "1 person was in the database again" in capsys.readouterr().out
    assert left_of() == []
    send({"type": "track", "event": "A", "anonymousId": "a-phone-77"})  # not in the backup
    assert picture() == {"uBob": "Bought"}
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("reapply_erasures", "nowhere.jsonl")


def test_tombstones_are_kept_for_the_days_set(known, api, send, settings):
    api.delete(f"/api/customers/{known.pk}/")
    settings.TOMBSTONE_DAYS = 30
    assert tombstones.erased([("customer_id", "u-ann-77")])
    Tombstone.objects.update(at="2020-01-01T00:00Z")
    send("track u-ann-77 A")
    assert "u-ann-77" in picture()


def test_somebody_who_asks_is_let_in_again(known, api, send):
    api.delete(f"/api/customers/{known.pk}/")
    call_command("readmit", "customer_id", "u-ann-77")
    send("track u-ann-77 A")
    assert "u-ann-77" in picture()
    with pytest.raises(CommandError, match="not kept out"):
        call_command("readmit", "customer_id", "u-ann-77")


def test_nobody_is_erased_whose_erasure_cannot_be_logged(known, settings, tmp_path):
    settings.ERASURE_LOG = tmp_path
    with pytest.raises(erasure.NotLoggedError):
        erasure.erase([known.pk], by="Anna")
    assert Customer.objects.filter(pk=known.pk).exists()
    assert Event.objects.filter(customer=known).exists()
    assert Identifier.objects.filter(customer=known).exists()

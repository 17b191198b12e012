import io
from decimal import Decimal

import pytest

from cdp import pipeline
from customers import imports as customer_imports
from customers.imports import OptionError, records, running, work
from customers.imports.uploads import FileError
from customers.models import Customer, ImportProblem
from events import imports
from events.models import Event, Quarantine

pytestmark = pytest.mark.django_db

HEADER = "customerId,event,timestamp,revenue,currency,sku\n"
LINE = "C-1,Order Completed,2026-01-31 12:30,49.90,CHF,007\n"


@pytest.fixture
def upload(make_source):
    """Import a text as far as it goes, and let it flow."""
    make_source("till", kind="store", channel="offline")

    def run(text, **options):
        file = io.BytesIO(text.encode())
        made = imports.create(file, name="till.csv", options={"source": "till"} | options)
        imports.apply(made.pk)
        while pipeline.ingest(pipeline.BATCH):
            pass
        made.refresh_from_db()
        return made

    return run


def test_a_line_becomes_an_event_of_the_customer_at_its_time(upload):
    made = upload(HEADER + LINE)
    event = Event.objects.get()
    assert made.state == "done"
    assert made.rows_ok == 1
    assert made.summary["events"] == {"Order Completed": {"count": 1}}
    assert event.customer.external_id == "C-1"
    assert event.source.key == "till"
    assert event.occurred_at.isoformat() == "2026-01-31T11:30:00+00:00"
    assert event.amount == Decimal("49.90")
    assert event.properties["sku"] == "007"


TILL = "Kunde;Datum;Betrag;Filiale;Beleg\nC-1;31.01.2026 12:30;1.249,90;Bern;T-1\n"
MEANT = {"Kunde": "customerId", "datum": "timestamp", "Betrag": "total", "Filiale": ""}


def test_columns_of_a_till_are_mapped_and_all_lines_are_purchases(upload):
    options = {"columns": MEANT, "event": "Order Completed"}
    for _ in range(2):
        made = upload(TILL, numbers="1.234,50", dates="dd.mm.yyyy", **options)
        assert (made.state, made.rows_ok) == ("done", 1)
    event = Event.objects.get()
    assert (event.customer.external_id, event.name.name) == ("C-1", "Order Completed")
    assert event.amount == Decimal("1249.90")
    assert event.properties == {"total": Decimal("1249.90"), "Beleg": "T-1"}
    assert event.occurred_at.isoformat() == "2026-01-31T11:30:00+00:00"


def test_file_whose_columns_nobody_explains_is_refused_with_a_hint(upload):
    with pytest.raises(FileError, match="which column is what"):
        upload(TILL, event="Order Completed", columns={"Kunde": "customerId"})


@pytest.mark.parametrize(
    "wrong", [{"columns": []}, {"columns": {"a": 5}}, {"event": 5}, {"event": "x" * 201}]
)
def test_mapping_of_columns_that_is_none_is_refused(upload, wrong):
    with pytest.raises(OptionError):
        upload(TILL, **wrong)


def test_the_same_file_again_changes_nothing_but_two_equal_purchases_are_two(upload):
    upload(HEADER + LINE + LINE)
    assert Event.objects.count() == 2
    upload(HEADER + LINE + LINE)
    assert Event.objects.count() == 2


def test_good_lines_go_through_and_bad_ones_are_kept_with_their_reason(upload):
    made = upload(
        HEADER
        + LINE
        + "C-2,Order Completed,yesterday,1,CHF,1\n"
        + "C-3,,2026-01-31,1,CHF,1\n"
        + "undefined,Order Completed,2026-01-31,1,CHF,1\n"
        + "C-4,Order Completed\n"
    )
    assert (made.rows_ok, made.rows_failed) == (1, 4)
    codes = dict(ImportProblem.objects.values_list("line", "code"))
    assert codes.pop(6)
    assert codes == {3: "bad_time", 4: "no_name", 5: "no_identity"}
    assert not Quarantine.objects.exists()
    assert "".join(customer_imports.error_file(made)).count("\n") == 5


def test_blank_lines_are_no_events_and_no_errors(upload):
    made = upload(HEADER + ",,,,,\n\n" + LINE)
    assert (made.rows_ok, made.rows_failed) == (1, 0)


def test_file_of_errors_can_be_mended_and_uploaded_again(upload):
    made = upload(HEADER + "C-2,Order Completed,yesterday,-5,CHF,=x\n")
    text = "".join(customer_imports.error_file(made)).removeprefix("\ufeff")
    assert ",'-5,CHF,'=x" in text
    upload(text.replace("yesterday", "2026-01-31"))
    assert Event.objects.get().properties == {"revenue": -5, "currency": "CHF", "sku": "=x"}


def test_equal_lines_far_apart_are_told_apart(upload, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 100)
    text = HEADER + LINE + "".join(f"C-{n},Logged In,2026-01-31,,,\n" for n in range(20)) + LINE
    for _ in range(2):
        upload(text)
        assert Event.objects.filter(name__name="Order Completed").count() == 2
        assert Event.objects.count() == 22


def test_import_cut_short_gives_each_event_once(upload, make_source, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_BYTES", 100)
    make_source("till")
    file = io.BytesIO((HEADER + LINE * 10).encode())
    made = imports.create(file, name="till.csv", options={"source": "till"})
    chunks = []

    def dying(run, chunk):
        tally = imports._apply(run, chunk)
        chunks.append(chunk)
        if len(chunks) == 3:
            raise KeyboardInterrupt
        return tally

    with pytest.raises(KeyboardInterrupt):
        running.work(made.pk, running.APPLY, work.by_records(dying))
    imports.apply(made.pk)
    while pipeline.ingest(pipeline.BATCH):
        pass
    assert Event.objects.count() == 10


def test_numbers_and_dates_are_read_by_the_chosen_format(upload):
    upload(
        'customerId;event;timestamp;revenue\nC-1;Order Completed;31.01.2026 08:00;"1.234,50"\n',
        numbers="1.234,50",
        dates="dd.mm.yyyy",
    )
    event = Event.objects.get()
    assert event.amount == Decimal("1234.50")
    assert event.occurred_at.isoformat() == "2026-01-31T07:00:00+00:00"


def test_an_email_alone_says_who(upload):
    upload("email,event,timestamp\nann@example.com,Email Opened,2026-01-31\n")
    assert Event.objects.get().came_by == "email:ann@example.com"
    assert Customer.objects.get().external_id is None


def test_a_check_changes_nothing(upload, make_source):
    file = io.BytesIO((HEADER + LINE).encode())
    made = imports.create(file, name="till.csv", options={"source": "till"})
    imports.check(made.pk)
    made.refresh_from_db()
    assert (made.state, made.rows_ok) == ("checked", 1)
    assert not pipeline.ingest(pipeline.BATCH)


def test_a_file_without_what_is_needed_is_refused(make_source):
    make_source("till")
    with pytest.raises(FileError, match="timestamp"):
        imports.create(io.BytesIO(b"customerId,event\n"), name="x.csv", options={"source": "till"})
    with pytest.raises(OptionError, match="till"):
        imports.create(io.BytesIO(HEADER.encode()), name="x.csv", options={"source": "tills"})
    with pytest.raises(OptionError, match="source"):
        imports.create(io.BytesIO(HEADER.encode()), name="x.csv")

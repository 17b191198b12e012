"""Decisions about consent in files."""

import io
from datetime import timedelta

import pytest

from cdp import undoing
from customers import clock, consent, imports
from customers.consent import Decision
from customers.models import Change, Consent, ConsentChange, ConsentPurpose, Customer

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _known(make_field):
    make_field("city")
    ConsentPurpose.objects.create(key="newsletter")
    ConsentPurpose.objects.create(key="sms")


def applied(text, **options):
    run = imports.create(io.BytesIO(text.encode()), name="crm.csv", options=options)
    imports.apply(run.pk)
    run.refresh_from_db()
    assert run.state == "done", run.error
    return run


def told():
    rows = Consent.objects.order_by("customer__external_id", "purpose")
    return [(row.customer.external_id, row.purpose, row.granted) for row in rows]


WIDE = """customerId,city,@consent.Newsletter,'@consent.sms
ann,Bern,true,nein
bob,,FALSE,
cleo,Chur,maybe,1
dan,,,
"""
LONG = """customerId,fieldName,fieldValue
ann,@consent.newsletter,yes
ann,city,Bern
ann,@consent.sms,0
bob,@consent.newsletter,no
cleo,@consent.newsletter,maybe
bob,@consent.sms,
"""


@pytest.mark.parametrize("text", [WIDE, LONG])
def test_decisions_stand_beside_fields(text, make_customer):
    make_customer("bob")
    run = applied(text, empty="clear")
    assert told() == [
        ("ann", "newsletter", True),
        ("ann", "sms", False),
        ("bob", "newsletter", False),
    ]
    assert Customer.objects.get(external_id="ann").fields == {"city": "Bern"}
    assert (run.rows_failed, run.summary["errors"][0]["code"]) == (1, "not_a_boolean")
    assert run.summary["fields"]["@consent.newsletter"]["count"] == 2
    assert (run.customers_created, run.customers_updated) == (2 if text is WIDE else 1, 1)
    change = ConsentChange.objects.order_by("pk").first()
    assert (change.source, change.at) == ("import “crm.csv”", run.created_at)
    assert Change.objects.filter(fact="field:@consent.newsletter").count() == 2


def test_what_was_decided_later_stays(make_customer):
    now = clock.now()
    for name, days in (("ann", 1), ("bob", 9)):
        customer = make_customer(name)
        at = now - timedelta(days=days)
        consent.record([Decision(customer.pk, "sms", False, at)], source="link")
    text = "customerId,@consent.sms\nann,true\nbob,true\n"
    applied(text, decided_at=f"{now - timedelta(days=5):%Y-%m-%d}")
    assert told() == [("ann", "sms", False), ("bob", "sms", True)]


def test_purpose_that_there_is_not_is_no_field(make_customer):
    run = applied("customerId,fieldName,fieldValue\nann,@consent.newsleter,true\n")
    assert told() == []
    (error,) = run.summary["errors"]
    assert "no purpose" in error["message"]
    assert "@consent.newsletter" in error["message"]
    mapped = applied("customerId,News\nann,ja\n", fields={"News": "@consent.newsletter"})
    assert mapped.rows_ok == 1
    assert told() == [("ann", "newsletter", True)]


def test_undo_forgets_what_the_file_said(make_customer):
    bob = make_customer("bob")
    before = Decision(bob.pk, "newsletter", False, clock.now() - timedelta(days=2))
    consent.record([before], source="link")
    run = applied("customerId,@consent.newsletter\nann,true\nbob,true\n")
    Change.objects.all().delete()
    imports.start_undo(run.pk)
    imports.undo(run.pk)
    while undoing.forget_created(10):
        pass
    assert told() == [("bob", "newsletter", False)]
    assert not Customer.objects.filter(external_id="ann").exists()
    assert "field:@consent.newsletter" in {*Change.objects.values_list("fact", flat=True)}


def test_wrong_moment_is_refused():
    with pytest.raises(imports.OptionError, match="yesterday"):
        imports.create(
            io.BytesIO(b"customerId\na\n"), name="x", options={"decided_at": "yesterday"}
        )


def test_wizard_creates_a_purpose_and_refuses_what_no_field_may_be_called(staff):
    text = b"customerId,@consent.Calls,@what\nann,true,1\n"
    run = imports.create(io.BytesIO(text), name="crm.csv")
    imports.check(run.pk)
    run.refresh_from_db()
    chosen = {
        f"name_{number}": f"create:{'number' if 'what' in name else 'boolean'}"
        for number, name in enumerate(run.summary["unknown_fields"])
    }
    chosen["create_missing"] = "on"
    page = staff.post(f"/admin/customers/import/{run.pk}/recheck/", chosen, follow=True)
    assert "may not begin with @" in page.content.decode()
    imports.check(run.pk)
    run.refresh_from_db()
    assert ConsentPurpose.objects.filter(key="calls").exists()
    assert {*run.summary["fields"]} == {"@consent.calls"}

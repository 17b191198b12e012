"""Many people are erased together: shown first, confirmed by their number, one after the other."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from cdp import forgetting
from cdp.models import Forgetting
from customers import adminkit
from customers.models import Customer, Erasure

pytestmark = pytest.mark.django_db

LIST = "/admin/customers/customer/"
ERASE = f"{LIST}erase/"


@pytest.fixture(autouse=True)
def log(settings, tmp_path):
    settings.ERASURE_LOG = tmp_path / "erasures.jsonl"
    return settings.ERASURE_LOG


def signed_in(role):
    user = User.objects.create_user(role, is_staff=True)
    user.groups.set(Group.objects.filter(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def ada(db):
    return signed_in("Administrator")


@pytest.fixture
def three(make_customer, make_field):
    make_field("city", in_filters=True)
    return [make_customer(f"C-{n}", fields={"city": city}).pk for n, city in enumerate("AAB")]


def names():
    return {*Customer.objects.values_list("external_id", flat=True)}


def confirm(client, address, number):
    """Look at the page and type the number."""
    page = client.get(address)
    sent = {"seen": page.context["seen"], "number": number}
    return client.post(address, sent, follow=True)


def test_those_who_are_chosen_in_the_list_are_shown_and_erased(ada, three, log):
    sent = {"action": "erase_chosen", "_selected_action": three[:2]}
    address = ada.post(LIST, sent).url
    assert "C-1" in ada.get(address).content.decode()
    page = confirm(ada, address, "2")
    found = Forgetting.objects.get()
    assert (page.redirect_chain[-1][0].endswith(f"/many/{found.pk}/"), names()) == (
        True,
        {"C-0", "C-1", "C-2"},
    )
    forgetting.run(found.pk)
    forgetting.run(found.pk)  # the queue may bring it twice
    found.refresh_from_db()
    assert (names(), found.erased, found.customer_ids) == ({"C-2"}, 2, [])
    assert [*Erasure.objects.values_list("by", flat=True)] == ["Administrator"] * 2
    assert len(log.read_text().splitlines()) == 2
    assert "2 customers erased" in ada.get(page.redirect_chain[-1][0]).content.decode()


def test_everybody_who_fits_the_filters_is_meant_and_the_number_must_be_right(ada, three):
    shown = ada.get(f"{LIST}?field.city=A")
    address = shown.context["erase_href"]
    assert confirm(ada, address, "3").context["is_wrong"]
    confirm(ada, address, "2")
    assert [*Forgetting.objects.values_list("customer_ids", flat=True)] == [three[:2]]


def test_who_comes_to_fit_after_it_was_shown_is_not_erased_unseen(ada, three, make_customer):
    address = f"{ERASE}?field.city=A"
    seen = ada.get(address).context["seen"]
    Customer.objects.filter(pk=three[0]).update(fields={"city": "B"})
    make_customer("C-9", fields={"city": "A"})
    page = ada.post(address, {"seen": seen, "number": "2"})
    assert (page.context["is_other"], Forgetting.objects.count()) == (True, 0)


@pytest.mark.parametrize("query", ["", "?q=", "?field.city=nobody", "?field.city[from]=x"])
def test_nobody_is_erased_without_being_chosen(ada, three, query):
    assert ada.get(f"{ERASE}{query}").url == LIST


def test_too_many_are_not_erased_at_once(ada, three, monkeypatch):
    monkeypatch.setattr(forgetting, "AT_MOST", 1)
    page = ada.post(f"{ERASE}?field.city=A", {"number": "2", "seen": "x"})
    assert ("Too many at once" in page.content.decode(), Forgetting.objects.count()) == (True, 0)


def test_it_is_stopped_and_resumed_and_leaves_who_was_joined_meanwhile(ada, three):
    user = User.objects.get()
    found = forgetting.begin(three, user, by="Ada")
    page = f"/admin/customers/erasure/many/{found.pk}/"
    ada.post(page, {"stop": "1"})
    forgetting.run(found.pk)
    assert len(names()) == 3
    assert "3 are still there" in ada.get(page).content.decode()
    Customer.objects.filter(pk=three[0]).update(merged_into=three[2])
    Customer.objects.filter(pk=three[2]).delete()
    ada.post(page, {"resume": "1"})
    forgetting.run(found.pk)
    found.refresh_from_db()
    assert (found.erased, found.seen, found.finished_at is None) == (1, 3, False)


def test_it_ends_when_the_right_is_taken_or_the_proof_cannot_be_written(ada, three, settings):
    settings.ERASURE_LOG = settings.ERASURE_LOG / "nowhere"
    found = forgetting.begin(three, User.objects.get(), by="Ada")
    forgetting.run(found.pk)
    found.refresh_from_db()
    assert ("cannot be written" in found.error, len(names())) == (True, 3)
    User.objects.get().groups.clear()
    forgetting.resume(found.pk)
    forgetting.run(found.pk)
    found.refresh_from_db()
    assert (found.error, len(names())) == ("Ada may not erase customers any more.", 3)


@pytest.mark.parametrize("role", ["Viewer", "Marketer"])
def test_only_administrators_erase(three, role):
    client = signed_in(role)
    found = forgetting.begin(three, None, by="Ada")
    pages = [f"{ERASE}?field.city=A", "/admin/customers/erasure/"]
    pages += [f"/admin/customers/erasure/many/{found.pk}/{end}" for end in ("", "status/")]
    assert [client.get(page).status_code for page in pages] == [403] * 4
    shown = client.get(f"{LIST}?field.city=A").content.decode()
    assert ("erase" not in shown.lower(), "/erasure/" in shown) == (True, False)


def test_who_has_changed_something_is_not_deleted_with_the_history_of_it(admin_client, ada):
    user = User.objects.get(username="Administrator")
    page = f"/admin/auth/user/{user.pk}/delete/"
    assert admin_client.get(page).status_code == 200
    adminkit.log(ada.get("/admin/").wsgi_request, user, "wrote something")
    assert admin_client.get(page).status_code == 403

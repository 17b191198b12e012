"""Joining and separating customers in the admin."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from customers.models import Customer, Merge
from tests.cdp.test_identities import picture
from tests.cdp.test_identities import send as send

pytestmark = pytest.mark.django_db


@pytest.fixture
def merged(send, make_field):
    make_field("city")
    send("track a1 A", "identify a1 city=Basel", "track u1 B", "track a1 u1 C")
    return Customer.objects.current().get()


@pytest.fixture
def staff(client):
    """Signs in somebody of a role; returns the client."""

    def sign_in(role="Marketer"):
        user, is_new = User.objects.get_or_create(username=role, is_staff=True)
        if is_new:
            user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return sign_in


def page(name, *ids):
    return reverse(f"admin:customers_customer_{name}", args=ids)


def test_profile_tells_the_merge_and_a_marketer_undoes_it(merged, staff):
    merge = Merge.objects.get()
    undo = page("undo", merged.pk, merge.id)
    assert undo in staff().get(page("profile", merged.pk)).content.decode()
    text = staff().get(undo).content.decode()
    assert "Basel" in text
    assert "1 A" in text
    assert picture() == {"a1 u1": "A B C"}
    answer = staff().post(undo)
    assert answer.url == page("profile", merge.absorbed_id)
    assert picture() == {"a1": "A", "u1": "B C"}
    assert "Separated again from" in staff().get(page("profile", merged.pk)).content.decode()
    assert staff().post(undo).url == page("profile", merged.pk)  # it is undone already


def test_viewer_sees_the_history_and_can_change_nothing(merged, staff):
    text = staff("Viewer").get(page("profile", merged.pk)).content.decode()
    assert "Joined with" in text
    assert "Undo" not in text
    for name, ids in (("undo", (1,)), ("detach", ()), ("join", ())):
        assert staff("Viewer").post(page(name, merged.pk, *ids)).status_code == 403


def test_identifier_is_detached_after_a_preview(merged, staff):
    detach = page("detach", merged.pk) + "?kind=anonymous_id&value=a1"
    assert "1 A" in staff().get(detach).content.decode()
    staff().post(detach)
    assert picture() == {"a1": "A", "u1": "B C"}
    assert staff().get(page("detach", merged.pk) + "?kind=x&value=y").status_code == 302


def test_another_customer_is_found_shown_and_joined(merged, staff, send):
    send("identify u2 e2", "track u2 D")
    join = page("join", merged.pk)
    assert "Who is the same person?" in staff().get(join).content.decode()
    for nobody in ("nobody", str(merged.pk), "\0", "9" * 30):
        assert "Nobody else" in staff().get(join, {"with": nobody}).content.decode()
    text = staff().get(join, {"with": " E2@example.com "}).content.decode()
    assert "Both have a CustomerId" in text
    staff().post(f"{join}?with=u2")
    assert picture() == {"a1 e2 u1 u2": "A B C D"}

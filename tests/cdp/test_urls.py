import pytest
from django.contrib.auth.models import User
from django.views import defaults


def test_bare_address_leads_to_the_admin(client, db):
    response = client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.parametrize("path", ["/nowhere", "/admin/nowhere/", "/admin/segments/segment/4711/"])
def test_address_of_nothing_says_so_and_leads_back(staff, path):
    answer = staff.get(path)
    assert answer.status_code == 404
    assert "There is no such page" in answer.content.decode()
    assert 'href="/admin/"' in answer.content.decode()


def test_page_that_somebody_may_not_see_says_who_they_are(client, db):
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    answer = client.get("/admin/segments/segment/")
    assert answer.status_code == 403
    assert "You are signed in as nobody" in answer.content.decode()


def test_pages_of_faults_need_nothing_but_themselves(rf):
    assert b"Something went wrong on our side" in defaults.server_error(rf.get("/")).content
    refused = defaults.bad_request(rf.get("/"), ValueError("no"))
    assert b"This request cannot be understood" in refused.content

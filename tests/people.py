"""Who sits at the admin, for tests."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cdp import roles


@pytest.fixture
def staff(client, db):
    """A client signed in as a superuser."""
    client.force_login(User.objects.create_superuser("anna", first_name="Anna"))
    return client


@pytest.fixture
def member(client, db):
    """Sign in somebody with a role."""
    roles.create(Group, Permission)

    def sign_in(role):
        user = User.objects.create_user(role.lower(), is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        return client

    return sign_in


def queries_of(client, address):
    """Open a page and count its queries."""
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(address)
    assert answer.status_code == 200, address
    return len(queries)

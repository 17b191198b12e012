"""The admin in a browser."""

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model


class Admin:
    """Somebody who is signed in and clicks: paths begin below /admin/."""

    def __init__(self, page, address):
        self.page = page
        self.address = address

    def open(self, path=""):
        return self.page.goto(f"{self.address}/admin/{path}")


@pytest.fixture
def admin(faults, context, live_server, client):
    """The admin, signed in as a superuser."""
    client.force_login(get_user_model().objects.create_superuser("anna", "anna@example.ch"))
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies(
        [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}]
    )
    return Admin(context.new_page(), live_server.url)

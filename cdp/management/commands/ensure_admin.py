"""Create the first administrator."""

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

NAME = "admin"


class Command(BaseCommand):
    help = (
        "Creates the administrator `admin` unless there is one, with the password in "
        "CDP_ADMIN_PASSWORD, or else with one made up, which is printed this once."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if password := create():
            self.stdout.write(password)


def create() -> str | None:
    """Create the administrator unless there is one; return the password if it was made up."""
    if User.objects.filter(username=NAME).exists():
        return None
    made_up = None if settings.ADMIN_PASSWORD else secrets.token_urlsafe(9)
    User.objects.create_superuser(NAME, password=settings.ADMIN_PASSWORD or made_up)
    return made_up

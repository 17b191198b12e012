"""`manage.py create_source`: for automation, nothing but the key on stdout."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events.models import Source

pytestmark = pytest.mark.django_db


def create(*arguments):
    out = StringIO()
    call_command("create_source", *arguments, stdout=out)
    return out.getvalue()


def test_prints_the_write_key_and_nothing_else():
    printed = create("My Shop")
    source = Source.objects.get()
    assert printed == f"{source.write_key}\n"
    assert (source.key, source.kind, source.channel) == ("my-shop", "website", "online")


def test_same_name_again_is_another_source():
    assert create("Shop") != create("Shop")
    assert {*Source.objects.values_list("key", flat=True)} == {"shop", "shop-2"}


def test_till_is_offline():
    create("Till", "--kind", "store")
    assert Source.objects.get().channel == "offline"


@pytest.mark.parametrize("name", ["北京", "!!!", "x" * 100])
def test_any_name_gets_a_key(name):
    create(name)
    create(name)
    assert Source.objects.count() == 2


@pytest.mark.parametrize("arguments", [("Shop", "--kind", "radio"), ("x" * 101,), ("",), ("a\0b",)])
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(CommandError):
        create(*arguments)
    assert not Source.objects.exists()

"""Create the roles Viewer, Marketer and Administrator."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations

from cdp import roles

APPS = ("customers", "events", "segments", "activation", "cdp", "auth", "django_q")


def create(apps, schema_editor):
    for label in APPS:  # permissions are otherwise created after the last migration
        create_permissions(current.get_app_config(label), verbosity=0, apps=apps)
    roles.create(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0002_queue_index"),
        ("customers", "0001_initial"),
        ("events", "0001_initial"),
        ("segments", "0001_initial"),
        ("activation", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(create, migrations.RunPython.noop)]

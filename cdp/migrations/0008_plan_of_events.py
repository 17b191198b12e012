"""Let marketers say which events are expected."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations


def grant(apps, schema_editor):
    create_permissions(current.get_app_config("events"), verbosity=0, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.filter(codename="change_eventname")
    for group in apps.get_model("auth", "Group").objects.filter(
        name__in=("Marketer", "Administrator")
    ):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("cdp", "0007_export_rights"), ("events", "0005_mail_and_plan")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

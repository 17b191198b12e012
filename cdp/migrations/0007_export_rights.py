"""Let the roles export."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations

from cdp import roles


def grant(apps, schema_editor):
    create_permissions(current.get_app_config("cdp"), verbosity=0, apps=apps)
    roles.create(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))


class Migration(migrations.Migration):
    dependencies = [("cdp", "0006_export")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

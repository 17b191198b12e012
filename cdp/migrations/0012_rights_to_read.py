"""Let the roles read over HTTP what they see in the admin: events, and the proofs of erasures."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations

ADDED = {
    ("events", "view_event"): ("Viewer", "Marketer", "Administrator"),
    ("customers", "view_erasure"): ("Administrator",),
}


def grant(apps, schema_editor):
    """Add to what the roles have; others may have changed them since."""
    group_model = apps.get_model("auth", "Group")
    permission_model = apps.get_model("auth", "Permission")
    for (app, codename), names in ADDED.items():
        create_permissions(current.get_app_config(app), verbosity=0, apps=apps)
        right = permission_model.objects.get(content_type__app_label=app, codename=codename)
        for group in group_model.objects.filter(name__in=names):
            group.permissions.add(right)


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0011_identity_rules"),
        ("customers", "0010_tombstones"),
        ("events", "0001_initial"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

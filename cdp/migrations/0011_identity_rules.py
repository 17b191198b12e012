"""Let administrators change the rules of identity, and keys that may do everything, too."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations

BEFORE = (
    *("customers", "customer-fields", "imports", "exports", "events"),
    *("sources", "segments", "activation", "consents"),
)
NEW = {"identity-rules:read", "identity-rules:write"}


def grant(apps, schema_editor):
    create_permissions(current.get_app_config("customers"), verbosity=0, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.filter(
        codename__in=("view_identityrules", "change_identityrules")
    )
    for group in apps.get_model("auth", "Group").objects.filter(name="Administrator"):
        group.permissions.add(*permissions)
    everything = {f"{resource}:{right}" for resource in BEFORE for right in ("read", "write")}
    for key in apps.get_model("cdp", "ApiKey").objects.filter(revoked_at=None):
        if everything <= {*key.scopes}:
            key.scopes = sorted({*key.scopes} | NEW)
            key.save(update_fields=["scopes"])


class Migration(migrations.Migration):
    dependencies = [("cdp", "0010_forgetting"), ("customers", "0014_identity_rules")]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

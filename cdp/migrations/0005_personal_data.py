"""Let roles and keys go on seeing personal data that could see them so far; add rights on consent."""

from django.apps import apps as current
from django.contrib.auth.management import create_permissions
from django.db import migrations

from cdp import roles

BEFORE = ("customers", "customer-fields", "imports", "events", "sources", "segments", "activation")


def grant(apps, schema_editor):
    for label in ("customers", "cdp"):  # permissions are otherwise created after the last migration
        create_permissions(current.get_app_config(label), verbosity=0, apps=apps)
    roles.create(apps.get_model("auth", "Group"), apps.get_model("auth", "Permission"))
    everything = {f"{resource}:{right}" for resource in BEFORE for right in ("read", "write")}
    for key in apps.get_model("cdp", "ApiKey").objects.filter(revoked_at=None):
        scopes = {*key.scopes}
        if "customers:read" in scopes:
            scopes.add("personal-data:read")
        if everything <= scopes:
            scopes |= {"consents:read", "consents:write"}
        key.scopes = sorted(scopes)
        key.save(update_fields=["scopes"])


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0004_snapshot"),
        ("customers", "0008_personal_data"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]

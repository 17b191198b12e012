"""Give django-q2's queue the index it looks tasks up by; it has none of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("cdp", "0001_initial"),
        (
            "django_q",
            "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more",
        ),
    ]

    operations = [
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS cdp_queue_due ON django_q_ormq (key, lock)",
            "DROP INDEX IF EXISTS cdp_queue_due",
        )
    ]

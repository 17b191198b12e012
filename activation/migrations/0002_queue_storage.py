from django.db import migrations


class Migration(migrations.Migration):
    """What waits to be sent is little and churns: vacuum early, leave room in the pages."""

    dependencies = [("activation", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE activation_delivery SET (
                fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01,
                autovacuum_vacuum_threshold = 1000
            );
            ALTER TABLE activation_wakeup SET (fillfactor = 50)
            """,
            """
            ALTER TABLE activation_delivery RESET (
                fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold
            );
            ALTER TABLE activation_wakeup RESET (fillfactor)
            """,
        )
    ]

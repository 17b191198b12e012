from django.db import migrations


class Migration(migrations.Migration):
    """The inbox is small and churns; events only grow, and index-only scans want them vacuumed."""

    dependencies = [("events", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE events_inbox SET (
                fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01,
                autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
            );
            ALTER TABLE events_inbox ALTER COLUMN body SET STORAGE EXTERNAL;
            ALTER TABLE events_event SET (autovacuum_vacuum_insert_scale_factor = 0.02);
            """,
            "ALTER TABLE events_inbox RESET (fillfactor)",
        )
    ]

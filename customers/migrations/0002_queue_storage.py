from django.db import migrations


class Migration(migrations.Migration):
    """The queue of changes is small and churns: vacuum it early, leave room in its pages."""

    dependencies = [("customers", "0001_initial")]

    operations = [
        migrations.RunSQL(
            """
            ALTER TABLE customers_change SET (
                fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01,
                autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
            );
            ALTER TABLE customers_customer SET (fillfactor = 85);
            """,
            "ALTER TABLE customers_change RESET (fillfactor)",
        )
    ]

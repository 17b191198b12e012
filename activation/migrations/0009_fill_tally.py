from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('activation', '0008_tally_and_cancelling'),
    ]

    operations = [
        migrations.RunSQL(
            """
            INSERT INTO activation_tally (trigger_id, hour, delivered, failed)
            SELECT trigger_id, date_trunc('hour', COALESCE(delivered_at, dead_at), 'UTC'),
                   count(delivered_at), count(dead_at)
            FROM activation_delivery
            WHERE NOT is_test AND COALESCE(delivered_at, dead_at) > now() - interval '90 days'
            GROUP BY 1, 2
            """,
            migrations.RunSQL.noop,
        ),
    ]

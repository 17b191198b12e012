from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('activation', '0006_who_asked_to_wait'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('reason', ''), _negated=True), fields=['reason', 'id'], name='delivery_by_reason'),
        ),
    ]

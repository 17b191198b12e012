from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

OF_SOME = ['id', 'trigger', 'destination']


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('activation', '0009_fill_tally'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(fields=['destination', 'id'], name='delivery_by_destination'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('cancelled_at', None), ('dead_at', None), ('delivered_at', None)), fields=OF_SOME, name='delivery_waiting'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('dead_at__isnull', False)), fields=OF_SOME, name='delivery_failed'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('cancelled_at__isnull', False)), fields=OF_SOME, name='delivery_cancelled'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('is_test', True)), fields=['trigger', 'id'], name='delivery_tests'),
        ),
        AddIndexConcurrently(
            model_name='delivery',
            index=models.Index(condition=models.Q(('leased_until__isnull', False)), fields=['destination', 'leased_until'], name='delivery_on_its_way'),
        ),
        RemoveIndexConcurrently(
            model_name='delivery',
            name='delivery_dead',
        ),
        RemoveIndexConcurrently(
            model_name='delivery',
            name='delivery_leased',
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('activation', '0007_found_by_reason'),
    ]

    operations = [
        migrations.CreateModel(
            name='Tally',
            fields=[
                ('pk', models.CompositePrimaryKey('trigger_id', 'hour', blank=True, editable=False, primary_key=True, serialize=False)),
                ('trigger_id', models.BigIntegerField()),
                ('hour', models.DateTimeField()),
                ('delivered', models.IntegerField()),
                ('failed', models.IntegerField()),
            ],
            options={
                'verbose_name_plural': 'tallies',
            },
        ),
        migrations.CreateModel(
            name='Cancelling',
            fields=[
                ('trigger', models.OneToOneField(on_delete=models.deletion.CASCADE, primary_key=True, serialize=False, to='activation.trigger')),
                ('until', models.UUIDField()),
            ],
        ),
        # The same few rows are counted up all day.
        migrations.RunSQL(
            "ALTER TABLE activation_tally SET (fillfactor = 50)",
            "ALTER TABLE activation_tally RESET (fillfactor)",
        ),
    ]

import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    """After the entries: an index that is built at once takes a tenth of the time."""

    dependencies = [("customers", "0006_search_entries")]

    operations = [
        migrations.AddIndex(
            model_name="searchentry",
            index=django.contrib.postgres.indexes.GinIndex(
                fields=["words"], name="searchentry_words"
            ),
        )
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("activation", "0003_triggers_as_sentences")]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="sent",
            field=models.TextField(
                blank=True,
                db_default="",
                editable=False,
                help_text="What the last attempt sent, while it is to be tried again.",
            ),
        ),
    ]

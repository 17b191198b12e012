from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("activation", "0010_indexes_of_a_long_log")]

    operations = [
        migrations.AlterField(
            model_name="delivery",
            name="reason",
            field=models.CharField(
                blank=True,
                choices=[
                    ("switched_off", "The trigger was switched off."),
                    (
                        "capped",
                        "The customer has had this message, and it is not sent again so soon.",
                    ),
                    ("no_consent", "The customer does not agree to it."),
                    ("suppressed", "Nothing may be sent to the customer's address."),
                    ("no_address", "The customer has no address that it could go to."),
                    ("quiet", "It fell into the quiet hours."),
                ],
                db_default="",
                max_length=12,
            ),
        ),
    ]

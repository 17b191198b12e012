from django.db import migrations, models

# Of a text longer than 300 characters, the parts beyond are missing; it has the part '' instead.
PARTS = """
    CREATE OR REPLACE FUNCTION customers_parts(value text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT array_agg(DISTINCT substr(value, at, 3))
               || CASE WHEN length(value) > 300 THEN ARRAY[''] ELSE ARRAY[]::text[] END
        FROM generate_series(1, least(greatest(length(value) - 2, 1), 300)) AS at
    $$
"""


class Migration(migrations.Migration):
    """Let texts be found by their parts."""

    dependencies = [("customers", "0012_suppression_removals")]

    operations = [
        migrations.RunSQL(PARTS, "DROP FUNCTION customers_parts(text)"),
        migrations.AddField(
            "customerfield",
            "finds_parts",
            models.BooleanField(
                "fast “contains”",
                db_default=False,
                default=False,
                help_text="Of a text: keeps an index of all its parts as well, for “contains” and "
                "“ends with”. Set by itself when such a filter was slow.",
            ),
        ),
    ]

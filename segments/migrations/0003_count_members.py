from django.db import migrations

COUNT = """
    INSERT INTO segments_size (segment_id, members)
    SELECT segment_id, count(*) FROM segments_membership GROUP BY segment_id
    ON CONFLICT DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("segments", "0002_sizes_and_versions")]

    operations = [migrations.RunSQL(COUNT, "DELETE FROM segments_size")]

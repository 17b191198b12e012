import re

from django.db import migrations

USED = re.compile(r"(in the segment “)([a-z0-9_-]+)(”)", re.IGNORECASE)


def say_names(apps, schema_editor):
    """Sentences named the segments that a rule uses by their keys."""
    segments = apps.get_model("segments", "Segment").objects
    name_of = dict(segments.values_list("key", "name"))
    for pk, sentence in segments.values_list("pk", "sentence"):
        said = USED.sub(lambda m: m[1] + name_of.get(m[2], m[2]) + m[3], sentence)
        if said != sentence:
            segments.filter(pk=pk).update(sentence=said)


class Migration(migrations.Migration):
    dependencies = [("segments", "0003_count_members")]

    operations = [migrations.RunPython(say_names, migrations.RunPython.noop)]

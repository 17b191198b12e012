from django.db import migrations

FOLDED = "àáâãäåāăąçćčďđèéêëēęěìíîïīłñńňòóôõöøōřśšťùúûüūůýÿźžż@"
PLAIN = "aaaaaaaaacccddeeeeeeeiiiiilnnnooooooorsstuuuuuuyyzzz "


class Migration(migrations.Migration):
    """Let those who are there already be found by their words."""

    dependencies = [("customers", "0005_people")]

    operations = [
        migrations.RunSQL(
            f"""
            INSERT INTO customers_searchentry (customer_id, words)
            SELECT id, words
            FROM customers_customer
            CROSS JOIN LATERAL (
                SELECT to_tsvector('simple', translate(
                           lower(string_agg(left(value, 200), ' ')), '{FOLDED}', '{PLAIN}'))
                       || coalesce(array_to_tsvector(
                           array_agg(digits) FILTER (WHERE digits <> '')
                           || array_agg(right(digits, 9)) FILTER (WHERE digits <> '')), '')
                       AS words
                FROM jsonb_each(fields) AS held (name, json),
                     LATERAL (SELECT json #>> '{{}}') AS text (value),
                     LATERAL (SELECT CASE WHEN value ~ '^[+(]?[0-9][0-9 ()/.-]{{6,24}}$'
                              THEN regexp_replace(value, '\\D', '', 'g') ELSE '' END
                             ) AS number (digits)
                WHERE jsonb_typeof(json) = 'string' AND value NOT LIKE '____-__-__T__:__:__%Z'
            ) AS own
            WHERE merged_into_id IS NULL AND words <> ''
            ON CONFLICT DO NOTHING
            """,
            migrations.RunSQL.noop,
        )
    ]

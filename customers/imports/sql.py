"""The raw statements of imports, one per function, named after what it does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection

from customers import arrays

IMPORTS = 0x1A9  # class of the advisory locks by which one process at a time runs an import


def try_lock(import_id: int) -> bool:
    """Reserve an import for this connection until `unlock` or the connection ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s::int)", [IMPORTS, import_id])
        return bool(cursor.fetchone()[0])


def unlock(import_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s::int)", [IMPORTS, import_id])


def select_idle(states: Sequence[str]) -> dict[int, str]:
    """Return the ids of imports in these states that no process has reserved, with a version.

    The version differs after each step.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT run.id, run.xmin::text
            FROM customers_import AS run
            WHERE run.state = ANY(%s)
              AND NOT EXISTS (
                  SELECT FROM pg_locks AS held
                  JOIN pg_database AS here ON here.oid = held.database
                  WHERE held.locktype = 'advisory'
                    AND held.classid = %s
                    AND held.objid = run.id
                    AND here.datname = current_database()
              )
            """,
            [[*states], IMPORTS],
        )
        return dict(cursor.fetchall())


def select_owners(customer_ids: Sequence[str]) -> dict[str, int]:
    """Return the id of the customer by each of these CustomerIds that is known.

    Each is looked up by itself: while a file fills an empty table, nobody knows yet how many rows
    it has, and a join would read all of them for each chunk.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT value, customer_id
            FROM unnest(%s::text[]) AS wanted (value)
            CROSS JOIN LATERAL (
                SELECT customer_id FROM customers_identifier AS known
                WHERE known.kind = 'customer_id' AND known.value = wanted.value
                LIMIT 1
            ) AS owner
            """,
            [arrays.of_texts(customer_ids)],
        )
        return dict(cursor.fetchall())


def stage(rows: Iterable[tuple[str, str, str]]) -> None:
    """Lay out what a chunk says of customers, until the transaction ends.

    (CustomerId, words of bits as an array, fields as JSON in PostgreSQL's own spelling); the first
    has place 0.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TEMP TABLE IF NOT EXISTS customers_said (
                place int, external_id text, bits bigint[], fields text
            ) ON COMMIT DELETE ROWS
            """
        )
        cursor.execute("DELETE FROM customers_said")
    _copy_text(
        "COPY customers_said FROM STDIN",
        [
            f"{place}\t{arrays.escaped(external_id)}\t{bits}\t{_json(text)}"
            for place, (external_id, bits, text) in enumerate(rows)
        ],
    )


def select_differing() -> list[tuple[int, int | None]]:
    """Return (place, customer id) of the staged whose customer has other fields, or is unknown.

    Each is looked up by itself: while a file fills an empty table, nobody knows yet how many rows
    it has, and a join would read all of them for each chunk. Fields are compared as texts of JSON:
    which is all that a file needs that was imported before, and a third of the cost of reading it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT place, customer_id
            FROM customers_said AS said
            LEFT JOIN LATERAL (
                SELECT customer_id FROM customers_identifier AS known
                WHERE known.kind = 'customer_id' AND known.value = said.external_id
                LIMIT 1
            ) AS owner ON TRUE
            LEFT JOIN LATERAL (
                SELECT c.fields FROM customers_customer AS c WHERE c.id = customer_id LIMIT 1
            ) AS customer ON TRUE
            WHERE customer_id IS NULL OR customer.fields::text <> said.fields
            ORDER BY place
            """
        )
        rows: list[tuple[int, int | None]] = cursor.fetchall()
        return rows


def create_staged(places: Sequence[int]) -> dict[int, int]:
    """Create the customers staged at these places, unless their CustomerIds are known by now.

    Returns their ids by place. They are claimed in the order of CustomerIds: who claims in another
    order may deadlock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH ids AS MATERIALIZED (
                SELECT pg_get_serial_sequence('customers_customer', 'id')::regclass AS sequence
            ), wanted AS MATERIALIZED (
                SELECT said.* FROM customers_said AS said
                JOIN unnest(%s::int[]) AS missing (place) USING (place)
            ), claimed AS (
                INSERT INTO customers_identifier (kind, value, customer_id)
                SELECT 'customer_id', external_id, nextval(sequence)
                FROM (SELECT external_id FROM wanted ORDER BY external_id COLLATE "C") AS one, ids
                ON CONFLICT (kind, value) DO NOTHING
                RETURNING value, customer_id
            ), created AS (
                INSERT INTO customers_customer (id, external_id, fields)
                SELECT customer_id, external_id, jsonb_strip_nulls(fields::jsonb)
                FROM claimed JOIN wanted ON external_id = value
            )
            SELECT place, customer_id FROM claimed JOIN wanted ON external_id = value
            """,
            [arrays.of_numbers(places)],
        )
        return dict(cursor.fetchall())


def copy_field_changes(rows: Iterable[tuple[int, str]], source: str, import_id: int) -> None:
    """Store (customer id, changes as JSON) as an import's."""
    end = f"\t{arrays.escaped(source)}\t{import_id}"
    _copy_text(
        "COPY customers_fieldchange (customer_id, changes, source, import_id) FROM STDIN",
        [f"{customer_id}\t{_json(text)}{end}" for customer_id, text in rows],
    )


def _json(text: str) -> str:
    return text.replace("\\", "\\\\") if "\\" in text else text


def _copy_text(statement: str, lines: Sequence[str]) -> None:
    """Copy lines of COPY's text format, put together here: the driver takes longer by far."""
    if not lines:
        return
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("\n".join(lines) + "\n")


def copy_changes(rows: Iterable[tuple[int, Iterable[str]]]) -> None:
    """Append (customer id, facts) to the queue of changes."""
    end_of = _Ends()
    _copy_text(
        "COPY customers_change (customer_id, fact) FROM STDIN",
        [f"{customer_id}{end_of[fact]}" for customer_id, facts in rows for fact in facts],
    )


class _Ends(dict[str, str]):
    """What follows the first column, in COPY's text format, by the value of the second."""

    def __missing__(self, text: str) -> str:
        self[text] = end = f"\t{arrays.escaped(text)}"
        return end


def copy_problems(rows: Iterable[tuple[int, int, str, str, str]]) -> None:
    """Store (import id, line, code, message, cells as JSON)."""
    _copy("COPY customers_importproblem (source_id, line, code, message, row) FROM STDIN", rows)


def _copy(statement: str, rows: Iterable[Sequence[Any]]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def select_seen(import_id: int, keys: Sequence[int]) -> dict[int, int]:
    """Return what the import remembers under these keys, each looked up by itself."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT key, what
            FROM unnest(%s::bigint[]) AS wanted (key)
            CROSS JOIN LATERAL (
                SELECT what FROM customers_importseen AS seen
                WHERE seen.source_id = %s AND seen.key = wanted.key
                LIMIT 1
            ) AS remembered
            """,
            [arrays.of_numbers(keys), import_id],
        )
        return {key: int(what) for key, what in cursor.fetchall()}


def remember_seen(import_id: int, what_by_key: Mapping[int, int]) -> None:
    """Let the import remember this from now on."""
    keys = sorted(what_by_key)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_importseen (source_id, key, what)
            SELECT %s, key, what FROM unnest(%s::bigint[], %s::numeric[]) AS seen (key, what)
            ON CONFLICT (source_id, key) DO UPDATE SET what = excluded.what
            """,
            [
                import_id,
                arrays.of_numbers(keys),
                arrays.of_numbers(what_by_key[key] for key in keys),
            ],
        )


def note_given(import_id: int, line: int, words: int, mark: int = 0) -> None:
    """Note which fields the staged are given, as bits of so many words.

    Those who are known already get the `mark` in word 0, if it is not 0.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_importgiven (source_id, line, word, keys, bits)
            SELECT %(import_id)s, %(line)s, word, array_agg(hashtextextended(external_id, 0)),
                   array_agg(bits[word + 1] | CASE
                       WHEN word = 0 AND %(mark)s::bigint <> 0 AND EXISTS (
                           SELECT FROM customers_identifier AS known
                           WHERE known.kind = 'customer_id' AND known.value = external_id)
                       THEN %(mark)s::bigint ELSE 0 END)
            FROM customers_said CROSS JOIN generate_series(0, %(words)s - 1) AS word
            WHERE word = 0 OR bits[word + 1] <> 0
            GROUP BY word
            """,
            {"import_id": import_id, "line": line, "words": words, "mark": mark},
        )


def summarise_given(import_id: int, mark: int) -> tuple[int, int, int]:
    """Return how many values chunks gave that others gave, too; and how many customers they name.

    Those whose bits of word 0 have the `mark` first, then the others. The mark is no value.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(sum(given) - sum(bit_count(bits::bit(64))), 0)::bigint,
                   count(*) FILTER (WHERE word = 0 AND is_marked),
                   count(*) FILTER (WHERE word = 0 AND NOT is_marked)
            FROM (
                SELECT word, key, bit_or(own & ~%(mark)s::bigint) AS bits,
                       sum(bit_count((own & ~%(mark)s::bigint)::bit(64))) AS given,
                       bool_or(own & %(mark)s::bigint <> 0) AS is_marked
                FROM customers_importgiven AS chunk
                CROSS JOIN LATERAL unnest(chunk.keys, chunk.bits) AS one (key, own)
                WHERE source_id = %(import_id)s
                GROUP BY word, key
            ) AS customer
            """,
            {"import_id": import_id, "mark": mark},
        )
        repeated, marked, others = cursor.fetchone()
        return int(repeated), marked, others


def note_touched(import_id: int, line: int, created: Sequence[int], updated: Sequence[int]) -> None:
    """Note whom a chunk created, and whom it changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO customers_importtouched (source_id, line, created, updated)
            VALUES (%s, %s, %s::bigint[], %s::bigint[])
            """,
            [import_id, line, arrays.of_numbers(created), arrays.of_numbers(updated)],
        )


def count_updated(import_id: int) -> int:
    """Count the customers whom an import changed and did not create."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FROM (
                SELECT unnest(updated) FROM customers_importtouched WHERE source_id = %(id)s
                EXCEPT
                SELECT unnest(created) FROM customers_importtouched WHERE source_id = %(id)s
            ) AS changed
            """,
            {"id": import_id},
        )
        return int(cursor.fetchone()[0])


def select_written(import_id: int, customer_ids: Sequence[int]) -> list[Any]:
    """Return what an import changed of these customers, those merged into others left out.

    (customer id, CustomerId, fields, what each was before it as JSON, fields that something newer
    has changed since).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH written AS MATERIALIZED (
                SELECT log.customer_id, log.id, key, value -> 0 AS old,
                       log.import_id IS NOT DISTINCT FROM %(import_id)s::bigint AS is_own
                FROM unnest(%(ids)s::bigint[]) AS wanted (id)
                JOIN customers_fieldchange AS log ON log.customer_id = wanted.id
                CROSS JOIN LATERAL jsonb_each(log.changes)
            ), field AS (
                SELECT customer_id, key,
                       (array_agg(old ORDER BY id) FILTER (WHERE is_own))[1] AS old,
                       (array_agg(is_own ORDER BY id DESC))[1] AS is_last
                FROM written
                GROUP BY customer_id, key
                HAVING bool_or(is_own)
            )
            SELECT field.customer_id, c.external_id,
                   coalesce(array_agg(key) FILTER (WHERE is_last), '{}'),
                   coalesce(array_agg(old::text) FILTER (WHERE is_last), '{}'),
                   coalesce(array_agg(key ORDER BY key) FILTER (WHERE NOT is_last), '{}')
            FROM field JOIN customers_customer AS c ON c.id = field.customer_id
            WHERE c.merged_into_id IS NULL
            GROUP BY field.customer_id, c.external_id
            ORDER BY field.customer_id
            """,
            {"import_id": import_id, "ids": arrays.of_numbers(customer_ids)},
        )
        rows: list[Any] = cursor.fetchall()
        return rows


def lock_lone(
    import_id: int, customer_ids: Sequence[int], *, tells_identifiers: bool
) -> list[tuple[int, str | None, bool]]:
    """Lock these customers, in order of id; return (id, CustomerId, whether they are alone).

    Alone is who has nothing that did not come from the import: no value, event, identifier, merge
    or decision. An import that tells identifiers has given all those of who was never seen without
    it. Customers who are gone or merged are left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.external_id,
                   c.fields = '{}' AND c.first_seen_at IS NULL AND c.last_seen_at IS NULL
                   AND (%(tells_identifiers)s OR NOT EXISTS (
                       SELECT FROM customers_identifier AS other
                       WHERE other.customer_id = c.id AND other.kind <> 'customer_id'))
                   AND NOT EXISTS (
                       SELECT FROM customers_merge WHERE survivor_id = c.id AND undone_at IS NULL)
                   AND NOT EXISTS (SELECT FROM customers_consentchange WHERE customer_id = c.id)
                   AND NOT EXISTS (
                       SELECT FROM customers_fieldchange AS log
                       WHERE log.customer_id = c.id
                         AND log.import_id IS DISTINCT FROM %(import_id)s::bigint)
            FROM unnest(%(ids)s::bigint[]) AS wanted (id)
            JOIN customers_customer AS c ON c.id = wanted.id
            WHERE c.merged_into_id IS NULL
            ORDER BY c.id
            FOR UPDATE OF c
            """,
            {
                "import_id": import_id,
                "ids": arrays.of_numbers(customer_ids),
                "tells_identifiers": tells_identifiers,
            },
        )
        rows: list[tuple[int, str | None, bool]] = cursor.fetchall()
        return rows


def select_problems_with(cells: Sequence[str]) -> list[Any]:
    """Return (id, import id, cells) of lines of which a cell, in lower case, is one of these."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, source_id, ARRAY(SELECT jsonb_array_elements_text(row))
            FROM customers_importproblem
            WHERE jsonb_typeof(row) = 'array' AND EXISTS (
                SELECT FROM jsonb_array_elements_text(row) AS cell
                WHERE lower(btrim(cell)) = ANY(%s::text[])
            )
            """,
            [arrays.of_texts(cells)],
        )
        rows: list[Any] = cursor.fetchall()
        return rows

"""How a message comes to be: for whom, what it says, whose turn it is, what was in the past."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from customers import arrays


class NewDelivery(NamedTuple):
    """A row for `insert_deliveries`. Without `due_at`, it is due at once.

    `is_out` says that it is kept for its reason only; `had_turn` that its cap was looked at.
    """

    id: UUID
    trigger_id: int
    destination_id: int
    customer_id: int
    entry_no: int
    body: str
    caused_at: datetime
    reason: str
    note: str
    due_at: datetime | None
    is_out: bool
    had_turn: bool


def lock_triggers(segment_ids: Sequence[int], trigger_id: int | None = None) -> list[Any]:
    """Return the triggers of these segments, none of which can be edited until we commit.

    So whoever switches one on knows that all who entered before have been passed by, and who
    switches one off that nothing more is queued. Returns what a `messages.Wish` holds.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT t.id, t.key, t.on, t.is_enabled, t.destination_id, s.id, s.key, s.name,
                   t.stay_for, t.stay_unit, t.at_most, t.purpose, t.quiet_from, t.quiet_until,
                   t.quiet_zone_field, t.quiet_then, d.kind, COALESCE(p.channel, '')
            FROM activation_trigger t
            JOIN segments_segment s ON s.id = t.segment_id
            JOIN activation_destination d ON d.id = t.destination_id
            LEFT JOIN customers_consentpurpose p ON p.key = t.purpose
            WHERE t.segment_id = ANY(%(segment_ids)s::bigint[])
              AND (%(trigger_id)s::bigint IS NULL OR t.id = %(trigger_id)s)
            ORDER BY t.id
            FOR SHARE OF t
            """,
            {"segment_ids": [*segment_ids], "trigger_id": trigger_id},
        )
        return cursor.fetchall()


def read_customers(customer_ids: Sequence[int]) -> list[Any]:
    """Return (id, CustomerId, fields as JSON text) of those of these customers that exist."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.id, c.external_id, c.fields
            FROM unnest(%s::bigint[]) AS wanted (id)
            JOIN customers_customer c ON c.id = wanted.id
            """,
            [[*customer_ids]],
        )
        return cursor.fetchall()


def read_identifiers(customer_ids: Sequence[int]) -> list[Any]:
    """Return (customer id, kind, value) of these customers, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT i.customer_id, i.kind, i.value
            FROM unnest(%s::bigint[]) AS wanted (id)
            JOIN customers_identifier i ON i.customer_id = wanted.id
            ORDER BY i.created_at, i.kind, i.value
            """,
            [[*customer_ids]],
        )
        return cursor.fetchall()


def read_events(customer_ids: Sequence[int], event_ids: Sequence[int]) -> list[Any]:
    """Return these events of these customers, pair by pair.

    Columns: id, message id, name, occurred at, received at, source key, channel, amount,
    currency, properties as JSON text.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT e.id, e.message_id, n.name, e.occurred_at, e.received_at,
                   s.key, s.channel, e.amount, e.currency, e.properties
            FROM unnest(%s::bigint[], %s::bigint[]) AS wanted (customer_id, id)
            JOIN events_event e ON e.customer_id = wanted.customer_id AND e.id = wanted.id
            JOIN events_eventname n ON n.id = e.name_id
            LEFT JOIN events_source s ON s.id = e.source_id
            """,
            [[*customer_ids], [*event_ids]],
        )
        return cursor.fetchall()


def read_entries(
    segment_ids: Sequence[int], customer_ids: Sequence[int], entry_nos: Sequence[int]
) -> list[Any]:
    """Return (segment id, customer id, entry no, when it was entered) of past entries."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.segment_id, c.customer_id, c.entry_no, max(c.at)
            FROM unnest(%s::bigint[], %s::bigint[], %s::int[])
                AS wanted (segment_id, customer_id, entry_no)
            JOIN segments_membershipchange c USING (segment_id, customer_id, entry_no)
            WHERE c.entered
            GROUP BY 1, 2, 3
            """,
            [[*segment_ids], [*customer_ids], [*entry_nos]],
        )
        return cursor.fetchall()


def read_members(
    segment_id: int, after_at: datetime | None, after_id: int, limit: int
) -> list[Any]:
    """Return the next members in the order they entered, with the event that brought them in.

    Columns: customer id, entered at, entry no, cause, event id.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_MEMBERS} ORDER BY 2, 1 LIMIT %(limit)s",
            {
                "segment_id": segment_id,
                "after_at": after_at,
                "after_id": after_id,
                "until": None,
                "limit": limit,
            },
        )
        return cursor.fetchall()


_MEMBERS = """
    SELECT m.customer_id, m.entered_at, m.entry_no, m.cause, entry.event_id
    FROM segments_membership m
    LEFT JOIN LATERAL (
        SELECT c.event_id FROM segments_membershipchange c
        WHERE c.customer_id = m.customer_id AND c.segment_id = m.segment_id
          AND c.entry_no = m.entry_no AND c.entered
        ORDER BY c.id DESC LIMIT 1
    ) entry ON true
    WHERE m.segment_id = %(segment_id)s
      AND (m.entered_at, m.customer_id)
          > (COALESCE(%(after_at)s::timestamptz, '-infinity'), %(after_id)s::bigint)
      AND m.entered_at <= COALESCE(%(until)s::timestamptz, 'infinity')
"""
# Who had been in for the time and has left since, before anybody looked.
_GONE = """
    SELECT entry.customer_id, entry.at, entry.entry_no, entry.cause, entry.event_id
    FROM segments_membershipchange gone
    JOIN segments_membershipchange entry
      ON entry.customer_id = gone.customer_id AND entry.segment_id = gone.segment_id
     AND entry.entry_no = gone.entry_no AND entry.entered
    WHERE gone.segment_id = %(segment_id)s AND NOT gone.entered AND NOT gone.is_double
      AND gone.absorbed_id IS NULL AND entry.absorbed_id IS NULL
      AND gone.at >= greatest(
          %(since)s::timestamptz, %(after_at)s::timestamptz + %(stay)s::interval)
      AND gone.at >= entry.at + %(stay)s::interval
      AND (entry.at, entry.customer_id)
          > (COALESCE(%(after_at)s::timestamptz, '-infinity'), %(after_id)s::bigint)
      AND entry.at <= %(until)s::timestamptz
"""


def read_stayed(
    segment_id: int,
    after_at: datetime | None,
    after_id: int,
    until: datetime,
    stay: timedelta,
    since: datetime | None,
    limit: int,
) -> list[Any]:
    """Return the next who entered up to an instant, and were in for some time.

    Also those who have left afterwards, since an instant. Returns the columns of `read_members`.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            (SELECT * FROM ({_MEMBERS}) AS members ORDER BY 2, 1 LIMIT %(limit)s)
            UNION ALL
            (SELECT * FROM ({_GONE}) AS gone ORDER BY 2, 1 LIMIT %(limit)s)
            ORDER BY 2, 1 LIMIT %(limit)s
            """,  # noqa: S608 (constants)
            {
                "segment_id": segment_id,
                "after_at": after_at,
                "after_id": after_id,
                "until": until,
                "stay": f"{stay.total_seconds()} seconds",
                "since": since,
                "limit": limit,
            },
        )
        return cursor.fetchall()


# Of the columns of NewDelivery. The driver would take ten times longer over a body full of quotes.
_WRITERS: tuple[Callable[[Iterable[Any]], Any], ...] = (
    lambda ids: arrays.of_texts(map(str, ids)),
    *([arrays.of_numbers] * 4),
    arrays.of_texts,
    arrays.of_times,
    *([arrays.of_texts] * 2),
    arrays.of_times,
    *([list] * 2),
)


def insert_deliveries(rows: Sequence[NewDelivery]) -> int:
    """Queue messages, leaving out those that were queued before; return how many are new."""
    columns = [
        write(column) for write, column in zip(_WRITERS, zip(*rows, strict=True), strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH stored AS (
                INSERT INTO activation_delivery
                    (id, trigger_id, destination_id, customer_id, entry_no, body, caused_at,
                     reason, last_error, due_at, cancelled_at, is_test, attempts_made)
                SELECT id, trigger_id, destination_id, customer_id, entry_no, body, caused_at,
                       reason, note, COALESCE(due_at, statement_timestamp()),
                       CASE WHEN is_out THEN statement_timestamp() END, false, 0
                FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::int[],
                            %s::text[], %s::timestamptz[], %s::text[], %s::text[],
                            %s::timestamptz[], %s::bool[], %s::bool[])
                    AS new (id, trigger_id, destination_id, customer_id, entry_no, body, caused_at,
                            reason, note, due_at, is_out, had_turn)
                -- What was sent for so long ago that the log has forgotten it.
                WHERE had_turn OR NOT EXISTS (
                    SELECT FROM activation_turn t
                    WHERE t.customer_id = new.customer_id AND t.trigger_id = new.trigger_id
                      AND t.entry_no >= new.entry_no
                )
                ON CONFLICT DO NOTHING
                RETURNING cancelled_at
            )
            SELECT count(*) FROM stored WHERE cancelled_at IS NULL
            """,
            columns,
        )
        return int(cursor.fetchone()[0])


def claim_turns(rows: Sequence[tuple[int, int, int]], now: datetime) -> set[tuple[int, int, int]]:
    """Take the turns of (customer id, trigger id, entry no) as far as caps allow; return these.

    Of two at once for the same trigger and customer only one gets it.
    """
    customer_ids, trigger_ids, entry_nos = zip(*rows, strict=True)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE asked AS (
                SELECT customer_id, trigger_id, max(entry_no) AS entry_no
                FROM unnest(%(customer_ids)s::bigint[], %(trigger_ids)s::bigint[],
                            %(entry_nos)s::int[]) AS given (customer_id, trigger_id, entry_no)
                GROUP BY 1, 2
            ), bounded AS (
                SELECT asked.*, CASE WHEN t.at_most = 'once_per_days'
                    THEN %(now)s::timestamptz - t.at_most_days * interval '1 day'
                    ELSE '-infinity' END AS after
                FROM asked JOIN activation_trigger t ON t.id = asked.trigger_id
            ), absorbed (id, survivor_id) AS (
                SELECT c.id, c.merged_into_id FROM customers_customer c
                WHERE c.merged_into_id IN (SELECT customer_id FROM asked)
                UNION
                SELECT c.id, absorbed.survivor_id FROM absorbed
                JOIN customers_customer c ON c.merged_into_id = absorbed.id
            ), free AS (
                SELECT * FROM bounded b
                -- What it sent before it had a cap, and what went to those merged into this one.
                WHERE NOT EXISTS (
                    SELECT FROM activation_delivery d
                    WHERE d.trigger_id = b.trigger_id AND d.customer_id = b.customer_id
                      AND NOT d.is_test AND d.cancelled_at IS NULL AND d.created_at > b.after
                ) AND NOT EXISTS (
                    SELECT FROM absorbed
                    JOIN activation_turn w
                      ON w.customer_id = absorbed.id AND w.trigger_id = b.trigger_id
                    WHERE absorbed.survivor_id = b.customer_id AND w.at > b.after
                )
            ), taken AS (
                INSERT INTO activation_turn AS t (customer_id, trigger_id, entry_no, at)
                SELECT customer_id, trigger_id, entry_no, %(now)s FROM free ORDER BY 1, 2
                ON CONFLICT (customer_id, trigger_id) DO UPDATE
                SET entry_no = excluded.entry_no, at = excluded.at
                WHERE t.entry_no < excluded.entry_no AND t.at <= (
                    SELECT after FROM free
                    WHERE free.customer_id = excluded.customer_id
                      AND free.trigger_id = excluded.trigger_id
                )
                RETURNING t.customer_id, t.trigger_id, t.entry_no
            )
            SELECT * FROM taken
            """,
            {
                "customer_ids": [*customer_ids],
                "trigger_ids": [*trigger_ids],
                "entry_nos": [*entry_nos],
                "now": now,
            },
        )
        return {*cursor.fetchall()}


def read_merged(customer_id: int) -> list[int]:
    """Return the id of a customer, and of all who were merged into them, one way or another."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE family (id) AS (
                SELECT %s::bigint
                UNION
                SELECT c.id FROM family JOIN customers_customer c ON c.merged_into_id = family.id
            )
            SELECT id FROM family
            """,
            [customer_id],
        )
        return [found for (found,) in cursor.fetchall()]


def read_field(customer_ids: Sequence[int], name: str) -> list[Any]:
    """Return (customer id, value as text) of those customers who have this field."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, fields ->> %(name)s FROM customers_customer
            WHERE id = ANY(%(ids)s::bigint[]) AND fields ? %(name)s
            """,
            {"ids": [*customer_ids], "name": name},
        )
        return cursor.fetchall()


def oldest_writer() -> datetime:
    """Return when the oldest transaction began that has written something; now if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT COALESCE(min(xact_start), clock_timestamp()) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_xid IS NOT NULL
              AND pid <> pg_backend_pid()
            """
        )
        found: datetime = cursor.fetchone()[0]
        return found


def read_past_changes(segment_id: int, since: datetime, limit: int, *, entered: bool) -> list[Any]:
    """Return (customer id, when) of entries or leavings since an instant; a rule's are no news."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT customer_id, at FROM segments_membershipchange
            WHERE segment_id = %s AND at >= %s AND entered = %s AND cause <> 'rule'
            ORDER BY at LIMIT %s
            """,
            [segment_id, since, entered, limit],
        )
        return cursor.fetchall()


def count_past_changes(segment_id: int, since: datetime, limit: int, *, entered: bool) -> int:
    """Count these, but no more than so many."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FROM (
                SELECT FROM segments_membershipchange
                WHERE segment_id = %s AND at >= %s AND entered = %s AND cause <> 'rule'
                LIMIT %s
            ) AS changes
            """,
            [segment_id, since, entered, limit],
        )
        return int(cursor.fetchone()[0])


def read_past_stays(
    segment_id: int, stay: timedelta, since: datetime, now: datetime, limit: int
) -> list[Any]:
    """Return (customer id, when) of those who since an instant had been in for some time."""
    seconds = f"{stay.total_seconds()} seconds"
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.customer_id, c.at + %(stay)s::interval FROM segments_membershipchange c
            WHERE c.segment_id = %(segment_id)s AND c.entered AND c.cause <> 'rule'
              AND c.at >= %(since)s::timestamptz - %(stay)s::interval
              AND c.at <= %(now)s::timestamptz - %(stay)s::interval
              AND NOT EXISTS (
                  SELECT FROM segments_membershipchange gone
                  WHERE gone.customer_id = c.customer_id AND gone.segment_id = c.segment_id
                    AND gone.entry_no = c.entry_no AND NOT gone.entered
                    AND gone.at < c.at + %(stay)s::interval
              )
            ORDER BY c.at LIMIT %(limit)s
            """,
            {"segment_id": segment_id, "stay": seconds, "since": since, "now": now, "limit": limit},
        )
        return cursor.fetchall()

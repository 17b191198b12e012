"""What becomes of a message on its way: leased, settled, tried, noted, given back."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from activation.models import AS_IT_IS
from activation.sql.tallies import counting
from activation.sql.waiting import WAITS

_NO_PACES: Mapping[int, int] = {}
_NO_TIMES: Mapping[int, datetime] = {}
_NO_ROWS: list[int] = []


# A destination takes part unless it is switched off or held. `room` is how many more flights it can
# have: one while its breaker is half open, never so many that their failing together would be more
# than the breaker bears, and none while its rate has nothing left. A flight makes up to `pace`
# requests, one after the other until one fails; `size` is how many messages a request may carry.
_ROOM = """
    SELECT d.id, d.failures_in_a_row, d.size, d.tokens_now, d.is_plain, d.due_from,
        CASE WHEN d.failures_in_a_row = 0 THEN d.pace ELSE 1 END AS pace,
        least(
            CASE WHEN d.failures_in_a_row >= %(to_open)s THEN 1
                 ELSE least(%(each)s, %(to_open)s - d.failures_in_a_row) END
            - (SELECT count(DISTINCT f.lease) FROM activation_delivery f
               WHERE f.destination_id = d.id AND f.leased_until > %(now)s),
            floor(d.tokens_now)) AS room
    FROM (
        SELECT a.*, COALESCE(paced.pace, 1) AS pace, begun.due_from,
            CASE WHEN jsonb_typeof(config -> 'batch') = 'number'
                 THEN greatest((config ->> 'batch')::int, 1) ELSE 1 END AS size,
            kind = 'webhook' AND NOT config ?| ARRAY['template', 'mapping', 'batch'] AS is_plain,
            CASE WHEN rate IS NULL THEN 1e9 WHEN tokens_at IS NULL THEN 1
                 ELSE least(greatest(rate, 1), tokens + rate * greatest(
                     extract(epoch FROM %(now)s - tokens_at), 0)::float8)
            END AS tokens_now
        FROM activation_destination a
        LEFT JOIN unnest(%(paced)s::bigint[], %(paces)s::int[]) AS paced (id, pace)
            ON paced.id = a.id
        LEFT JOIN unnest(%(begun)s::bigint[], %(due_from)s::timestamptz[]) AS begun (id, due_from)
            ON begun.id = a.id
        WHERE is_enabled AND (held_until IS NULL OR held_until <= %(now)s)
    ) d
"""
_DUE = f"""
    SELECT {{columns}} FROM activation_delivery w
    WHERE w.destination_id = open.id AND w.due_at <= %(now)s AND {WAITS.format("w")}
      AND w.due_at >= COALESCE(open.due_from, '-infinity')
      AND (w.leased_until IS NULL OR w.leased_until <= %(now)s)
"""  # noqa: S608 (constants)


def lease_due(
    token: UUID,
    now: datetime,
    until: datetime,
    *,
    limit: int,
    each: int,
    to_open: int,
    paces: Mapping[int, int] = _NO_PACES,
    due_from: Mapping[int, datetime] = _NO_TIMES,
    newest_first: bool = False,
) -> list[Any]:
    """Reserve due messages until an instant, for the holder of the token.

    At most `limit` flights, and for a destination at most `each` at a time, and as its rate
    allows; healthy ones first. `paces` has by destination how many requests a flight may make, 1 if
    it is not there; `due_from`, since when there is anything due, which saves looking at what was
    sent before. Of one destination those that are due longest, or those that are due shortest.
    Each flight has a token of its own, made from the one given.

    What goes out as it is has AS_IT_IS in its `sent` from now on. Returns (id, destination id,
    body, attempts made, trigger id, customer id, together, sent, whether no attempt before has
    settled what is sent, token of the flight, due at).
    """
    order = "DESC" if newest_first else "ASC"
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH open AS MATERIALIZED ({_ROOM}), due AS (
                SELECT next.id, next.is_fresh, open.id AS destination_id, open.failures_in_a_row,
                       open.is_plain,
                       (row_number() OVER (PARTITION BY open.id) - 1) / (open.size * open.pace)
                           AS nth
                FROM open
                CROSS JOIN LATERAL (
                    {_DUE.format(columns="w.id, w.sent = '' AS is_fresh")}
                    ORDER BY w.due_at {order}
                    LIMIT least(
                        greatest(least(open.room, %(limit)s), 0) * open.pace, floor(open.tokens_now)
                    ) * open.size
                    FOR UPDATE SKIP LOCKED
                ) next
            ), flights AS (
                SELECT id, is_fresh, is_plain, destination_id, nth, dense_rank() OVER (
                    ORDER BY failures_in_a_row, nth, destination_id
                ) AS place FROM due
            ), leased AS (
                UPDATE activation_delivery d
                SET lease = md5(concat_ws('.', %(token)s, f.destination_id, f.nth))::uuid,
                    leased_until = %(until)s,
                    sent = CASE WHEN f.is_fresh AND f.is_plain THEN %(as_it_is)s ELSE d.sent END
                FROM flights f
                WHERE d.id = f.id AND f.place <= %(limit)s
                RETURNING d.id, d.destination_id, d.body, d.attempts_made, d.trigger_id,
                          d.customer_id, d.together, d.sent, f.is_fresh, d.lease, d.due_at
            ), spent AS (
                UPDATE activation_destination d
                SET tokens = open.tokens_now - taken.requests, tokens_at = %(now)s
                FROM open JOIN (
                    SELECT destination_id, count(*) AS messages FROM leased GROUP BY 1
                ) counted ON counted.destination_id = open.id
                CROSS JOIN LATERAL (
                    SELECT ceil(counted.messages::numeric / open.size)::float8 AS requests
                ) taken
                WHERE d.id = open.id AND d.rate IS NOT NULL
            )
            SELECT * FROM leased
            """,  # noqa: S608 (constants)
            {
                "token": str(token),
                "now": now,
                "until": until,
                "limit": limit,
                "each": each,
                "to_open": to_open,
                "paced": [*paces],
                "paces": [*paces.values()],
                "begun": [*due_from],
                "due_from": [*due_from.values()],
                "as_it_is": AS_IT_IS,
            },
        )
        return cursor.fetchall()


def has_due(now: datetime, *, each: int, to_open: int) -> bool:
    """Say whether there is a message that could be leased now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT EXISTS (
                SELECT FROM ({_ROOM}) AS open
                WHERE open.room >= 1 AND EXISTS ({_DUE.format(columns="")})
            )
            """,  # noqa: S608 (constants)
            {
                "now": now,
                "each": each,
                "to_open": to_open,
                "paced": _NO_ROWS,
                "paces": _NO_ROWS,
                "begun": _NO_ROWS,
                "due_from": _NO_ROWS,
            },
        )
        return bool(cursor.fetchone()[0])


def keep_words(rows: Sequence[tuple[UUID, UUID, str]]) -> set[UUID]:
    """Settle what is sent: (delivery id, token of our lease, text); return whose lease is ours.

    What is settled already stays. Without a text only the lease is looked at.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH made AS (
                SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS m (id, token, words)
            ), mine AS MATERIALIZED (
                SELECT d.id FROM activation_delivery d
                JOIN made ON made.id = d.id AND made.token = d.lease
                ORDER BY d.id
                FOR UPDATE OF d
            ), kept AS (
                UPDATE activation_delivery d SET sent = made.words
                FROM mine JOIN made USING (id)
                WHERE d.id = mine.id AND d.sent = '' AND made.words <> ''
            )
            SELECT id FROM mine
            """,
            columns,
        )
        return {found for (found,) in cursor.fetchall()}


def give_back(rows: Sequence[tuple[UUID, UUID, bool]]) -> None:
    """End leases of messages that were not sent after all.

    Each is (delivery id, token of our lease, whether nothing was settled before). What they have
    cost of their destination's rate is given back as well.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH back AS (
                SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bool[]) AS b (id, token, is_fresh)
            ), given AS (
                UPDATE activation_delivery d SET lease = NULL, leased_until = NULL,
                    sent = CASE WHEN back.is_fresh THEN '' ELSE d.sent END
                FROM back WHERE d.id = back.id AND d.lease = back.token
                RETURNING d.destination_id
            ), counted AS (
                SELECT destination_id, count(*) AS messages FROM given GROUP BY 1
            )
            UPDATE activation_destination d
            SET tokens = tokens + ceil(messages::numeric / CASE
                WHEN jsonb_typeof(config -> 'batch') = 'number'
                THEN greatest((config ->> 'batch')::int, 1) ELSE 1 END)
            FROM counted WHERE d.id = counted.destination_id AND d.rate IS NOT NULL
            """,
            columns,
        )


def keep_back(rows: Sequence[tuple[UUID, UUID, bool, str, str, datetime | None]]) -> None:
    """Give back leased messages unsent: cancelled, or due again later.

    Each is (delivery id, token of our lease, whether nothing was settled before, reason, note,
    due at); without the last it is cancelled, and its customer has not had their turn.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH back AS (
                SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bool[], %s::text[], %s::text[],
                                     %s::timestamptz[])
                    AS b (id, token, is_fresh, reason, note, due_at)
            ), mine AS MATERIALIZED (
                SELECT d.id FROM activation_delivery d
                JOIN back ON back.id = d.id AND back.token = d.lease
                ORDER BY d.id
                FOR UPDATE OF d
            ), given AS (
                UPDATE activation_delivery d
                SET lease = NULL, leased_until = NULL, reason = back.reason,
                    last_error = back.note, due_at = COALESCE(back.due_at, d.due_at),
                    sent = CASE WHEN back.is_fresh THEN '' ELSE d.sent END,
                    cancelled_at = COALESCE(d.cancelled_at, CASE WHEN back.due_at IS NULL
                                            THEN statement_timestamp() END)
                FROM mine JOIN back USING (id)
                WHERE d.id = mine.id
                RETURNING d.customer_id, d.trigger_id, d.entry_no, d.cancelled_at
            )
            DELETE FROM activation_turn t USING given
            WHERE given.cancelled_at IS NOT NULL AND t.customer_id = given.customer_id
              AND t.trigger_id = given.trigger_id AND t.entry_no = given.entry_no
            """,
            columns,
        )


def note_attempts(rows: Sequence[tuple[Any, ...]]) -> set[tuple[UUID, UUID]]:
    """Write down attempts, but only of messages whose lease is still ours; return (id, token).

    Each is (delivery id, token of our lease, destination id, at, status, ms, error, response,
    delivered at, dead at, due at, with how many together from now on, what was sent if it is to
    be sent again), null where that did not happen. With the number, it was no attempt of this
    message. What was sent to another destination than its present one is not kept.
    """
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH attempt AS (
                SELECT * FROM unnest(
                    %s::uuid[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::int[], %s::int[],
                    %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[],
                    %s::timestamptz[], %s::int[], %s::text[]
                ) AS a (id, token, destination_id, at, status, ms, error, response,
                        delivered_at, dead_at, due_at, together, sent)
            ), mine AS MATERIALIZED (
                SELECT d.id FROM activation_delivery d
                JOIN attempt ON attempt.id = d.id AND attempt.token = d.lease
                ORDER BY d.id
                FOR UPDATE OF d
            ), noted AS (
                UPDATE activation_delivery d
                SET attempts_made = d.attempts_made + (attempt.together IS NULL)::int,
                    lease = NULL, leased_until = NULL,
                    reason = '', together = COALESCE(attempt.together, d.together),
                    last_error = attempt.error, due_at = COALESCE(attempt.due_at, d.due_at),
                    delivered_at = attempt.delivered_at,
                    sent = CASE WHEN attempt.due_at IS NOT NULL
                                 AND d.destination_id = attempt.destination_id
                                THEN CASE WHEN d.sent = '' THEN attempt.sent ELSE d.sent END
                                ELSE '' END,
                    dead_at = CASE WHEN d.cancelled_at IS NULL THEN attempt.dead_at END,
                    cancelled_at = CASE WHEN attempt.delivered_at IS NULL THEN d.cancelled_at END
                FROM mine JOIN attempt USING (id)
                WHERE d.id = mine.id AND d.lease = attempt.token
                RETURNING d.id, attempt.token, d.trigger_id, d.is_test, d.delivered_at, d.dead_at
            ), counted AS ({counting("noted")}), logged AS (
                -- By the token too: an attempt whose lease ran out may end together with the next.
                INSERT INTO activation_attempt (delivery_id, at, status, ms, error, response)
                SELECT id, at, status, ms, error, response FROM attempt JOIN noted USING (id, token)
            )
            SELECT id, token FROM noted
            """,  # noqa: S608 (constants)
            columns,
        )
        return {*cursor.fetchall()}
